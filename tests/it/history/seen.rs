//! What a device has of what it follows: a reply, a conversation, or its user's list of them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::world::Chat;
use crate::support::text;

#[derive(Clone, Debug)]
pub enum Subject {
    Reply(String),
    Conversation(String),
    Viewer,
}

/// The same of a subscription and of a query, if both are right.
#[derive(Debug, Default)]
pub struct Seen {
    is_gone: bool,
    /// The messages in their order, or the one.
    messages: Vec<Message>,
    /// Title by id.
    conversations: BTreeMap<String, Value>,
    /// What deltas have written in this subscription, which begin with nothing.
    written: HashMap<String, Vec<u16>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    id: String,
    status: String,
    content: String,
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.is_gone == other.is_gone
            && self.messages == other.messages
            && self.conversations == other.conversations
    }
}

impl Subject {
    /// One of what there is; `None`: nothing yet.
    pub fn pick(chats: &[Chat], pick: usize) -> Option<(&'static str, Self)> {
        let chat = &chats[pick % chats.len()];
        let kinds = if loquat::graphql::sdl().contains("conversationEvents") {
            4
        } else {
            1
        };
        Some(match 3 - pick / 7 % kinds {
            0 => (chat.user, Self::Conversation(chat.id.clone())),
            1 => (chat.user, Self::Viewer),
            _ => {
                let replies: Vec<_> = chats
                    .iter()
                    .flat_map(|chat| chat.replies.iter().map(|reply| (chat.user, reply)))
                    .collect();
                // The last are those that most likely still run.
                let (user, reply) = replies.iter().rev().nth(pick % replies.len().max(1))?;
                (user, Self::Reply((*reply).clone()))
            }
        })
    }

    pub fn document(&self) -> &'static str {
        match self {
            Self::Reply(_) => {
                "subscription($id: ID!) { events: messageStream(messageId: $id) { __typename \
                 ... on MessageChanged { message { id status } } \
                 ... on MessageDelta { messageId offset text } \
                 ... on MessageFinished { message { id status content } } } }"
            }
            Self::Conversation(_) => {
                "subscription($id: ID!) { events: conversationEvents(conversationId: $id) { __typename \
                 ... on ConversationSnapshot { conversation { messages(last: 100) { nodes { id status content } } } } \
                 ... on MessageAdded { messageEdge { node { id status content } } } \
                 ... on MessageChanged { message { id status } } \
                 ... on MessageDelta { messageId offset text } \
                 ... on MessageFinished { message { id status content } } \
                 ... on ConversationDeleted { deletedConversationId } } }"
            }
            Self::Viewer => {
                "subscription { events: viewerEvents { __typename \
                 ... on ViewerSnapshot { viewer { conversations(first: 100) { nodes { id title } } } } \
                 ... on ConversationAdded { conversationEdge { node { id title } } } \
                 ... on ConversationChanged { conversation { id title } } \
                 ... on ConversationDeleted { deletedConversationId } } }"
            }
        }
    }

    pub fn event<'e>(&self, answer: &'e Value) -> &'e Value {
        &answer["data"]["events"]
    }

    pub fn query(&self) -> &'static str {
        match self {
            Self::Reply(_) => {
                "query($id: ID!) { node(id: $id) { ... on Message { id status content } } }"
            }
            Self::Conversation(_) => {
                "query($id: ID!) { viewer { conversation(id: $id) { \
                 messages(last: 100) { nodes { id status content } } } } }"
            }
            Self::Viewer => "{ viewer { conversations(first: 100) { nodes { id title } } } }",
        }
    }

    pub fn stored(&self, answer: &Value) -> Seen {
        let data = &answer["data"];
        match self {
            Self::Reply(_) if data["node"].is_null() => Seen::gone(),
            Self::Reply(_) => Seen {
                messages: vec![Message::of(&data["node"])],
                ..Seen::default()
            },
            Self::Conversation(_) if data["viewer"]["conversation"].is_null() => Seen::gone(),
            Self::Conversation(_) => Seen {
                messages: messages(&data["viewer"]["conversation"]),
                ..Seen::default()
            },
            Self::Viewer => Seen {
                conversations: conversations(&data["viewer"]),
                ..Seen::default()
            },
        }
    }
}

