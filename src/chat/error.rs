use crate::{db::DbError, model::MessageId};

/// Why a call was refused, or could not be carried out. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// It never was, it is gone, or it is another user's: no caller can tell which.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("{argument}: {problem}")]
    Invalid {
        argument: &'static str,
        problem: String,
    },
    #[error("a reply is still being written in this conversation")]
    ReplyInProgress { message_id: MessageId },
    #[error("the user has {0} unfinished replies, which is all that anybody may have")]
    TooManyReplies(u32),
    #[error("the idempotency key was used before, with other input")]
    KeyReused,
    #[error("what this idempotency key made has been deleted since")]
    KeyResultDeleted,
    #[error("the messages hold more text than one answer may")]
    TooMuchText,
    #[error("the server is about to stop and takes no new work")]
    Draining,
    #[error("a task of the chat panicked")]
    Panicked,
    #[error(transparent)]
    Database(#[from] DbError),
}
