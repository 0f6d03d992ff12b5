//! The life of a reply.
//!
//! `PENDING → STREAMING → COMPLETED | STOPPED | FAILED`, and no way back. A reply belongs to the process
//! that holds its lease, not to whoever asked for it. Its text lives in one log that every
//! subscriber reads at their own pace ([`log`]), is told to other processes ([`publish`]), which follow
//! it in a log of their own ([`mirror`]), is written down at each tick ([`tick`]), and is
//! folded into its message in one final transaction ([`run`]). A run that waits for room, or whose
//! process is gone, is claimed by whichever process has room ([`claim`]); a process that stops hands
//! its runs over ([`hand_over`]). What its user wants no more of is ended by whoever writes it, or in
//! its place ([`stop`]).
//!
//! Invariants: every write carries the fence of its run, and nothing is published by a process
//! whose own lease has run out on its own clock; the log is never ahead of what a finished message
//! holds; a subscriber has no queue.

mod ask;
mod assembly;
mod claim;
mod feed;
mod follow;
mod hand_over;
mod log;
mod mirror;
mod progress;
mod publish;
mod recover;
mod registry;
mod room;
mod run;
mod shared;
mod stop;
mod tick;
mod title;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub(super) use feed::{FeedEvent, ReplyFeed};
pub use follow::FollowEvent;
pub(super) use log::Delta;
pub use registry::PreparedRun;

use self::{
    mirror::Mirrors,
    registry::{Registry, Run},
    room::Room,
    title::Titles,
};
use super::{ChatError, events::Hub};
use crate::{
    broker::{Broker, Notice, Receiver},
    config::ChatSettings,
    db::{Claims, Database, NewRun, RunKey, StoredRun, Viewer, ViewerTx},
    lifecycle::Lifecycle,
    llm::Provider,
    model::{ConversationId, Message, MessageId, ProcessId, UserId},
};

/// The clocks of the engine. The defaults keep the promise that a reply of a process that crashed
/// is terminal within ten seconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often new text is written down.
    pub tick: Duration,
    /// How long a process may be silent before its runs are taken over.
    pub lease: Duration,
    /// How often leases are renewed.
    pub renewal: Duration,
    /// How often runs are looked for that wait, or whose lease has expired.
    pub recovery: Duration,
    /// How often new text is told to other processes.
    pub publication: Duration,
    /// How often PostgreSQL is asked about replies that other processes write.
    pub progress: Duration,
    /// How long a process is given to end a reply that its user wants stopped, before that is done
    /// in its place.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(200),
            lease: Duration::from_secs(5),
            renewal: Duration::from_secs(1),
            recovery: Duration::from_secs(1),
            publication: Duration::from_millis(40),
            progress: Duration::from_secs(1),
            patience: Duration::from_millis(800),
        }
    }
}

/// How many unfinished replies one user may have.
const MAX_UNFINISHED: u32 = 100;

/// How many processes may be lost over one reply before it is given up.
const MAX_LOSSES: u32 = 3;

/// The replies that this process writes or watches. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Replies {
    engine: Arc<Engine>,
}

struct Engine {
    database: Database,
    provider: Arc<dyn Provider>,
    broker: Arc<dyn Broker>,
    /// Hears of what others have changed.
    hub: Arc<Hub>,
    settings: Arc<ChatSettings>,
    timing: Timing,
    lifecycle: Lifecycle,
    process_id: ProcessId,
    room: Room,
    registry: Registry,
    titles: Titles,
    /// Whether this process stops, and has let go of the runs that it had.
    handed_over: AtomicBool,
    mirrors: Mirrors,
    /// Asks for a quiet check before the next one is due.
    early_check: Notify,
}

impl Replies {
    pub fn start(
        database: Database,
        provider: Arc<dyn Provider>,
        broker: Arc<dyn Broker>,
        hub: Arc<Hub>,
        settings: Arc<ChatSettings>,
        timing: Timing,
        lifecycle: Lifecycle,
    ) -> Self {
        let room = Room::for_runs(settings.runs.most);
        let engine = Arc::new(Engine {
            room,
            database,
            provider,
            broker,
            hub,
            settings,
            timing,
            lifecycle,
            process_id: ProcessId::new(),
            registry: Registry::default(),
            titles: Titles::default(),
            handed_over: AtomicBool::new(false),
            mirrors: Mirrors::default(),
            early_check: Notify::new(),
        });
        let receiver: Arc<dyn Receiver> = engine.clone();
        engine.broker.deliver_to(Arc::downgrade(&receiver));
        let teller = Arc::downgrade(&engine);
        engine.database.on_change(move |user_id, conversation_id| {
            if let Some(engine) = teller.upgrade() {
                engine.tell_of_change(user_id, conversation_id);
            }
        });
        engine.lifecycle.spawn(Arc::clone(&engine).tick_on());
        engine.lifecycle.spawn(Arc::clone(&engine).claim_on());
        engine.lifecycle.spawn(Arc::clone(&engine).watch_on());
        engine.lifecycle.spawn(Arc::clone(&engine).publish_on());
        Self { engine }
    }

