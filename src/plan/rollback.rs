//! To which version `live` goes back. Pure: what is recorded and what is there come in, a version or a reason comes out.

use crate::resource::Address;
use crate::state::{Record, RecordStatus};

/// One function before its rollback.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Which function.
    pub address: &'a Address,
    /// What is recorded of it.
    pub record: &'a Record,
    /// The version that `live` points to.
    pub live: Option<u64>,
    /// The published versions that are there, oldest first.
    pub there: &'a [u64],
    /// Those of Remotion's own function. It invokes itself by its name, so what `live` says is not what renders.
    pub of_remotion: &'a [u64],
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// Nobody has released anything, or somebody deleted the alias.
    #[error("{0} has no `live` alias")]
    NoAlias(Address),
    /// There is no such version.
    #[error(
        "{address} has no version {version}; {}",
        listed("released versions that are there: ", released)
    )]
    NoSuchVersion {
        /// Of which function.
        address: Address,
        /// What was asked for.
        version: u64,
        /// What could have been asked for.
        released: Vec<u64>,
    },
    /// The version was published by somebody else, or never passed its checks.
    #[error(
        "version {version} of {address} is there, but this deployment never released it; {}",
        listed("it released: ", released)
    )]
    NeverReleased {
        /// Of which function.
        address: Address,
        /// What was asked for.
        version: u64,
        /// What could have been asked for.
        released: Vec<u64>,
    },
    /// Where `live` points, or was to point, is Remotion's own function.
    #[error(
        "version {version} of {address} is Remotion's own function: it invokes itself by its name, which is what was applied last, \
         wherever `live` points"
    )]
    OfRemotion {
        /// Of which function.
        address: Address,
        /// Which of the two versions.
        version: u64,
    },
    /// `live` points to the first release that is still there.
    #[error(
        "{address} has no release before version {live}; {}",
        listed("it released: ", released)
    )]
    NothingBefore {
        /// Of which function.
        address: Address,
        /// Where `live` points.
        live: u64,
        /// Releases that are there.
        released: Vec<u64>,
    },
}

fn listed(before: &str, versions: &[u64]) -> String {
    if versions.is_empty() {
        return format!("{before}none");
    }
    let versions: Vec<String> = versions.iter().map(u64::to_string).collect();
    format!("{before}{}", versions.join(", "))
}

