//! What a file says of itself.

use std::collections::BTreeMap;

/// Tags that MP4 files hold in iTunes's form, with their names there (ffmpeg, `mov_write_ilst_tag`).
const ATOMS: &[(&str, &[u8; 4])] = &[
    ("title", b"\xa9nam"),
    ("artist", b"\xa9ART"),
    ("album_artist", b"aART"),
    ("composer", b"\xa9wrt"),
    ("album", b"\xa9alb"),
    ("date", b"\xa9day"),
    ("comment", b"\xa9cmt"),
    ("genre", b"\xa9gen"),
    ("copyright", b"cprt"),
    ("grouping", b"\xa9grp"),
    ("lyrics", b"\xa9lyr"),
    ("description", b"desc"),
    ("synopsis", b"ldes"),
    ("show", b"tvsh"),
    ("episode_id", b"tven"),
    ("network", b"tvnn"),
    ("keywords", b"keyw"),
];

/// Which box of an MP4 file holds the tag; nothing if none does.
pub(super) fn atom(name: &str) -> Option<&'static [u8; 4]> {
    let mut atoms = ATOMS.iter();
    atoms
        .find(|(known, _)| *known == name)
        .map(|(_, atom)| *atom)
}

/// The names that an MP4 file knows.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    ATOMS.iter().map(|(name, _)| *name)
}

/// All tags of a file: names in lower case, and always a comment that says what made it, as the official renderer has it.
pub(super) fn all(asked: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let made_with = concat!("Made with rmx ", env!("CARGO_PKG_VERSION"));
    let mut tags = vec![("comment".to_owned(), made_with.to_owned())];
    for (name, text) in asked {
        match name.to_lowercase() {
            name if name == "comment" => tags[0].1 = format!("{made_with}; {text}"),
            name => tags.push((name, text.clone())),
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_of_ones_own_stands_behind_ours() {
        let asked = [("Title", "A film"), ("Comment", "the second cut")];
        let asked = asked.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let tags = all(&BTreeMap::from(asked));
        assert_eq!(tags[0].0, "comment");
        assert!(tags[0].1.starts_with("Made with rmx "), "{tags:?}");
        assert!(tags[0].1.ends_with("; the second cut"), "{tags:?}");
        assert_eq!(tags[1], ("title".to_owned(), "A film".to_owned()));
        assert_eq!(atom("title"), Some(b"\xa9nam"));
        assert_eq!(atom("mood"), None);
    }
}
