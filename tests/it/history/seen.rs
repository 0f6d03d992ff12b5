//! What a device has of what it follows: a reply, a conversation, or its user's list of them.

use serde_json::{Value, json};

use super::world::Chat;
use crate::support::{
    CONVERSATION, CONVERSATION_EVENTS, LiveConversation, LiveList, VIEWER, VIEWER_EVENTS, text,
};

const REPLY_EVENTS: &str = "subscription($id: ID!) { messageStream(messageId: $id) { __typename \
    ... on MessageDelta { offset text } \
    ... on MessageFinished { message { id status content } } } }";

const REPLY: &str = "query($id: ID!) { node(id: $id) { ... on Message { id status content } } }";

#[derive(Clone, Debug)]
pub enum Subject {
    Reply(String),
    Conversation(String),
    List,
}

/// By the contract's rules alone.
#[derive(Debug)]
pub enum Seen {
    /// It is not there, or not any more.
    Gone,
    Reply {
        /// As JavaScript has it.
        written: Vec<u16>,
        /// As it ended.
        finished: Value,
    },
    Conversation(Box<LiveConversation>),
    List(LiveList),
}

impl Subject {
    /// One of what there is; `None`: nothing yet.
    pub fn pick(chats: &[Chat], pick: usize) -> Option<(&'static str, Self)> {
        let chat = &chats[pick % chats.len()];
        Some(match pick / 7 % 5 {
            0 | 1 => (chat.user, Self::Conversation(chat.id.clone())),
            2 => (chat.user, Self::List),
            _ => {
                let replies = chats
                    .iter()
                    .flat_map(|chat| chat.replies.iter().map(|reply| (chat.user, reply)));
                let replies: Vec<_> = replies.collect();
                let (user, reply) = *replies.get(pick % replies.len().max(1))?;
                (user, Self::Reply(reply.clone()))
            }
        })
    }

    pub const fn subscription(&self) -> &'static str {
        match self {
            Self::Reply(_) => REPLY_EVENTS,
            Self::Conversation(_) => CONVERSATION_EVENTS,
            Self::List => VIEWER_EVENTS,
        }
    }

    pub const fn query(&self) -> &'static str {
        match self {
            Self::Reply(_) => REPLY,
            Self::Conversation(_) => CONVERSATION,
            Self::List => VIEWER,
        }
    }

    pub fn variables(&self) -> Value {
        match self {
            Self::Reply(id) | Self::Conversation(id) => json!({ "id": id }),
            Self::List => json!({}),
        }
    }

    /// What an event of the subscription says.
    pub fn event<'e>(&self, event: &'e Value) -> &'e Value {
        let data = &event["data"];
        match self {
            Self::Reply(_) => &data["messageStream"],
            Self::Conversation(_) => &data["conversationEvents"],
            Self::List => &data["viewerEvents"],
        }
    }

    /// What the query's answer says, for [`Seen::as_queried`]. `null`: it is not there.
    pub fn queried(&self, answer: &Value) -> Value {
        let data = &answer["data"];
        match self {
            Self::Reply(_) => data["node"].clone(),
            Self::Conversation(_) if data["viewer"]["conversation"].is_null() => Value::Null,
            Self::Conversation(_) => data.clone(),
            Self::List => json!(LiveList::queried(data)),
        }
    }

    pub fn unseen(&self) -> Seen {
        match self {
            Self::Reply(_) => Seen::Reply {
                written: Vec::new(),
                finished: Value::Null,
            },
            Self::Conversation(_) => Seen::Conversation(Box::default()),
            Self::List => Seen::List(LiveList::default()),
        }
    }
}

impl Seen {
    /// The connection was cut, and there is another.
    pub fn subscribed_again(&mut self) {
        match self {
            Self::Gone => {}
            Self::Reply { written, .. } => written.clear(),
            Self::Conversation(live) => live.subscribed_again(),
            Self::List(live) => live.subscribed_again(),
        }
    }

    /// Whether it is the last event.
    pub fn apply(&mut self, event: &Value) -> bool {
        match self {
            Self::Gone => panic!("nothing follows the end: {event}"),
            Self::Reply { written, finished } => {
                if event["__typename"] == "MessageDelta" {
                    let offset = event["offset"].as_u64().expect("an offset");
                    let offset = usize::try_from(offset).expect("an offset");
                    assert!(offset <= written.len(), "a delta leaves no gap: {event}");
                    written.truncate(offset);
                    written.extend(text(&event["text"]).encode_utf16());
                }
                if event["__typename"] == "MessageFinished" {
                    let content = String::from_utf16(written).expect("whole code points");
                    assert_eq!(
                        event["message"]["content"], content,
                        "by the contract's rule"
                    );
                    *finished = event["message"].clone();
                }
                !finished.is_null()
            }
            Self::Conversation(live) => {
                live.apply(event);
                live.is_deleted
            }
            Self::List(live) => {
                live.apply(event);
                false
            }
        }
    }

    pub fn as_queried(&self) -> Value {
        match self {
            Self::Gone => Value::Null,
            Self::Reply { finished, .. } => finished.clone(),
            Self::Conversation(live) if live.is_deleted => Value::Null,
            Self::Conversation(live) => live.as_queried(),
            Self::List(live) => json!(live.conversations()),
        }
    }
}