impl Standing<'_> {
    /// The releases that are still there, oldest first.
    pub fn released(&self) -> Vec<u64> {
        let releases = self.record.releases.iter().map(|release| release.version);
        releases
            .filter(|version| self.there.contains(version))
            .collect()
    }

    /// The version to go to: `to`, or else the newest release before the live one that was not withdrawn. A rollback that
    /// was interrupted goes on to where it was going: it is recorded there already.
    ///
    /// # Errors
    /// There is none, `to` is none of this deployment's, or one of the two is Remotion's own function.
    pub fn target(&self, to: Option<u64>) -> Result<u64, RollbackError> {
        let target = self.release(to)?;
        let mut both = self.live.into_iter().chain([target]);
        match both.find(|version| self.of_remotion.contains(version)) {
            None => Ok(target),
            Some(version) => Err(RollbackError::OfRemotion {
                address: self.address.clone(),
                version,
            }),
        }
    }

    fn release(&self, to: Option<u64>) -> Result<u64, RollbackError> {
        let address = || self.address.clone();
        let live = self.live.ok_or_else(|| RollbackError::NoAlias(address()))?;
        let released = self.released();
        if let Some(version) = to {
            return match (self.there.contains(&version), released.contains(&version)) {
                (true, true) => Ok(version),
                (true, false) => Err(RollbackError::NeverReleased {
                    address: address(),
                    version,
                    released,
                }),
                (false, _) => Err(RollbackError::NoSuchVersion {
                    address: address(),
                    version,
                    released,
                }),
            };
        }
        // An apply that was cut off leaves the record open too, but its outputs name a version that stands.
        let interrupted = self.record.status == RecordStatus::Pending && !self.record.is_released();
        let releases = self.record.releases.iter().rev();
        let mut standing = releases
            .filter(|release| !release.withdrawn && released.contains(&release.version))
            .map(|release| release.version);
        standing
            .find(|version| interrupted || *version != live)
            .ok_or_else(|| RollbackError::NothingBefore {
                address: address(),
                live,
                released,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::resource::{LogGroupSpec, Resource};

    fn record(status: RecordStatus, releases: &[u64]) -> Record {
        let mut record = Record {
            // What it is does not matter here.
            applied: Resource::LogGroup(LogGroupSpec {
                name: "group".parse().unwrap(),
                retention_days: None,
            }),
            outputs: BTreeMap::new(),
            status,
            protect: false,
            releases: Vec::new(),
        };
        for version in releases {
            record.release(*version);
        }
        record
    }

    fn target(record: &Record, live: u64, there: &[u64], to: Option<u64>) -> Result<u64, String> {
        let standing = Standing {
            address: &"function.worker".parse().unwrap(),
            record,
            live: Some(live),
            there,
            of_remotion: &[7, 8],
        };
        standing.target(to).map_err(|error| error.to_string())
    }

    #[test]
    fn it_goes_to_the_release_before_the_live_one() {
        let mut record = record(RecordStatus::Complete, &[1, 2, 4, 5]);
        let there = [1, 2, 3, 4, 5];
        assert_eq!(target(&record, 5, &there, None), Ok(4));
        assert_eq!(
            target(&record, 5, &[1, 3, 5], None),
            Ok(1),
            "2 and 4 are gone"
        );
        record.release(4);
        assert_eq!(target(&record, 4, &there, None), Ok(2), "and further back");
        assert_eq!(
            target(&record, 4, &there, Some(5)),
            Ok(5),
            "or forward, by name"
        );
        record.release(6);
        let there = [1, 2, 4, 5, 6];
        assert_eq!(target(&record, 6, &there, None), Ok(4), "5 was withdrawn");
        // Somebody moved the alias by hand.
        assert_eq!(target(&record, 3, &there, None), Ok(6));
    }

    #[test]
    fn remotions_own_function_is_not_rolled_back_nor_rolled_back_to() {
        let record = record(RecordStatus::Complete, &[6, 7, 8, 9]);
        let there = [6, 7, 8, 9];
        for (live, to, named) in [(9, None, 8), (8, Some(6), 8), (9, Some(7), 7)] {
            let refused = target(&record, live, &there, to).unwrap_err();
            let says = format!("version {named} of function.worker is Remotion's");
            assert!(refused.starts_with(&says), "{refused}");
        }
        assert_eq!(target(&record, 9, &there, Some(6)), Ok(6));
    }

    #[test]
    fn what_was_interrupted_goes_on_and_no_further() {
        let mut record = record(RecordStatus::Complete, &[1, 2, 3]);
        record.outputs = BTreeMap::from([("version".to_owned(), "3".to_owned())]);
        record.release(2);
        record.status = RecordStatus::Pending;
        assert_eq!(
            target(&record, 3, &[1, 2, 3], None),
            Ok(2),
            "before the call"
        );
        assert_eq!(
            target(&record, 2, &[1, 2, 3], None),
            Ok(2),
            "after the call"
        );
    }

    #[test]
    fn an_apply_that_was_cut_off_is_no_rollback_that_goes_on() {
        let mut record = record(RecordStatus::Pending, &[1, 2, 3]);
        record.outputs = BTreeMap::from([("version".to_owned(), "3".to_owned())]);
        assert_eq!(target(&record, 3, &[1, 2, 3, 4], None), Ok(2));
    }

    #[test]
    fn what_it_refuses_it_names() {
        let record = record(RecordStatus::Complete, &[2, 3]);
        let there = [1, 2, 3];
        for (to, words) in [
            (
                Some(9),
                "has no version 9; released versions that are there: 2, 3",
            ),
            (Some(1), "never released it; it released: 2, 3"),
        ] {
            let refused = target(&record, 3, &there, to).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
        let refused = target(&record, 2, &there, None);
        assert_eq!(
            refused,
            Ok(3),
            "{words}",
            words = "3 is newer and was not withdrawn"
        );
        let refused = target(&record, 3, &[3], None).unwrap_err();
        assert!(
            refused.ends_with("no release before version 3; it released: 3"),
            "{refused}"
        );
    }
}
