//! The one error that leaves a resolver.

use async_graphql::{Error, ErrorExtensionValues, Value};

use super::context::too_much_text;
use crate::{accounts::AccountsError, chat::ChatError, db::DbError, model::Limit};

/// `extensions.code` of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    Unauthenticated,
    Forbidden,
    NotFound,
    BadUserInput,
    Conflict,
    LimitExceeded,
    Unavailable,
    GraphqlParseFailed,
    GraphqlValidationFailed,
    PersistedQueryNotFound,
    PersistedQueryNotSupported,
    InternalServerError,
}

impl ErrorCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::Conflict => "CONFLICT",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            Self::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            Self::PersistedQueryNotFound => "PERSISTED_QUERY_NOT_FOUND",
            Self::PersistedQueryNotSupported => "PERSISTED_QUERY_NOT_SUPPORTED",
            Self::InternalServerError => "INTERNAL_SERVER_ERROR",
        }
    }
}

/// What a client is told. Not `Display` on purpose: the library turns anything that is into an
/// answer, so a `?` on a database error would send its SQL; this way it does not compile.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    extensions: Vec<(&'static str, Value)>,
}

/// Seconds after which a client may try again what the server could not do now.
const RETRY_AFTER: u32 = 1;

impl ApiError {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            extensions: Vec::new(),
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.push((name, value.into()));
        self
    }

    /// Refuses what an argument says. `problem` goes on from the argument's name.
    pub fn bad_input(argument: &'static str, problem: &str) -> Self {
        Self::new(ErrorCode::BadUserInput, format!("{argument}: {problem}"))
            .with("argument", argument)
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("There is no such {what}."))
    }

    pub fn unauthenticated() -> Self {
        Self::new(
            ErrorCode::Unauthenticated,
            "Sign in: this needs a valid token.",
        )
    }

    /// The credential is good and does not allow this; the text says what would.
    pub fn forbidden(message: &str) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// `value` is what the limit allows; the text says what to do.
    pub fn limit_exceeded(limit: Limit, value: u64, message: &str) -> Self {
        let mut error = Self::new(ErrorCode::LimitExceeded, message);
        error.extensions.extend(limit_details(limit, value));
        error
    }

    fn conflict(reason: &str, message: &str) -> Self {
        Self::new(ErrorCode::Conflict, message).with("reason", reason)
    }

    fn unavailable(message: &str) -> Self {
        Self::new(ErrorCode::Unavailable, message).with("retryAfter", RETRY_AFTER)
    }

    /// A fault of ours. The transport adds the request's id, by which the log can be searched.
    fn internal() -> Self {
        Self::new(
            ErrorCode::InternalServerError,
            "Something went wrong on the server.",
        )
    }
}

/// What `extensions` of a `LIMIT_EXCEEDED` hold beside the code, wherever it comes from.
pub fn limit_details(limit: Limit, value: u64) -> [(&'static str, Value); 3] {
    [
        ("limit", limit.name().into()),
        ("value", value.into()),
        ("documentation", limit.documentation().into()),
    ]
}

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::NotFound(what) => Self::not_found(what),
            ChatError::Invalid { argument, problem } => Self::bad_input(argument, &problem),
            ChatError::ReplyInProgress { message_id } => Self::conflict(
                "REPLY_IN_PROGRESS",
                "A reply is still being written in this conversation.",
            )
            .with("messageId", super::ids::encode(message_id).to_string()),
            ChatError::TooManyReplies(most) => Self::limit_exceeded(
                Limit::UnfinishedReplies,
                u64::from(most),
                &format!(
                    "You have {most} unfinished replies. Wait until one has ended, or stop one."
                ),
            ),
            ChatError::KeyReused => Self::conflict(
                "IDEMPOTENCY_KEY_REUSED",
                "idempotencyKey: was used before, with other input.",
            )
            .with("argument", "idempotencyKey"),
            ChatError::KeyResultDeleted => Self::new(
                ErrorCode::NotFound,
                "What this idempotencyKey made has been deleted since. Nothing was done again.",
            ),
            ChatError::TooMuchText => too_much_text(),
            ChatError::Draining => {
                Self::unavailable("The server is about to restart. Try again in a moment.")
            }
            ChatError::Database(error) => error.into(),
            ChatError::Panicked => failed(&error),
        }
    }
}

impl From<AccountsError> for ApiError {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::NotFound(what) => Self::not_found(what),
            AccountsError::Invalid { argument, problem } => Self::bad_input(argument, &problem),
            AccountsError::Forbidden(message) => Self::forbidden(message),
            AccountsError::LimitExceeded {
                limit,
                value,
                message,
            } => Self::limit_exceeded(limit, value, message),
            AccountsError::Database(error) => error.into(),
        }
    }
}

impl From<DbError> for ApiError {
    /// The boundary at which faults of the database are handled, and so logged.
    fn from(error: DbError) -> Self {
        if let DbError::UserGone { .. } = error {
            Self::not_found("viewer")
        } else if let DbError::AdminGone = error {
            Self::forbidden("You are not an admin any more. Sign in again.")
        } else if error.is_unavailable() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a request met an unavailable database"
            );
            Self::unavailable("The store cannot be reached. Try again in a moment.")
        } else {
            failed(&error)
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ApiError {
    tracing::error!(error, "a request failed");
    ApiError::internal()
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", error.code.as_str());
        for (name, value) in error.extensions {
            extensions.set(name, value);
        }
        let mut answer = Self::new(error.message);
        answer.extensions = Some(extensions);
        answer
    }
}
