//! Which old versions of a function go. Pure.
//!
//! The live version stays, and the newest ones before it, and whatever is in use: by a render that may still be running, or
//! by an alias that is not ours.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::resource::{FieldChange, PUBLISHED_FIELD, RUNTIME_VERSION_FIELD};

/// The published versions of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// All of them, in any order.
    pub there: BTreeSet<u64>,
    /// The one `live` points to.
    pub live: Option<u64>,
    /// Those in use, and by what.
    pub users: BTreeMap<u64, BTreeSet<String>>,
    /// What may use any of them: nobody can tell which.
    pub unclear: BTreeSet<String>,
    /// Those whose deletion was denied when it was last tried.
    pub undeletable: BTreeSet<u64>,
    /// The newest one, if it is what `$LATEST` is and starts our worker: publishing gives it again.
    pub latest: Option<u64>,
}

/// What a change makes of the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publishing {
    /// What is live stays live.
    Nothing,
    /// This one, which is there, goes live: after a rollback, for example.
    Again(u64),
    /// Another version is made and goes live.
    Another,
}

/// What becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Deleted, oldest first.
    pub delete: Vec<u64>,
    /// Old enough to be deleted, but in use: by what.
    pub kept: BTreeMap<u64, BTreeSet<String>>,
    /// Old enough to be deleted and not in use, but nobody was allowed to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub denied: BTreeSet<u64>,
}

impl Versions {
    /// What it takes to bring a function whose `$LATEST` differs in `fields` to what is wanted.
    pub fn publishing(&self, fields: &[FieldChange]) -> Publishing {
        // Neither is part of what is published.
        let beside = [PUBLISHED_FIELD, RUNTIME_VERSION_FIELD];
        let same_version = fields
            .iter()
            .all(|field| beside.contains(&field.path.as_str()));
        match self.latest {
            _ if fields.is_empty() => Publishing::Nothing,
            Some(version) if same_version => Publishing::Again(version),
            _ => Publishing::Another,
        }
    }

    /// Those that will not be live, oldest first.
    pub fn old(&self, publishing: Publishing) -> Vec<u64> {
        let live = match publishing {
            Publishing::Nothing => self.live,
            Publishing::Again(version) => Some(version),
            Publishing::Another => None,
        };
        let versions = self.there.iter().copied();
        versions.filter(|version| Some(*version) != live).collect()
    }

