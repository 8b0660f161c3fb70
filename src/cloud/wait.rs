//! Bounded polling.

use std::time::Duration;

use super::CloudError;

/// How often something is looked at, and for how long in all.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The pause after the first look. Each further one is half as long again.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// When to give up, counted from the first look.
    pub total: Duration,
}

impl Patience {
    /// For a function to become active or to take an update: seconds as a rule, minutes in a VPC.
    pub const FUNCTION: Self = Self {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(2),
        total: Duration::from_secs(600),
    };

    /// For a look at a function in the middle of a change: what it will be is known, its revision is not yet.
    pub const LOOK: Self = Self {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(1),
        total: Duration::from_secs(30),
    };

    /// For a new role to be known to Lambda: about ten seconds as a rule.
    pub const ROLE: Self = Self {
        first: Duration::from_millis(500),
        longest: Duration::from_secs(5),
        total: Duration::from_secs(180),
    };
}

/// Looks until `look` finds something; `None` when patience ends first. An error ends it at once.
pub async fn until<T>(
    patience: Patience,
    mut look: impl AsyncFnMut() -> Result<Option<T>, CloudError>,
) -> Result<Option<T>, CloudError> {
    let end = tokio::time::Instant::now() + patience.total;
    let mut pause = patience.first;
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if tokio::time::Instant::now() + pause > end {
            return Ok(None);
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 3 / 2).min(patience.longest);
    }
}

/// Between half of `pause` and all of it, so that many waiting at once do not all ask at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause * random / (2 * 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn looks_again_until_found_and_gives_up_in_time() {
        let patience = Patience {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(2),
            total: Duration::from_millis(50),
        };
        let mut looks = 0;
        let found = until(patience, async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        })
        .await;
        assert_eq!(found.unwrap(), Some(3));
        let never = until(patience, async || Ok(None::<()>)).await;
        assert_eq!(never.unwrap(), None);
    }
}
