use chrono::{DateTime, Utc};

use super::{ConversationId, page::Direction};

/// A conversation as its owner sees it, but for its system prompt, which is long and rarely asked
/// for.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub id: ConversationId,
    pub title: Option<String>,
    /// The model that its user chose; `None` follows the configured default.
    pub model: Option<String>,
    pub archived: bool,
    pub pinned: bool,
    /// Grows with every change of the conversation or of a message in it.
    pub revision: i64,
    /// The revision at which the active path last changed other than at its end.
    pub path_revision: i64,
    /// How many messages the active path has.
    pub path_length: i32,
    /// The revision of its user's list at which it last changed.
    pub list_revision: i64,
    /// The revision of its user's list at which it came into it.
    pub added_revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub last_active_at: DateTime<Utc>,
}

/// What a list of conversations holds; an absent member is no constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationFilter {
    pub archived: Option<bool>,
    pub pinned: Option<bool>,
    /// Letters in either case, taken literally.
    pub title_contains: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversationOrderField {
    LastActiveAt,
    CreatedAt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationOrder {
    pub field: ConversationOrderField,
    pub direction: Direction,
}

impl Default for ConversationOrder {
    fn default() -> Self {
        Self {
            field: ConversationOrderField::LastActiveAt,
            direction: Direction::Descending,
        }
    }
}
