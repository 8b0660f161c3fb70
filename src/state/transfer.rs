//! The state goes from one place to another, and is never in two.
//!
//! The old place is made a signpost first, which still holds the state, and only then is the state written to the new
//! one. Killed in between, neither place lets anybody work, and the same command finishes what was begun. Each move
//! raises the serial, so of two places that point at each other the higher one is the one that was left last.

use super::file::Content;
use super::hold::Hold;
use super::lock::Holder;
use super::locked::check_successor;
use super::store::StateStore;
use super::{State, StateError};

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// The state went from there to here.
    Moved {
        /// Its serial.
        serial: u64,
    },
    /// It was here already.
    AlreadyThere,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Step {
    /// Make the old place a signpost, and write this here.
    Move(State),
    /// Write this here: the signpost stands.
    Arrive(State),
    Nothing,
}

/// A place and what it holds.
struct Found<'a> {
    /// The name that signposts use.
    name: &'a str,
    content: Option<Content>,
}

impl StateStore {
    /// Brings the state of `source` here.
    ///
    /// # Errors
    /// There is none, one of the places cannot be locked, read or written, what is here is another deployment's or
    /// newer, or the state is somewhere else altogether.
    pub async fn migrate_from(
        &self,
        source: &Self,
        holder: &Holder,
    ) -> Result<Migration, StateError> {
        if source.content().await?.is_none() && self.content().await?.is_none() {
            return Err(StateError::Nothing {
                place: source.place(),
            });
        }
        let mut from = source.hold(holder).await?;
        let done = match self.hold(holder).await {
            Ok(mut to) => {
                let done = self.bring(source, holder, &mut from, &mut to).await;
                to.give_up().await;
                done
            }
            Err(error) => Err(error),
        };
        from.give_up().await;
        done
    }

    async fn content(&self) -> Result<Option<Content>, StateError> {
        match &self.remote {
            None => self.folder.read(&self.owner),
            Some(remote) => remote.read(&self.owner).await,
        }
    }

    /// How a signpost names this place: a folder means little without its machine.
    fn signpost_name(&self, holder: &Holder) -> String {
        match &self.remote {
            None => format!("{} on {}", self.place(), holder.host),
            Some(_) => self.place(),
        }
    }

    async fn bring(
        &self,
        source: &Self,
        holder: &Holder,
        from: &mut Hold,
        to: &mut Hold,
    ) -> Result<Migration, StateError> {
        let (there, here) = (source.signpost_name(holder), self.signpost_name(holder));
        let found_there = Found {
            name: &there,
            content: from.found.clone(),
        };
        let found_here = Found {
            name: &here,
            content: to.found.clone(),
        };
        let state = match decide(found_there, found_here)? {
            Step::Nothing => return Ok(Migration::AlreadyThere),
            Step::Arrive(state) => state,
            Step::Move(state) => {
                let state = State {
                    serial: state.serial + 1,
                    ..state
                };
                if to.found.is_none() {
                    // Nobody begins another state here while this one is on its way.
                    let not_yet = Content::Moved {
                        to: there,
                        left: None,
                    };
                    to.write(&not_yet).await?;
                }
                let signpost = Content::Moved {
                    to: here,
                    left: Some(state.clone()),
                };
                from.write(&signpost).await?;
                state
            }
        };
        let serial = state.serial;
        to.write(&Content::State(state)).await?;
        Ok(Migration::Moved { serial })
    }
}

