//! Who hears that a transaction has changed a conversation.
//!
//! Every statement that changes one notes it in its transaction, and the end of the commit tells.
//! So whoever adds a mutation cannot forget it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::Database;
use crate::model::{ConversationId, UserId};

type Listener = Box<dyn Fn(UserId, ConversationId) + Send + Sync>;

/// Who listens, if anybody does.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<OnceLock<Listener>>);

/// What one transaction has changed so far. Tells when it is dropped, if a commit has begun: one
/// that fails half-way, or that nobody waits for any more, may have come to pass.
pub(super) struct Changes {
    listeners: Listeners,
    user_id: UserId,
    /// A user who is deleted loses many; all others change one or two.
    conversations: Vec<ConversationId>,
    is_committing: bool,
}

impl Database {
    /// Calls `listener` for every conversation that a transaction of this process has changed, made
    /// or deleted, when that is committed, or may be. It has to return at once. Set once.
    pub fn on_change(&self, listener: impl Fn(UserId, ConversationId) + Send + Sync + 'static) {
        let set = self.listeners.0.set(Box::new(listener));
        assert!(set.is_ok(), "one chat listens to a database");
    }
}

impl Changes {
    pub fn new(listeners: &Listeners, user_id: UserId) -> Self {
        Self {
            listeners: listeners.clone(),
            user_id,
            conversations: Vec::new(),
            is_committing: false,
        }
    }

    pub fn note(&mut self, conversation_id: ConversationId) {
        if !self.conversations.contains(&conversation_id) {
            self.conversations.push(conversation_id);
        }
    }

    /// From now on it may come to pass.
    pub fn begin_commit(&mut self) {
        self.is_committing = true;
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if !self.is_committing {
            return;
        }
        if let Some(listener) = self.listeners.0.get() {
            for id in &self.conversations {
                listener(self.user_id, *id);
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listeners")
            .field(&self.0.get().is_some())
            .finish()
    }
}
