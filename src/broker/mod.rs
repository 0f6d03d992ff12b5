//! The fast path between processes: what has changed, and what was written.
//!
//! Invariant: nothing depends on a notice arriving. PostgreSQL is the authority; a notice makes
//! its receivers look sooner, or gives them text that PostgreSQL will hold a tick later. So a
//! notice may be lost, repeated or late, and publishing never waits and never fails. This folder
//! must not know who follows what, or why.

mod memory;
mod redis;

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

pub use memory::{Member, Memory};
pub use redis::{KEPT_FOR, NodeError, Redis, examine};
use serde::{Deserialize, Serialize};

use crate::model::{ConversationId, MessageId, UserId};

/// Carries notices to every other process that follows their topic.
pub trait Broker: Send + Sync + 'static {
    /// Where arriving notices go from now on.
    fn deliver_to(&self, receiver: Weak<dyn Receiver>);

    /// Never waits: a notice that cannot be sent is dropped.
    fn publish(&self, notice: Notice);

    /// Notices about this user arrive until each `follow` has had its `unfollow`. Those of
    /// [`Topic::Runs`] always do.
    fn follow(&self, user_id: UserId);

    fn unfollow(&self, user_id: UserId);
}

/// Takes notices as they arrive. All calls return at once, so that no notice has to queue.
pub trait Receiver: Send + Sync {
    fn receive(&self, notice: Notice);

    /// Notices may have been lost: whatever is followed is looked at again.
    fn look_again(&self);

    /// The same of what is followed of this user alone: following them has only now taken effect.
    fn look_again_at(&self, user_id: UserId);
}

/// Who hears of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Every process.
    Runs,
    /// The processes that serve a subscriber of this user.
    User(UserId),
}

/// What one process tells the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// A run waits for a process that has room for it.
    Waiting,
    /// The user wants this reply stopped.
    Stop {
        user_id: UserId,
        message_id: MessageId,
    },
    /// Something in this conversation, or in its user's list of them, has changed.
    Changed {
        user_id: UserId,
        conversation_id: ConversationId,
    },
    /// Text of a running reply.
    Delta(ReplyDelta),
}

/// Text of one attempt, and where it goes, in UTF-16 code units. A later attempt has a higher number
/// and begins at offset 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyDelta {
    pub user_id: UserId,
    pub message_id: MessageId,
    pub attempt: i32,
    pub offset: u32,
    pub text: String,
}

impl Notice {
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Waiting | Self::Stop { .. } => Topic::Runs,
            Self::Changed { user_id, .. } | Self::Delta(ReplyDelta { user_id, .. }) => {
                Topic::User(*user_id)
            }
        }
    }
}

/// A panic elsewhere leaves what is behind these locks whole: each change is one call.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
