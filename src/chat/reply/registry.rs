//! Which replies this process writes now.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    log::{Position, ReplyLog},
    room::Place,
};
use crate::{
    broker::Notice,
    chat::lock,
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
    pub fence: i64,
    pub attempt: i32,
    pub log: ReplyLog,
    /// Cancelled when the run is no longer this process's to write.
    pub lost: CancellationToken,
    /// Cancelled when its user wants no more of it.
    pub stop: CancellationToken,
    /// Whether its end is being stored: then it is handed over only if that takes too long.
    pub ending: AtomicBool,
    /// Whether its transaction is known to be committed: before that a tick cannot see its row.
    committed: AtomicBool,
    /// Until when it may be published and written, on this process's monotonic clock.
    lease_until: Mutex<Instant>,
    /// How much of the log stands in chunks.
    written: Mutex<Position>,
}

/// Which message a run writes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub position: i32,
}

impl From<&Message> for Target {
    fn from(message: &Message) -> Self {
        Self {
            message_id: message.id,
            conversation_id: message.conversation_id,
            position: message.position,
        }
    }
}

impl Run {
    pub fn new(
        viewer: Viewer,
        target: Target,
        fence: i64,
        attempt: i32,
        lease_until: Instant,
    ) -> Self {
        Self {
            key: RunKey {
                user_id: viewer.user_id(),
                message_id: target.message_id,
            },
            viewer,
            conversation_id: target.conversation_id,
            position: target.position,
            fence,
            attempt,
            log: ReplyLog::default(),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
            ending: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            lease_until: Mutex::new(lease_until),
            written: Mutex::new(Position::default()),
        }
    }

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

    /// An attempt of the same reply that is here still, since nobody has told it that it is lost, is.
    pub fn insert(&self, run: Arc<Run>) {
        let mut runs = lock(&self.runs);
        if let Some(before) = runs.insert(run.key, run) {
            before.lost.cancel();
        }
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
    state: Prepared,
}

enum Prepared {
    /// This process is to carry it out.
    Held(Arc<Run>, Place),
    /// It waits. `for_room`: any process that has some may carry it out.
    Waiting {
        for_room: bool,
    },
    Done,
}

impl PreparedRun {
    pub(super) fn held(engine: Arc<Engine>, run: Run, place: Place) -> Self {
        let run = Arc::new(run);
        engine.registry.insert(Arc::clone(&run));
        Self {
            engine,
            state: Prepared::Held(run, place),
        }
    }

    pub(super) fn waiting(engine: Arc<Engine>, for_room: bool) -> Self {
        Self {
            engine,
            state: Prepared::Waiting { for_room },
        }
    }

    /// The transaction is committed: writes the reply, on a task of its own, or tells whoever may
    /// have room for it.
    pub fn start(mut self) {
        match mem::replace(&mut self.state, Prepared::Done) {
            Prepared::Held(run, place) => self.engine.carry_out(run, place),
            Prepared::Waiting { for_room } => {
                self.engine.room.look_again();
                if for_room {
                    self.engine.broker.publish(Notice::Waiting);
                }
            }
            Prepared::Done => {}
        }
    }
}

impl Drop for PreparedRun {
    fn drop(&mut self) {
        if let Prepared::Held(run, _) = &self.state {
            self.engine.registry.remove(run);
        }
    }
}

impl Engine {
    /// Writes the reply of a run whose row is committed, on a task of its own.
    pub(super) fn carry_out(self: &Arc<Self>, run: Arc<Run>, place: Place) {
        run.committed.store(true, Ordering::Release);
        self.lifecycle
            .spawn(Arc::clone(self).write_reply(run, place.taken()));
    }
}
