use std::io;

/// A query that failed, and what it was for.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached, is starting or stopping, or has no connection to spare.
    /// Trying again later may well succeed.
    #[error("the database is not available to {operation}")]
    Unavailable {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// The database did not answer at all.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Anything else: a fault of ours.
    #[error("the database refused to {operation}")]
    Query {
        operation: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// A transaction of a user who was deleted meanwhile wanted to store something.
    #[error("there is no user any more to {operation}")]
    UserGone { operation: &'static str },
    /// A policy of the database's owner hides the user's own row from them.
    #[error("a policy keeps the user from the row that it takes to {operation}")]
    Withheld { operation: &'static str },
    /// An admin who is none any more, or is suspended, since they signed in.
    #[error("an admin's rights have ended")]
    AdminGone,
    /// A row that no version of this program writes.
    #[error("a stored {column} holds an unknown value")]
    Corrupt { column: &'static str },
}

impl DbError {
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut)
    }
}

/// For `map_err`: names the operation that a failed query belonged to, as an infinitive.
pub(super) fn during(operation: &'static str) -> impl Fn(sqlx::Error) -> DbError {
    move |source| {
        if is_outage(&source) {
            DbError::Unavailable { operation, source }
        } else if is_orphan(&source) {
            DbError::UserGone { operation }
        } else {
            DbError::Query { operation, source }
        }
    }
}

/// Whether a row lacks the user who would own it: what a reference that is the owner alone says.
fn is_orphan(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.is_foreign_key_violation()
            && error
                .constraint()
                .is_some_and(|name| name.ends_with("_user_id_fkey"))
    })
}

fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        // Class 08: connection; 53: no resources; 57P: shutting down, starting up; 55P03, 57014 and
        // 25P03 (this process stood still): our own time limits; 40: deadlock or serialisation;
        // 25006: a standby.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || code.starts_with("40")
                || code == "55P03"
                || code == "25P03"
                || code == "25006"
        }),
        _ => false,
    }
}
