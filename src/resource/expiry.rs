//! What of a bucket goes away by itself, by the prefix of its keys.

use std::collections::BTreeMap;

/// Prefix and days of the bucket's rules beside what is configured. The first four are those of Remotion Lambda, whose clients ask
/// for one of them by `deleteAfter`: the render's id begins with it. Clients leave the last ones there and name some of them by
/// their content, so that no render knows whether another one needs them; none is needed for longer than the moment of its
/// beginning.
const RULES: [(&str, u32); 5] = [
    ("renders/1-day", 1),
    ("renders/3-days", 3),
    ("renders/7-days", 7),
    ("renders/30-days", 30),
    ("input-props/", 1),
];

/// How a bucket's key prefixes expire, in days.
pub fn expire_days() -> BTreeMap<String, u32> {
    let rules = RULES.map(|(prefix, days)| (prefix.to_owned(), days));
    rules.into()
}

/// What a client may say of when its render is to go: the beginnings of such renders' ids.
pub fn ages() -> impl Iterator<Item = &'static str> {
    let prefixes = RULES.iter().map(|(prefix, _)| *prefix);
    prefixes.filter_map(|prefix| prefix.strip_prefix("renders/"))
}

/// The id of the rule for `prefix`: Remotion Lambda's own where it has one, so that either tool takes the rule for its own.
pub fn rule_id(prefix: &str) -> String {
    match prefix.strip_prefix("renders/") {
        Some(age) => format!("delete-after-{age}"),
        None => format!("rmx-expire-{}", prefix.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_called_as_the_official_ones_are() {
        let ids: Vec<String> = expire_days().keys().map(|prefix| rule_id(prefix)).collect();
        assert_eq!(
            ids,
            [
                "rmx-expire-input-props",
                "delete-after-1-day",
                "delete-after-3-days",
                "delete-after-30-days",
                "delete-after-7-days",
            ]
        );
        assert_eq!(
            ages().collect::<Vec<_>>(),
            ["1-day", "3-days", "7-days", "30-days"]
        );
    }
}
