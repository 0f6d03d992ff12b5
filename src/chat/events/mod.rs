//! What happens in one conversation, or in one user's list of them, as it happens.
//!
//! A subscriber has no queue. A hint of the [`hub`] says that there is something new; the follower
//! then reads what has a higher revision than it has seen, all of it as of one moment, and tells
//! that. The text of a running reply comes from its feed, which knows where it is written.
//!
//! Invariants: whatever was committed is told, or shown by a snapshot, sooner or later; what is
//! told once is not told again as new, also when it was committed while the snapshot before it was put
//! together; an outage of PostgreSQL is waited out, since clients do not ask again after an error.

mod conversation;
mod hub;
mod list;

pub use conversation::ConversationEvent;
pub use hub::Hub;
pub use list::ListEvent;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Chat, ChatError};
use crate::db::DbError;

/// How many snapshots may follow each other at once. Where something has happened during each of
/// them, the next ones take their time.
const SNAPSHOTS_AT_ONCE: u32 = 3;

/// Asks until there is an answer. Each question has a task of its own: whoever is slow to take
/// their events must not keep a transaction open.
async fn patiently<T, F>(chat: &Chat, ask: impl Fn() -> F) -> Result<T, ChatError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, DbError>> + Send + 'static,
{
    let mut pause = interval(chat.timing.progress);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        let question = timeout(chat.timing.lease, ask());
        // In a box, since a follower waits for something to ask about most of its life.
        let answer = Box::pin(chat.owned(async { Ok(question.await) })).await?;
        match answer.unwrap_or(Err(DbError::TimedOut)) {
            Err(error) if error.is_unavailable() => {}
            answer => return Ok(answer?),
        }
    }
}

/// Before the next snapshot after so many that were not right for long enough.
async fn pause_after(snapshots: u32, pause: Duration) {
    if snapshots >= SNAPSHOTS_AT_ONCE {
        sleep(pause).await;
    }
}
