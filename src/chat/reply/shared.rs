//! One load of a message for everybody who waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::{chat::ChatError, db::DbError, model::Message};

/// A message as its subscribers in this process load it: a crowd that asks at the same moment, as
/// all do at the end of a reply, costs one or two transactions.
#[derive(Debug, Default)]
pub struct SharedMessage {
    /// How many loads have begun.
    begun: AtomicU64,
    /// The newest load that is over, by its number, and what came of it. Held by whoever loads.
    last: Mutex<(u64, Option<Loaded>)>,
}

type Loaded = Result<Message, Failure>;

/// Failures that are the same for everybody.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Missing,
    Unavailable,
}

impl SharedMessage {
    /// What `load` gives, or what the `load` of another has given that began after this call: it
    /// is never older than the call.
    pub async fn load(
        &self,
        load: impl Future<Output = Result<Message, ChatError>>,
    ) -> Result<Message, ChatError> {
        let asked = self.begun.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let (number, Some(loaded)) = &*last
            && *number > asked
        {
            return loaded.clone().map_err(ChatError::from);
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let loaded = load.await;
        *last = (number, shareable(&loaded));
        loaded
    }
}

fn shareable(loaded: &Result<Message, ChatError>) -> Option<Loaded> {
    match loaded {
        Ok(message) => Some(Ok(message.clone())),
        Err(ChatError::NotFound(_)) => Some(Err(Failure::Missing)),
        Err(ChatError::Database(error)) if error.is_unavailable() => {
            Some(Err(Failure::Unavailable))
        }
        Err(_) => None,
    }
}

impl From<Failure> for ChatError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing => Self::NotFound("message"),
            Failure::Unavailable => Self::Database(DbError::TimedOut),
        }
    }
}
