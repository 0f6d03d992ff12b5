//! Which replies this process writes now.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    log::{Position, ReplyLog},
};
use crate::{
    db::{RunKey, Viewer},
    model::{ConversationId, Message, MessageId},
};

/// One reply that this process writes.
pub struct Run {
    pub key: RunKey,
    pub viewer: Viewer,
    pub conversation_id: ConversationId,
    /// Its place on the path: it answers what comes before.
    pub position: i32,
    pub model: String,
    pub fence: i64,
    pub attempt: i32,
    pub log: ReplyLog,
    /// Cancelled when the run is no longer this process's to write.
    pub lost: CancellationToken,
    /// Cancelled when its user wants no more of it.
    pub stop: CancellationToken,
    /// Whether its transaction is known to be committed: before that a tick cannot see its row.
    committed: AtomicBool,
    /// Until when it may be published and written, on this process's monotonic clock.
    lease_until: Mutex<Instant>,
    /// How much of the log stands in chunks.
    written: Mutex<Position>,
}

impl Run {
    pub fn holds_lease(&self) -> bool {
        Instant::now() < *lock(&self.lease_until)
    }

    pub fn lease_until(&self) -> Instant {
        *lock(&self.lease_until)
    }

    pub fn extend_lease(&self, until: Instant) {
        let mut lease = lock(&self.lease_until);
        *lease = until.max(*lease);
    }

    pub fn written(&self) -> Position {
        *lock(&self.written)
    }

    pub fn set_written(&self, position: Position) {
        *lock(&self.written) = position;
    }

    pub fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    pub fn message_id(&self) -> MessageId {
        self.key.message_id
    }
}

#[derive(Default)]
pub struct Registry {
    runs: Mutex<HashMap<RunKey, Arc<Run>>>,
    /// How many there are, for whoever waits for none.
    count: watch::Sender<usize>,
}

impl Registry {
    pub fn find(&self, key: &RunKey) -> Option<Arc<Run>> {
        lock(&self.runs).get(key).cloned()
    }

    /// In key order.
    pub fn all(&self) -> Vec<Arc<Run>> {
        let mut runs: Vec<_> = lock(&self.runs).values().cloned().collect();
        runs.sort_unstable_by_key(|run| run.key);
        runs
    }

    pub async fn empty(&self) {
        // The sender lives as long as the registry, so waiting cannot fail.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn insert(&self, run: Arc<Run>) {
        let mut runs = lock(&self.runs);
        runs.insert(run.key, run);
        self.count.send_replace(runs.len());
    }

    pub fn remove(&self, run: &Arc<Run>) {
        let mut runs = lock(&self.runs);
        if runs
            .get(&run.key)
            .is_some_and(|current| Arc::ptr_eq(current, run))
        {
            runs.remove(&run.key);
        }
        self.count.send_replace(runs.len());
    }
}

/// A run within the transaction that makes it.
pub struct PreparedRun {
    engine: Arc<Engine>,
    run: Option<Arc<Run>>,
}

impl PreparedRun {
    pub(super) fn new(
        engine: Arc<Engine>,
        viewer: Viewer,
        reply: &Message,
        fence: i64,
        lease_until: Instant,
    ) -> Self {
        let run = Arc::new(Run {
            key: RunKey {
                user_id: viewer.user_id(),
                message_id: reply.id,
            },
            viewer,
            conversation_id: reply.conversation_id,
            position: reply.position,
            model: reply.model.clone().unwrap_or_default(),
            fence,
            attempt: 1,
            log: ReplyLog::default(),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
            committed: AtomicBool::new(false),
            lease_until: Mutex::new(lease_until),
            written: Mutex::new(Position::default()),
        });
        engine.registry.insert(Arc::clone(&run));
        Self {
            engine,
            run: Some(run),
        }
    }

    /// The transaction is committed: writes the reply, on a task of its own.
    pub fn start(mut self) {
        if let Some(run) = self.run.take() {
            run.committed.store(true, Ordering::Release);
            let engine = Arc::clone(&self.engine);
            self.engine.lifecycle.spawn(engine.write_reply(run));
        }
    }
}

impl Drop for PreparedRun {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.engine.registry.remove(&run);
        }
    }
}

/// A panic elsewhere leaves these maps whole: each is changed by one call.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
