//! Which versions of a function were released, so that a rollback knows what was live before.

use serde::{Deserialize, Serialize};

use super::Record;

/// More releases than this are forgotten, oldest first. Lambda's versions are deleted long before.
const RELEASES_KEPT: usize = 100;

/// A published version that this deployment has pointed the `live` alias to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Lambda's number of the version.
    pub version: u64,
    /// `live` was rolled back past it, so no rollback leads to it unless it is named.
    pub withdrawn: bool,
}

impl Record {
    /// Notes that `live` points to `version`. A version that was not live before is the newest release; one that was
    /// withdraws those after it.
    pub fn release(&mut self, version: u64) {
        let known = self.releases.iter().position(|one| one.version == version);
        let Some(index) = known else {
            self.releases.push(Release {
                version,
                withdrawn: false,
            });
            let excess = self.releases.len().saturating_sub(RELEASES_KEPT);
            self.releases.drain(..excess);
            return;
        };
        self.releases[index].withdrawn = false;
        for later in &mut self.releases[index + 1..] {
            later.withdrawn = true;
        }
    }

    /// Whether the version that the record's outputs name is a release that was not withdrawn.
    pub fn is_released(&self) -> bool {
        let mut releases = self.releases.iter();
        self.version().is_some_and(|version| {
            releases.any(|release| release.version == version && !release.withdrawn)
        })
    }

    /// The version that the record's outputs name.
    pub fn version(&self) -> Option<u64> {
        self.outputs.get("version")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::state::tests::example;

    #[test]
    fn going_back_withdraws_what_came_after_and_going_forward_brings_it_back() {
        let mut record = example().records.into_values().next().unwrap();
        let mut after = |version| {
            record.release(version);
            let releases = record.releases.iter();
            releases
                .map(|one| format!("{}{}", one.version, if one.withdrawn { "-" } else { "" }))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(after(1), "1");
        assert_eq!(after(1), "1");
        assert_eq!((after(2), after(3)), ("1 2".into(), "1 2 3".into()));
        assert_eq!(after(1), "1 2- 3-");
        assert_eq!(after(4), "1 2- 3- 4");
        assert_eq!(after(3), "1 2- 3 4-");
        for version in 5..200 {
            after(version);
        }
        assert_eq!(record.releases.len(), 100);
        assert_eq!(record.releases.last().unwrap().version, 199);
    }
}
