//! A client's view of a conversation and of a list of them, kept by the contract's rules alone: it
//! is given events, and knows nothing of connections, replicas or time.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::text;

/// Everything that [`LiveConversation`] keeps, of the conversation `$id`.
pub const CONVERSATION_EVENTS: &str = "subscription($id: ID!) { \
    conversationEvents(conversationId: $id) { __typename \
      ... on ConversationSnapshot { conversation { ...C messages(last: 100) { nodes { ...M } } } } \
      ... on MessageAdded { messageEdge { cursor node { ...M } } } \
      ... on MessageChanged { message { ...M } } \
      ... on MessageDelta { messageId offset text } \
      ... on MessageFinished { message { ...M } } \
      ... on ConversationChanged { conversation { ...C } } \
      ... on ConversationDeleted { deletedConversationId } } } \
    fragment C on Conversation { id title archived pinned model updatedAt lastActiveAt \
      activeReply { id } lastMessage { id } } \
    fragment M on Message { id role status content versionNumber error { code } \
      feedback { rating comment } completedAt }";

/// The same things of the conversation `$id`, from a query.
pub const CONVERSATION: &str = "query($id: ID!) { viewer { conversation(id: $id) { \
      ...C messages(last: 100) { nodes { ...M } } } } } \
    fragment C on Conversation { id title archived pinned model updatedAt lastActiveAt \
      activeReply { id } lastMessage { id } } \
    fragment M on Message { id role status content versionNumber error { code } \
      feedback { rating comment } completedAt }";

/// Everything that [`LiveList`] keeps.
pub const VIEWER_EVENTS: &str = "subscription { viewerEvents { __typename \
      ... on ViewerSnapshot { viewer { conversations(first: 100) { nodes { ...C } } } } \
      ... on ConversationAdded { conversationEdge { cursor node { ...C } } } \
      ... on ConversationChanged { conversation { ...C } } \
      ... on ConversationDeleted { deletedConversationId } } } \
    fragment C on Conversation { id title archived pinned model updatedAt lastActiveAt \
      activeReply { id } lastMessage { id } }";

/// The same things from a query.
pub const VIEWER: &str = "{ viewer { conversations(first: 100) { nodes { ...C } } } } \
    fragment C on Conversation { id title archived pinned model updatedAt lastActiveAt \
      activeReply { id } lastMessage { id } }";

/// What a front end keeps of one conversation, if it has at most 100 messages.
#[derive(Clone, Debug, Default)]
pub struct LiveConversation {
    /// Without its messages.
    pub conversation: Value,
    /// The active path.
    pub messages: Vec<Value>,
    pub is_deleted: bool,
    /// The texts of this subscription, by message, as JavaScript has them.
    texts: HashMap<String, Vec<u16>>,
    has_begun: bool,
}

impl LiveConversation {
    /// The connection was cut, and the library has subscribed again.
    pub fn subscribed_again(&mut self) {
        self.texts.clear();
        self.has_begun = false;
    }

    /// # Panics
    ///
    /// When the event breaks a rule of the contract.
    pub fn apply(&mut self, event: &Value) {
        assert!(!self.is_deleted, "nothing follows the end: {event}");
        let kind = event["__typename"].as_str().expect("a type");
        assert!(
            self.has_begun || kind == "ConversationSnapshot",
            "the snapshot is first: {event}"
        );
        self.has_begun = true;
        match kind {
            "ConversationSnapshot" => {
                let mut conversation = event["conversation"].clone();
                self.messages = match conversation["messages"]["nodes"].take() {
                    Value::Array(nodes) => nodes,
                    other => panic!("{other} are no messages"),
                };
                conversation
                    .as_object_mut()
                    .expect("an object")
                    .remove("messages");
                self.conversation = conversation;
            }
            "MessageAdded" => {
                let message = event["messageEdge"]["node"].clone();
                assert!(self.place(&message["id"]).is_none(), "twice: {event}");
                self.messages.push(message);
            }
            "MessageChanged" => self.replace(&event["message"]),
            "MessageDelta" => self.write(event),
            "MessageFinished" => {
                let message = &event["message"];
                let written = self.texts.get(message["id"].as_str().expect("an id"));
                if let Some(written) = written {
                    let content = String::from_utf16(written).expect("whole code points");
                    assert_eq!(message["content"], content, "by the contract's rule");
                }
                self.replace(message);
            }
            "ConversationChanged" => self.conversation = event["conversation"].clone(),
            "ConversationDeleted" => self.is_deleted = true,
            other => panic!("{other} is unknown"),
        }
    }

