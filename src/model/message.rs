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
    /// Its number among the alternatives at its place, from 1.
    pub version_number: i32,
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
    /// What its reader thinks of it.
    pub feedback: Option<Feedback>,
    pub idempotency_key: Option<String>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}

impl Message {
    pub fn fork(&self) -> Fork {
        Fork {
            conversation_id: self.conversation_id,
            parent_id: self.parent_id,
        }
    }
}

/// Where the ways of a conversation part: the messages after one parent, or, without a parent, the
/// first ones. They are alternatives to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fork {
    pub conversation_id: ConversationId,
    pub parent_id: Option<MessageId>,
}

/// Where a message stands in its conversation's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub parent_id: Option<MessageId>,
    /// From 0, on the path from the root.
    pub position: i32,
    /// From 1, among the alternatives at the place.
    pub version_number: i32,
}

impl Place {
    /// The first after `parent`, or in an empty conversation.
    pub fn after(parent: Option<&Message>) -> Self {
        Self {
            parent_id: parent.map(|parent| parent.id),
            position: parent.map_or(0, |parent| parent.position + 1),
            version_number: 1,
        }
    }

    /// Another alternative to a message that has `count` of them, itself included.
    pub fn beside(message: &Message, count: i32) -> Self {
        Self {
            parent_id: message.parent_id,
            position: message.position,
            version_number: count + 1,
        }
    }
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

/// What a reply cost, in the model's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUsage {
    pub prompt_tokens: i32,
    pub completion_tokens: i32,
    pub total_tokens: i32,
}

impl TokenUsage {
    /// Of tokens that were counted here.
    pub fn of(prompt: usize, completion: usize) -> Self {
        let count = |tokens| i32::try_from(tokens).unwrap_or(i32::MAX);
        Self {
            prompt_tokens: count(prompt),
            completion_tokens: count(completion),
            total_tokens: count(prompt.saturating_add(completion)),
        }
    }
}

/// What a reader thinks of a message of the assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    pub rating: Rating,
    pub comment: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rating {
    Up,
    Down,
}

impl Rating {
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The word that stands for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
        }
    }
}
