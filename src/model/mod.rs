//! Typed ids and plain structs: what a conversation, a message and a caller's rights are, with no
//! idea of how they are stored, shown or made.

mod access;
mod api_key;
mod audit;
mod conversation;
mod ids;
mod limit;
mod message;
mod page;
mod text;
mod usage;

pub use access::{Access, Right};
pub use api_key::{ApiKey, ApiKeyScope};
pub use audit::{AuditAction, AuditEvent, AuditOutcome, AuditTarget, NewAuditEvent, Provenance};
pub use conversation::{
    Conversation, ConversationFilter, ConversationOrder, ConversationOrderField,
};
pub use ids::{ApiKeyId, AuditEventId, ConversationId, MessageId, ProcessId, UserId};
pub use limit::Limit;
pub use message::{
    Feedback, Fork, Message, MessageRole, MessageStatus, Place, Rating, ReplyError, ReplyErrorCode,
    TokenUsage,
};
pub use page::{Direction, Page, PageRequest, Slice};
pub use text::{filled_text_problem, text_problem};
pub use usage::{TimeRange, Usage};
