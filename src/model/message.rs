use chrono::{DateTime, Utc};

use super::{ConversationId, MessageId};

/// One message of a conversation's tree.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub parent_id: Option<MessageId>,
    /// Whether it is on the active path.
    pub active: bool,
    /// Its place on the path from the root, from 0.
    pub position: i32,
    /// The revision of its conversation at which it last changed.
    pub revision: i64,
    pub role: MessageRole,
    /// The stored text. A reply that is still being written keeps its text in its log and chunks
    /// until it ends.
    pub content: String,
    pub status: MessageStatus,
    pub error: Option<ReplyError>,
    pub truncated: bool,
    pub model: Option<String>,
    pub usage: Option<TokenUsage>,
    pub idempotency_key: Option<String>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRole {
    User,
    Assistant,
}

impl MessageRole {
    pub const ALL: [Self; 2] = [Self::User, Self::Assistant];

    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Assistant => "ASSISTANT",
        }
    }
}

/// The life of a message: `Pending → Streaming → Completed | Stopped | Failed`, where a pending
/// one may also stop or fail. A user's message is `Completed` from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageStatus {
    Pending,
    Streaming,
    Completed,
    Stopped,
    Failed,
}

impl MessageStatus {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Streaming,
        Self::Completed,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Streaming => "STREAMING",
            Self::Completed => "COMPLETED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
        }
    }

    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Stopped | Self::Failed)
    }
}

/// Why a reply failed, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    pub code: ReplyErrorCode,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyErrorCode {
    ProviderUnavailable,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ContextTooLong,
    ContentFiltered,
    Interrupted,
    QuotaExceeded,
    Internal,
}

impl ReplyErrorCode {
    pub const ALL: [Self; 9] = [
        Self::ProviderUnavailable,
        Self::ProviderRateLimited,
        Self::ProviderRejected,
        Self::ProviderTimeout,
        Self::ContextTooLong,
        Self::ContentFiltered,
        Self::Interrupted,
        Self::QuotaExceeded,
        Self::Internal,
    ];

    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Self::ProviderRateLimited => "PROVIDER_RATE_LIMITED",
            Self::ProviderRejected => "PROVIDER_REJECTED",
            Self::ProviderTimeout => "PROVIDER_TIMEOUT",
            Self::ContextTooLong => "CONTEXT_TOO_LONG",
            Self::ContentFiltered => "CONTENT_FILTERED",
            Self::Interrupted => "INTERRUPTED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same message, sent again later, may well succeed.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::ProviderUnavailable
            | Self::ProviderRateLimited
            | Self::ProviderTimeout
            | Self::Interrupted
            | Self::Internal => true,
            Self::ProviderRejected
            | Self::ContextTooLong
            | Self::ContentFiltered
            | Self::QuotaExceeded => false,
        }
    }
}

/// What a reply cost, in the provider's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUsage {
    pub prompt_tokens: i32,
    pub completion_tokens: i32,
    pub total_tokens: i32,
}