    /// What goes if `keep` are kept besides the live one. What is in use stays in addition to these, and so does what could
    /// not be deleted: that is tried again with every version that is published, and is no change of its own.
    pub fn retention(&self, keep: u32, publishing: Publishing) -> Retention {
        let mut others = self.old(publishing);
        let all = others.len();
        // The one that is live until now will be the first of those kept.
        others.retain(|version| Some(*version) != self.live);
        let keep = match others.len() < all {
            true => keep.saturating_sub(1),
            false => keep,
        };
        let users = |version: &u64| -> BTreeSet<String> {
            let users = self.users.get(version).into_iter().flatten();
            users.chain(&self.unclear).cloned().collect()
        };
        let excess = |count: usize| count.saturating_sub(keep as usize);
        let (used, unused): (Vec<u64>, Vec<u64>) = others
            .iter()
            .partition(|version| !users(version).is_empty());
        let (denied, free): (Vec<u64>, Vec<u64>) = unused.iter().partition(|version| {
            publishing == Publishing::Nothing && self.undeletable.contains(version)
        });
        let too_old = &others[..excess(others.len())];
        let kept = used.iter().filter(|version| too_old.contains(version));
        Retention {
            delete: free[..excess(free.len())].to_vec(),
            kept: kept.map(|version| (*version, users(version))).collect(),
            denied: denied
                .into_iter()
                .filter(|version| too_old.contains(version))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(there: impl IntoIterator<Item = u64>, live: u64) -> Versions {
        Versions {
            there: there.into_iter().collect(),
            live: Some(live),
            ..Versions::default()
        }
    }

    #[test]
    fn the_live_one_and_the_newest_others_stay() {
        let ten = versions(1..=10, 10);
        assert_eq!(
            ten.retention(2, Publishing::Nothing).delete,
            [1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!(
            ten.retention(2, Publishing::Another).delete,
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!(ten.retention(9, Publishing::Nothing), Retention::default());
        assert_eq!(
            ten.retention(100, Publishing::Another),
            Retention::default()
        );
        // After a rollback the live one is old, and stays all the same.
        let back = versions(1..=10, 3);
        assert_eq!(
            back.retention(2, Publishing::Nothing).delete,
            [1, 2, 4, 5, 6, 7, 8]
        );
        assert_eq!(
            back.retention(2, Publishing::Another).delete,
            [1, 2, 4, 5, 6, 7, 8, 9]
        );
        // The newest is what the function is: it goes live again, the one that was live stays, and another one beside it.
        let again = back.retention(2, Publishing::Again(10));
        assert_eq!(again.delete, [1, 2, 4, 5, 6, 7, 8]);
        assert_eq!(again.delete, back.retention(2, Publishing::Nothing).delete);
    }

    #[test]
    fn a_moved_alias_alone_makes_no_other_version_where_the_newest_is_the_function() {
        let changed = |path: &str| FieldChange {
            path: path.to_owned(),
            before: None,
            after: None,
            forces_replacement: false,
        };
        let moved = [changed(PUBLISHED_FIELD)];
        let more = [changed("memory_mb"), changed(PUBLISHED_FIELD)];
        let mut back = versions(1..=10, 3);
        assert_eq!(back.publishing(&[]), Publishing::Nothing);
        assert_eq!(back.publishing(&moved), Publishing::Another);
        back.latest = Some(10);
        assert_eq!(back.publishing(&[]), Publishing::Nothing);
        assert_eq!(back.publishing(&moved), Publishing::Again(10));
        assert_eq!(back.publishing(&more), Publishing::Another);
        let kept = [changed(RUNTIME_VERSION_FIELD)];
        assert_eq!(back.publishing(&kept), Publishing::Again(10));
    }

    #[test]
    fn what_is_in_use_stays_and_is_named() {
        let mut some = versions(1..=6, 6);
        some.users
            .insert(2, BTreeSet::from(["render abc".to_owned()]));
        some.users
            .insert(5, BTreeSet::from(["render new".to_owned()]));
        let retention = some.retention(2, Publishing::Nothing);
        assert_eq!(
            retention.delete,
            [1],
            "3 and 4 are the newest that nothing uses"
        );
        let kept = BTreeMap::from([(2, BTreeSet::from(["render abc".to_owned()]))]);
        assert_eq!(retention.kept, kept);
        some.unclear.insert("render odd".to_owned());
        assert_eq!(some.retention(2, Publishing::Nothing).delete, [0; 0]);
        assert_eq!(some.retention(2, Publishing::Nothing).kept.len(), 3);
    }

    /// What a plan leads to needs no other plan.
    #[test]
    fn nothing_is_left_to_do_afterwards() {
        for (count, live, keep, publishing) in combinations(8) {
            let mut now = versions(1..=count, live);
            now.users.insert(2, BTreeSet::from(["render".to_owned()]));
            for version in now.retention(keep, publishing).delete {
                assert!(now.there.contains(&version) && Some(version) != now.live);
                // Nobody may delete these.
                match [1, 3].contains(&version) {
                    true => drop(now.undeletable.insert(version)),
                    false => drop(now.there.remove(&version)),
                }
            }
            match publishing {
                Publishing::Nothing => {}
                Publishing::Again(version) => now.live = Some(version),
                Publishing::Another => {
                    now.there.insert(count + 1);
                    now.live = Some(count + 1);
                }
            }
            let again = now.retention(keep, Publishing::Nothing);
            assert!(
                again.delete.is_empty(),
                "{count} {live} {keep} {publishing:?}"
            );
        }
    }

    fn combinations(count_max: u64) -> Vec<(u64, u64, u32, Publishing)> {
        let mut all = Vec::new();
        for count in 1..=count_max {
            for live in 1..=count {
                for keep in 1..=5 {
                    all.extend(
                        [
                            Publishing::Nothing,
                            Publishing::Again(count),
                            Publishing::Another,
                        ]
                        .map(|publishing| (count, live, keep, publishing)),
                    );
                }
            }
        }
        all
    }
}