    /// Stores the run of a pending reply within the transaction that stores the reply. Where there
    /// is room, this process carries it out, and its log is made known to subscribers before anybody
    /// can learn of it; otherwise it waits. Dropped without a start, as when the commit fails, it
    /// leaves nothing here; a run that was committed all the same is then found by its lease.
    pub async fn prepare(
        &self,
        viewer: &Viewer,
        tx: &mut ViewerTx,
        reply: &Message,
    ) -> Result<PreparedRun, ChatError> {
        let engine = &self.engine;
        let place = match engine.lifecycle.is_draining() {
            true => None,
            false => engine.room.take(),
        };
        let claims = engine.claims();
        // Before the lease is written, so that it runs out here no later than there.
        let lease_until = Instant::now() + claims.lease;
        let stored = tx
            .insert_run(NewRun {
                message_id: reply.id,
                conversation_id: reply.conversation_id,
                position: reply.position,
                process_id: place.is_some().then_some(claims.process_id),
                lease: claims.lease,
                most_at_once: claims.most_at_once,
                most: MAX_UNFINISHED,
            })
            .await?;
        let engine = Arc::clone(engine);
        match (stored, place) {
            (StoredRun::Claimed { fence, attempt }, Some(place)) => {
                let run = Run::new(viewer.clone(), reply.into(), fence, attempt, lease_until);
                Ok(PreparedRun::held(engine, run, place))
            }
            (StoredRun::TooMany, _) => Err(ChatError::TooManyReplies(MAX_UNFINISHED)),
            (_, place) => Ok(PreparedRun::waiting(engine, place.is_none())),
        }
    }

    /// The text of a reply, wherever it is written.
    pub fn read(&self, viewer: &Viewer, message_id: MessageId) -> ReplyFeed {
        let user_id = viewer.user_id();
        let key = RunKey {
            user_id,
            message_id,
        };
        self.engine.read_reply(viewer, key)
    }

    /// Gives unfinished replies that are written or followed here the text that they have by now.
    pub fn fill_in(&self, viewer: &Viewer, messages: &mut [Message]) {
        for message in messages {
            self.engine.fill_in(viewer.user_id(), message);
        }
    }

    pub async fn drained(&self) {
        self.engine.registry.empty().await;
    }
}

impl Receiver for Engine {
    fn receive(&self, notice: Notice) {
        match notice {
            Notice::Changed {
                user_id,
                conversation_id,
            } => self.hear_of_change(user_id, conversation_id),
            Notice::Delta(heard) => self.hear(heard),
            Notice::Waiting => self.room.look_again(),
            Notice::Stop {
                user_id,
                message_id,
            } => self.stop_here(&RunKey {
                user_id,
                message_id,
            }),
        }
    }

    fn look_again(&self) {
        self.hub.look_again();
        self.early_check.notify_one();
    }

    fn look_again_at(&self, user_id: UserId) {
        self.hub.look_again_at(user_id);
        self.check_mirrors_of(user_id);
    }
}

impl Engine {
    /// This process has changed something in a conversation.
    fn tell_of_change(&self, user_id: UserId, conversation_id: ConversationId) {
        self.hear_of_change(user_id, conversation_id);
        self.broker.publish(Notice::Changed {
            user_id,
            conversation_id,
        });
    }

    /// Something in a conversation has changed, here or elsewhere.
    fn hear_of_change(&self, user_id: UserId, conversation_id: ConversationId) {
        self.hub.changed(user_id, conversation_id);
        self.check_mirrors(user_id, conversation_id);
    }

    fn claims(&self) -> Claims {
        Claims {
            process_id: self.process_id,
            lease: self.timing.lease,
            most_at_once: self.settings.runs.most_per_user,
            most_losses: MAX_LOSSES,
        }
    }

    /// The run of a reply that is written here.
    fn run_here(&self, key: &RunKey) -> Option<Arc<Run>> {
        self.registry
            .find(key)
            .filter(|run| !run.log.phase().is_end())
    }

    fn fill_in(&self, user_id: UserId, message: &mut Message) {
        if message.status.is_terminal() {
            return;
        }
        let key = RunKey {
            user_id,
            message_id: message.id,
        };
        if let Some(run) = self.run_here(&key) {
            message.content = run.log.text();
        } else if let Some(text) = self.mirrors.find(&key).and_then(|mirror| mirror.text())
            && text.starts_with(&message.content)
        {
            // What its subscribers here have read, unless PostgreSQL knows more.
            message.content = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_leave_time_for_what_is_promised() {
        let timing = Timing::default();
        assert!(timing.patience < Duration::from_secs(1), "a stop");
        assert!(timing.tick < timing.patience, "an owner hears of it before");
        assert!(timing.renewal + timing.tick < timing.lease);
        assert!(
            timing.lease + timing.recovery < Duration::from_secs(10),
            "a crash"
        );
        assert!(timing.progress < Duration::from_secs(2), "a lost notice");
    }
}
