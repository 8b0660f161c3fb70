//! Names of backups: the serial of the save, and whose it is. A place may hold those of an earlier deployment as well,
//! whose serials are higher; neither pushes out the other's.

use super::Lineage;

/// Letters of a lineage that tell it from others at the same place.
const LINEAGE_LETTERS: usize = 8;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    /// The serial of the save.
    pub(super) serial: u64,
    /// The beginning of its lineage.
    lineage: String,
}

impl Kept {
    pub(super) fn new(serial: u64, lineage: &Lineage) -> Self {
        Self {
            serial,
            lineage: lineage.to_string().chars().take(LINEAGE_LETTERS).collect(),
        }
    }

    /// How it is called, without what stands in front of all of them: `12-0f8fad5b.json`.
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}.json", self.serial, self.lineage)
    }

    /// The backup of that name; `None` if it is something else.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (serial, lineage) = name.strip_suffix(".json")?.split_once('-')?;
        let well_formed = lineage.len() == LINEAGE_LETTERS
            && lineage.bytes().all(|letter| letter.is_ascii_alphanumeric());
        Some(Self {
            serial: serial.parse().ok().filter(|_| well_formed)?,
            lineage: lineage.to_owned(),
        })
    }

    /// Those of `all` that are too old to be kept, once this one is there.
    pub(super) fn old(&self, all: &[Self], kept_max: usize) -> Vec<Self> {
        let mut ours: Vec<Self> = all
            .iter()
            .filter(|kept| kept.lineage == self.lineage && kept.serial < self.serial)
            .cloned()
            .collect();
        ours.sort_unstable();
        ours.truncate(ours.len().saturating_sub(kept_max - 1));
        ours
    }

    /// `all` in the order in which they may stand for a state that cannot be used: what is left of it, `damaged`, tells
    /// whose it was; the newest first.
    pub(super) fn candidates(mut all: Vec<Self>, damaged: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(damaged).into_owned();
        all.sort_unstable_by_key(|kept| (text.contains(&kept.lineage), kept.serial));
        all.reverse();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> Kept {
        Kept::named(name).unwrap()
    }

    #[test]
    fn a_new_deployment_keeps_its_backups_beside_those_of_an_earlier_one() {
        let all: Vec<Kept> = [
            "20-aaaaaaaa.json",
            "21-aaaaaaaa.json",
            "1-bbbbbbbb.json",
            "2-bbbbbbbb.json",
            "3-bbbbbbbb.json",
        ]
        .map(kept)
        .into();
        let newest = kept("3-bbbbbbbb.json");
        assert_eq!(newest.old(&all, 5), []);
        assert_eq!(newest.old(&all, 2), [kept("1-bbbbbbbb.json")]);
        let found = Kept::candidates(all.clone(), b"{\"lineage\": \"bbbbbbbb-1111");
        assert_eq!(found[0], newest);
        assert_eq!(Kept::candidates(all, b"{")[0], kept("21-aaaaaaaa.json"));
    }

    #[test]
    fn other_files_are_no_backups() {
        for name in [
            "9.json",
            "9-1.json",
            "9-12-aaaaaaaa.json",
            "a-bbbbbbbb.json",
        ] {
            assert_eq!(Kept::named(name), None, "{name}");
        }
        assert_eq!(kept("12-0f8fad5b.json").file_name(), "12-0f8fad5b.json");
    }
}