    /// What `CONVERSATION` answers, where nothing is being written any more.
    pub fn as_queried(&self) -> Value {
        let mut conversation = self.conversation.clone();
        conversation["messages"] = json!({ "nodes": self.messages });
        json!({ "viewer": { "conversation": conversation } })
    }

    /// A message as a front end shows it: of one that is being written, what has come of its text.
    pub fn content(&self, id: &str) -> Option<String> {
        let message = self.messages.iter().find(|message| message["id"] == id)?;
        match self.texts.get(id) {
            Some(written) if message["completedAt"].is_null() => {
                Some(String::from_utf16(written).expect("no delta splits a code point"))
            }
            _ => Some(text(&message["content"])),
        }
    }

    /// Whether a reply waits or is being written.
    pub fn is_busy(&self) -> bool {
        let is_unfinished = |message: &Value| message["completedAt"].is_null();
        self.messages.iter().any(is_unfinished) || !self.conversation["activeReply"].is_null()
    }

    fn write(&mut self, delta: &Value) {
        let place = self.place(&delta["messageId"]);
        assert!(place.is_some(), "of an unknown message: {delta}");
        let written = self.texts.entry(text(&delta["messageId"])).or_default();
        let offset = delta["offset"].as_u64().expect("an offset");
        let offset = usize::try_from(offset).expect("an offset");
        assert!(offset <= written.len(), "a gap: {delta}");
        written.truncate(offset);
        written.extend(delta["text"].as_str().expect("a text").encode_utf16());
    }

    /// A message that is not on the active path is none of this view's.
    fn replace(&mut self, message: &Value) {
        if let Some(place) = self.place(&message["id"]) {
            self.messages[place] = message.clone();
        }
    }

    fn place(&self, id: &Value) -> Option<usize> {
        self.messages
            .iter()
            .position(|message| message["id"] == *id)
    }
}

/// What a front end keeps of its list, if it has at most 100 conversations.
#[derive(Clone, Debug, Default)]
pub struct LiveList {
    conversations: Vec<Value>,
    has_begun: bool,
}

impl LiveList {
    pub fn subscribed_again(&mut self) {
        self.has_begun = false;
    }

    /// # Panics
    ///
    /// When the event breaks a rule of the contract.
    pub fn apply(&mut self, event: &Value) {
        let kind = event["__typename"].as_str().expect("a type");
        assert!(
            self.has_begun || kind == "ViewerSnapshot",
            "the snapshot is first: {event}"
        );
        self.has_begun = true;
        match kind {
            "ViewerSnapshot" => {
                let nodes = &event["viewer"]["conversations"]["nodes"];
                self.conversations = nodes.as_array().expect("conversations").clone();
            }
            "ConversationAdded" => {
                let conversation = event["conversationEdge"]["node"].clone();
                assert!(self.place(&conversation["id"]).is_none(), "twice: {event}");
                self.conversations.push(conversation);
            }
            "ConversationChanged" => {
                let place = self.place(&event["conversation"]["id"]);
                let place = place.unwrap_or_else(|| panic!("unknown: {event}"));
                self.conversations[place] = event["conversation"].clone();
            }
            "ConversationDeleted" => {
                // It may have come and gone between two looks.
                let id = &event["deletedConversationId"];
                self.conversations.retain(|it| it["id"] != *id);
            }
            other => panic!("{other} is unknown"),
        }
    }

    /// By their ids; the order of a list is its members' times.
    pub fn conversations(&self) -> BTreeMap<String, Value> {
        by_id(&self.conversations)
    }

    /// The same of what `VIEWER` answers.
    pub fn queried(answer: &Value) -> BTreeMap<String, Value> {
        let nodes = &answer["viewer"]["conversations"]["nodes"];
        by_id(nodes.as_array().expect("conversations"))
    }

    fn place(&self, id: &Value) -> Option<usize> {
        self.conversations.iter().position(|it| it["id"] == *id)
    }
}

fn by_id(conversations: &[Value]) -> BTreeMap<String, Value> {
    conversations
        .iter()
        .map(|it| (text(&it["id"]), it.clone()))
        .collect()
}
