use crate::db::DbError;

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
    /// `limit` is the limit's name, `value` what it allows.
    #[error("{message}")]
    LimitExceeded {
        limit: &'static str,
        value: usize,
        message: &'static str,
    },
    #[error(transparent)]
    Database(#[from] DbError),
}
