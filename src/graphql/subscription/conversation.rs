use async_graphql::{ID, SimpleObject, Union};

use super::message::{MessageChanged, MessageDelta, MessageFinished};
use crate::{
    chat,
    graphql::{
        ids,
        types::{Conversation, MessageEdge},
    },
    model::{self, ConversationId},
};

/// What happens in one conversation. More members may come: ignore those that you do not know.
#[derive(Union)]
pub enum ConversationEvent {
    Snapshot(ConversationSnapshot),
    Added(MessageAdded),
    MessageChanged(MessageChanged),
    Delta(MessageDelta),
    Finished(MessageFinished),
    Changed(ConversationChanged),
    Deleted(ConversationDeleted),
}

/// The conversation as it is: replace the messages that you hold with those that you select here.
/// Comes first, and whenever the active path has changed other than at its end (`editMessage`,
/// `regenerateReply`, `selectVersion`, `resetConversation`), or the server cannot be sure that no
/// event was lost. The text so far of a running reply follows as a MessageDelta at offset 0.
#[derive(SimpleObject)]
pub struct ConversationSnapshot {
    conversation: Conversation,
}

/// A message has been stored, at the end of the active path: the user's, or a reply that waits for its
/// turn.
#[derive(SimpleObject)]
pub struct MessageAdded {
    message_edge: MessageEdge,
}

/// Something about the conversation has changed: its title, its model, whether it is archived or
/// pinned, its `activeReply`, its `lastMessage`.
#[derive(SimpleObject)]
pub struct ConversationChanged {
    conversation: Conversation,
}

/// The conversation is gone, with all that was in it.
#[derive(SimpleObject)]
pub struct ConversationDeleted {
    deleted_conversation_id: ID,
}

impl ConversationChanged {
    pub fn new(conversation: model::Conversation) -> Self {
        Self {
            conversation: Conversation(conversation),
        }
    }
}

impl ConversationDeleted {
    pub fn new(id: ConversationId) -> Self {
        Self {
            deleted_conversation_id: ids::encode(id),
        }
    }
}

impl From<chat::ConversationEvent> for ConversationEvent {
    fn from(event: chat::ConversationEvent) -> Self {
        match event {
            chat::ConversationEvent::Snapshot(conversation) => {
                Self::Snapshot(ConversationSnapshot {
                    conversation: Conversation(conversation),
                })
            }
            chat::ConversationEvent::Added(message) => Self::Added(MessageAdded {
                message_edge: MessageEdge::new(message),
            }),
            chat::ConversationEvent::MessageChanged(message) => {
                Self::MessageChanged(MessageChanged::new(message))
            }
            chat::ConversationEvent::Delta {
                message_id,
                offset,
                text,
            } => Self::Delta(MessageDelta::new(message_id, offset, text)),
            chat::ConversationEvent::Finished(message) => {
                Self::Finished(MessageFinished::new(message))
            }
            chat::ConversationEvent::Changed(conversation) => {
                Self::Changed(ConversationChanged::new(conversation))
            }
            chat::ConversationEvent::Deleted(id) => Self::Deleted(ConversationDeleted::new(id)),
        }
    }
}
