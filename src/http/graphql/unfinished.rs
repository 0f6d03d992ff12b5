//! What becomes of an operation that was begun and has no result.

use std::time::Duration;

use super::failure::Failure;
use crate::{model::Limit, telemetry::RequestId};

/// Why an operation that was begun has no result.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It failed in a way that no resolver meant to. The panic itself is in the log.
    Panicked,
    /// A query took longer than it may, and was stopped.
    Stopped { after: Duration },
    /// A mutation takes longer than it may, and goes on.
    GoesOn { after: Duration },
    /// Its time was over before it began, behind others of its batch.
    NotBegun { after: Duration },
}

impl Unfinished {
    pub fn into_failure(self, id: &RequestId) -> Failure {
        let (after, what) = match self {
            Self::Panicked => return Failure::panicked(id),
            Self::Stopped { after } => (
                after,
                "and was stopped: ask for less, or for smaller pages.",
            ),
            Self::GoesOn { after } => (
                after,
                "and goes on: look for what it does before you send it again.",
            ),
            Self::NotBegun { after } => (
                after,
                "before this operation was begun: send fewer at once.",
            ),
        };
        let seconds = after.as_secs();
        Failure::limit(
            Limit::RequestSeconds,
            seconds,
            format!("The request took longer than {seconds} s {what}"),
        )
    }
}