impl Seen {
    pub fn gone() -> Self {
        Self {
            is_gone: true,
            ..Self::default()
        }
    }

    /// A new connection: what was seen stays, until it is told anew.
    pub fn begin(&mut self) {
        self.written.clear();
    }

    pub fn take(&mut self, subject: &Subject, event: &Value) {
        match event["__typename"].as_str().expect("a type") {
            "ConversationSnapshot" => self.messages = messages(&event["conversation"]),
            "MessageAdded" => {
                let new = Message::of(&event["messageEdge"]["node"]);
                let is_known = self.messages.iter().any(|known| known.id == new.id);
                assert!(!is_known, "added twice: {event}");
                self.messages.push(new);
            }
            "MessageChanged" => {
                let (id, status) = (
                    text(&event["message"]["id"]),
                    text(&event["message"]["status"]),
                );
                match self.message(&id) {
                    Some(known) => known.status = status,
                    None => self.messages.push(Message {
                        id,
                        status,
                        content: String::new(),
                    }),
                }
            }
            "MessageDelta" => self.write(event),
            "MessageFinished" => {
                let finished = Message::of(&event["message"]);
                if let (Subject::Reply(id), Some(known)) = (subject, self.messages.first()) {
                    assert_eq!(
                        finished.content, known.content,
                        "{id}, by the contract's rule"
                    );
                }
                if let Some(known) = self.message(&finished.id) {
                    *known = finished;
                }
            }
            "ViewerSnapshot" => self.conversations = conversations(&event["viewer"]),
            "ConversationAdded" => {
                let node = &event["conversationEdge"]["node"];
                let before = self
                    .conversations
                    .insert(text(&node["id"]), node["title"].clone());
                assert_eq!(before, None, "added twice: {event}");
            }
            // Of a conversation that is followed, whose list of messages says the rest.
            "ConversationChanged" if event["conversation"].is_null() => {}
            "ConversationChanged" => {
                let node = &event["conversation"];
                self.conversations
                    .insert(text(&node["id"]), node["title"].clone());
            }
            "ConversationDeleted" => {
                let id = text(&event["deletedConversationId"]);
                match subject {
                    Subject::Viewer => drop(self.conversations.remove(&id)),
                    _ => *self = Self::gone(),
                }
            }
            other => panic!("unknown: {other}"),
        }
    }

    /// The contract's rule.
    fn write(&mut self, event: &Value) {
        let id = text(&event["messageId"]);
        let offset = event["offset"].as_u64().expect("an offset");
        let offset = usize::try_from(offset).expect("an offset");
        let written = self.written.entry(id.clone()).or_default();
        assert!(offset <= written.len(), "a delta leaves no gap: {event}");
        written.truncate(offset);
        written.extend(text(&event["text"]).encode_utf16());
        let content = String::from_utf16(written).expect("no delta splits a code point");
        if let Some(known) = self.message(&id) {
            known.content = content;
        }
    }

    fn message(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id)
    }
}

impl Message {
    fn of(node: &Value) -> Self {
        Self {
            id: text(&node["id"]),
            status: text(&node["status"]),
            content: text(&node["content"]),
        }
    }
}

fn messages(conversation: &Value) -> Vec<Message> {
    let nodes = conversation["messages"]["nodes"].as_array();
    nodes.expect("messages").iter().map(Message::of).collect()
}

fn conversations(viewer: &Value) -> BTreeMap<String, Value> {
    let nodes = viewer["conversations"]["nodes"].as_array();
    let nodes = nodes.expect("conversations").iter();
    nodes
        .map(|node| (text(&node["id"]), node["title"].clone()))
        .collect()
}
