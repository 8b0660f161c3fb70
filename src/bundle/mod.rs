//! Directories → reproducible artefacts: tree walk, entry digests, canonical zip.
