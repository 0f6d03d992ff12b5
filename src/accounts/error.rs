use crate::{db::DbError, model::Limit};

/// Why something about an account was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// There is none that this caller may see.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// `problem` goes on from the argument's name.
    #[error("{argument}: {problem}")]
    Invalid {
        argument: &'static str,
        problem: String,
    },
    /// The credential does not allow it; the text says what would.
    #[error("{0}")]
    Forbidden(&'static str),
    /// `value` is what the limit allows.
    #[error("{message}")]
    LimitExceeded {
        limit: Limit,
        value: u64,
        message: &'static str,
    },
    #[error(transparent)]
    Database(#[from] DbError),
}