/// Pure: what two places and their names lead to.
fn decide(there: Found<'_>, here: Found<'_>) -> Result<Step, StateError> {
    let elsewhere = |place: &str, to: String| StateError::Moved {
        place: place.to_owned(),
        to,
    };
    // A state of serial 0 was begun and never saved: S3's way of being locked before the first apply.
    let used = |content: Option<Content>| match content {
        Some(Content::State(state)) if state.serial == 0 => None,
        other => other,
    };
    match (used(there.content), used(here.content)) {
        (None, None) => Err(StateError::Nothing {
            place: there.name.to_owned(),
        }),
        (None, Some(Content::State(_))) => Ok(Step::Nothing),
        (None, Some(Content::Moved { to, .. })) if to == there.name => Err(StateError::Gone {
            place: to,
            signpost: here.name.to_owned(),
        }),
        (None, Some(Content::Moved { to, .. })) => Err(elsewhere(here.name, to)),
        (Some(Content::State(state)), None) => Ok(Step::Move(state)),
        (Some(Content::State(state)), Some(Content::State(present))) => {
            check_successor(here.name.to_owned(), &present, &state)?;
            Ok(Step::Move(state))
        }
        (Some(Content::State(_)), Some(Content::Moved { to, .. })) if to != there.name => {
            Err(elsewhere(here.name, to))
        }
        (Some(Content::State(state)), Some(Content::Moved { left, .. })) => {
            if let Some(left) = left {
                check_successor(here.name.to_owned(), &left, &state)?;
            }
            Ok(Step::Move(state))
        }
        (Some(Content::Moved { to, .. }), _) if to != here.name => Err(elsewhere(there.name, to)),
        (
            Some(Content::Moved {
                left: Some(left), ..
            }),
            None,
        ) => Ok(Step::Arrive(left)),
        (Some(Content::Moved { to, left: None }), None) => Err(StateError::Gone {
            place: to,
            signpost: there.name.to_owned(),
        }),
        (Some(Content::Moved { left, .. }), Some(Content::State(present))) => match left {
            // Written there before, and left behind when the state was moved again.
            Some(left) if left.lineage == present.lineage && left.serial > present.serial => {
                Ok(Step::Arrive(left))
            }
            Some(left) if left.lineage != present.lineage => Err(StateError::OtherLineage {
                place: here.name.to_owned(),
                found: present.lineage.to_string(),
                given: left.lineage.to_string(),
            }),
            _ => Ok(Step::Nothing),
        },
        // Each points at the other: the one that was left last has the state.
        (
            Some(Content::Moved {
                left: there_left, ..
            }),
            Some(Content::Moved {
                to,
                left: here_left,
            }),
        ) => match (there_left, here_left) {
            (Some(left), Some(present)) if present.serial > left.serial => {
                Ok(Step::Arrive(present))
            }
            (Some(left), _) | (None, Some(left)) => Ok(Step::Arrive(left)),
            (None, None) => Err(elsewhere(here.name, to)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::example;

    fn state(serial: u64) -> State {
        State {
            serial,
            ..example()
        }
    }

    fn kept(serial: u64) -> Option<Content> {
        Some(Content::State(state(serial)))
    }

    fn left(to: &str, serial: Option<u64>) -> Option<Content> {
        Some(Content::Moved {
            to: to.to_owned(),
            left: serial.map(state),
        })
    }

    fn from_to(there: Option<Content>, here: Option<Content>) -> Result<Step, String> {
        let found = |name, content| Found { name, content };
        decide(found("there", there), found("here", here)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_pair_of_places_has_one_truth_or_an_error() {
        let moves = |serial| Ok(Step::Move(state(serial)));
        let arrives = |serial| Ok(Step::Arrive(state(serial)));
        for (there, here, expected) in [
            (kept(3), None, moves(3)),
            // S3 was locked, and nothing was saved.
            (kept(3), kept(0), moves(3)),
            (kept(0), kept(3), Ok(Step::Nothing)),
            (None, kept(3), Ok(Step::Nothing)),
            // Copied by hand, and used there since.
            (kept(4), kept(3), moves(4)),
            (kept(3), kept(3), moves(3)),
            // The way back.
            (kept(5), left("there", Some(4)), moves(5)),
            (kept(5), left("there", None), moves(5)),
            // Killed when the signpost stood and nothing had arrived.
            (left("here", Some(4)), None, arrives(4)),
            (left("here", Some(4)), kept(0), arrives(4)),
            (left("here", Some(6)), left("there", Some(4)), arrives(6)),
            (left("here", Some(6)), left("there", None), arrives(6)),
            // The same, and then the configuration was put back: the state returns to where it was.
            (left("here", Some(4)), left("there", Some(6)), arrives(6)),
            // Finished before.
            (left("here", Some(4)), kept(4), Ok(Step::Nothing)),
            (left("here", None), kept(9), Ok(Step::Nothing)),
        ] {
            let told = format!("{there:?} {here:?}");
            assert_eq!(from_to(there, here), expected, "{told}");
        }
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        for (there, here, words) in [
            (None, None, "there is no state in there"),
            (kept(0), None, "there is no state in there"),
            (kept(3), kept(4), "here has serial 4, which is newer than 3"),
            (kept(3), left("there", Some(4)), "which is newer than 3"),
            (
                kept(3),
                left("a third place", None),
                "kept in a third place",
            ),
            (
                left("a third place", Some(3)),
                None,
                "kept in a third place",
            ),
            (
                left("a third place", Some(3)),
                kept(3),
                "kept in a third place",
            ),
            (
                None,
                left("a third place", Some(3)),
                "kept in a third place",
            ),
            (left("here", None), None, "is gone"),
            (left("here", None), left("there", None), "kept in there"),
        ] {
            let told = format!("{there:?} {here:?}");
            let error = from_to(there, here).unwrap_err();
            assert!(error.contains(words), "{told}: {error}");
        }
        let other = State {
            lineage: State::fresh().lineage,
            ..state(2)
        };
        let error = from_to(kept(3), Some(Content::State(other))).unwrap_err();
        assert!(error.contains("is the state of the deployment"), "{error}");
        let edited = State {
            deployed_to: None,
            ..state(3)
        };
        let error = from_to(kept(3), Some(Content::State(edited))).unwrap_err();
        assert!(error.contains("too, and another content"), "{error}");
    }
}
