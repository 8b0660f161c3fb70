//! Which old versions of a function go. Pure.
//!
//! The live version stays, and the newest ones before it, and whatever is in use: by a render that may still be running, or
//! by an alias that is not ours.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

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
    /// Those that are not live, oldest first. With `publishes`, the live one will be one of them.
    pub fn old(&self, publishes: bool) -> Vec<u64> {
        let versions = self.there.iter().copied();
        versions
            .filter(|version| publishes || Some(*version) != self.live)
            .collect()
    }

    /// What goes if `keep` are kept besides the live one. What is in use stays in addition to these, and so does what could
    /// not be deleted: that is tried again with every version that is published, and is no change of its own.
    pub fn retention(&self, keep: u32, publishes: bool) -> Retention {
        let others = self.old(false);
        // The one that is live until now will be the first of those kept.
        let keep = match publishes && self.live.is_some() {
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
        let (denied, free): (Vec<u64>, Vec<u64>) = unused
            .iter()
            .partition(|version| !publishes && self.undeletable.contains(version));
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
        assert_eq!(ten.retention(2, false).delete, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(ten.retention(2, true).delete, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(ten.retention(9, false), Retention::default());
        assert_eq!(ten.retention(100, true), Retention::default());
        // After a rollback the live one is old, and stays all the same.
        let back = versions(1..=10, 3);
        assert_eq!(back.retention(2, false).delete, [1, 2, 4, 5, 6, 7, 8]);
        assert_eq!(back.retention(2, true).delete, [1, 2, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_is_in_use_stays_and_is_named() {
        let mut some = versions(1..=6, 6);
        some.users
            .insert(2, BTreeSet::from(["render abc".to_owned()]));
        some.users
            .insert(5, BTreeSet::from(["render new".to_owned()]));
        let retention = some.retention(2, false);
        assert_eq!(
            retention.delete,
            [1],
            "3 and 4 are the newest that nothing uses"
        );
        let kept = BTreeMap::from([(2, BTreeSet::from(["render abc".to_owned()]))]);
        assert_eq!(retention.kept, kept);
        some.unclear.insert("render odd".to_owned());
        assert_eq!(some.retention(2, false).delete, [0; 0]);
        assert_eq!(some.retention(2, false).kept.len(), 3);
    }

    /// What a plan leads to needs no other plan.
    #[test]
    fn nothing_is_left_to_do_afterwards() {
        for (count, live, keep, publishes) in combinations(8) {
            let mut now = versions(1..=count, live);
            now.users.insert(2, BTreeSet::from(["render".to_owned()]));
            for version in now.retention(keep, publishes).delete {
                assert!(now.there.contains(&version) && Some(version) != now.live);
                // Nobody may delete these.
                match [1, 3].contains(&version) {
                    true => drop(now.undeletable.insert(version)),
                    false => drop(now.there.remove(&version)),
                }
            }
            if publishes {
                now.there.insert(count + 1);
                now.live = Some(count + 1);
            }
            let again = now.retention(keep, false);
            assert!(again.delete.is_empty(), "{count} {live} {keep} {publishes}");
        }
    }

    fn combinations(count_max: u64) -> Vec<(u64, u64, u32, bool)> {
        let mut all = Vec::new();
        for count in 1..=count_max {
            for live in 1..=count {
                for keep in 1..=5 {
                    all.extend([true, false].map(|publishes| (count, live, keep, publishes)));
                }
            }
        }
        all
    }
}
