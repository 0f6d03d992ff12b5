use async_graphql::{ID, SimpleObject, Union};

use crate::{
    chat::FollowEvent,
    graphql::{ids, types::Message},
    model::{self, MessageId},
};

/// What happens to one message. More members may come: ignore those that you do not know.
#[derive(Union)]
pub enum MessageStreamEvent {
    Changed(MessageChanged),
    Delta(MessageDelta),
    Finished(MessageFinished),
}

/// New text. The rule for every client, with a text that belongs to this subscription and starts
/// empty: `content = content.slice(0, offset) + text`. A reply that is begun anew sends offset 0
/// again.
#[derive(SimpleObject)]
pub struct MessageDelta {
    message_id: ID,
    /// Where `text` goes in the message's content, in UTF-16 code units (a JavaScript string
    /// index). No delta splits a code point.
    offset: i32,
    text: String,
}

/// The message has ended. Its content is the truth, whatever the deltas said.
#[derive(SimpleObject)]
pub struct MessageFinished {
    message: Message,
}

/// The message's status or its feedback has changed. In `conversationEvents` it may be one that is not
/// on the active path, such as an earlier version: where you hold no message of this id, ignore it.
#[derive(SimpleObject)]
pub struct MessageChanged {
    message: Message,
}

impl MessageDelta {
    pub fn new(message_id: MessageId, offset: u32, text: String) -> Self {
        Self {
            message_id: ids::encode(message_id),
            offset: i32::try_from(offset).unwrap_or(i32::MAX),
            text,
        }
    }
}

impl MessageFinished {
    pub fn new(message: model::Message) -> Self {
        Self {
            message: Message(message),
        }
    }
}

impl MessageChanged {
    pub fn new(message: model::Message) -> Self {
        Self {
            message: Message(message),
        }
    }
}

impl MessageStreamEvent {
    /// An event of the message with this id.
    pub fn of(id: MessageId, event: FollowEvent) -> Self {
        match event {
            FollowEvent::Changed(message) => Self::Changed(MessageChanged::new(message)),
            FollowEvent::Delta { offset, text } => Self::Delta(MessageDelta::new(id, offset, text)),
            FollowEvent::Finished(message) => Self::Finished(MessageFinished::new(message)),
        }
    }
}
