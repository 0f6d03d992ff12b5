//! The domain: conversations, messages and the life of a reply.
//!
//! Every rule of the chat lives here, so that recovery and every transport obey the same ones.
//! Invariant: what a call returns as done is committed. This folder must not know GraphQL or SQL.

mod conversations;
mod error;
mod events;
mod idempotency;
mod input;
mod messages;
mod models;
mod prompt;
mod rate;
mod reply;
mod send;
mod start;
mod stop;
mod versions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::ChatError;
pub use events::{ConversationEvent, ListEvent};
pub use input::limits;
pub use models::Models;
pub use rate::RateMessage;
pub use reply::{FollowEvent, Timing};
pub use send::{BusyPolicy, SendMessage, Sent};
pub use start::{StartChat, Started};
pub use versions::{EditMessage, RegenerateReply, Regenerated};

use self::{events::Hub, reply::Replies};
use crate::{
    broker::Broker,
    config::{ChatSettings, ProviderSettings},
    db::Database,
    lifecycle::Lifecycle,
    llm::Provider,
};

/// Everything a signed-in user can do. Clones are handles to the same.
#[derive(Clone)]
pub struct Chat {
    database: Database,
    replies: Replies,
    hub: Arc<Hub>,
    timing: Timing,
    models: Arc<Models>,
    settings: Arc<ChatSettings>,
    lifecycle: Lifecycle,
}

impl Chat {
    /// Starts the tasks that tick, renew and recover replies; they end with the lifecycle.
    pub fn start(
        database: Database,
        provider: Arc<dyn Provider>,
        broker: Arc<dyn Broker>,
        provider_settings: &ProviderSettings,
        settings: ChatSettings,
        timing: Timing,
        lifecycle: Lifecycle,
    ) -> Self {
        let settings = Arc::new(settings);
        let hub = Arc::new(Hub::new(Arc::clone(&broker)));
        let checks = Arc::clone(&hub).check_on(
            database.clone(),
            timing.progress,
            timing.lease,
            lifecycle.clone(),
        );
        lifecycle.spawn(checks);
        let replies = Replies::start(
            database.clone(),
            provider,
            broker,
            Arc::clone(&hub),
            Arc::clone(&settings),
            timing,
            lifecycle.clone(),
        );
        Self {
            database,
            replies,
            hub,
            timing,
            models: Arc::new(Models::new(provider_settings)),
            settings,
            lifecycle,
        }
    }

    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Waits until this process writes no reply.
    pub async fn drained(&self) {
        self.replies.drained().await;
    }

    /// Runs work that must not stop half-way when the client that asked for it hangs up.
    async fn owned<T, F>(&self, work: F) -> Result<T, ChatError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChatError>> + Send + 'static,
    {
        self.lifecycle
            .spawn(work)
            .await
            .unwrap_or(Err(ChatError::Panicked))
    }
}

/// A panic elsewhere leaves what is behind these locks whole: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
