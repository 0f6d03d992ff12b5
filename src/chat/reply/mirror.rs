//! A reply that another process writes, as this one knows it: one log, for however many subscribers.
//!
//! Notices of the broker bring its text at the pace of writing. Nothing depends on their arriving:
//! what is missing is loaded from PostgreSQL, as soon as a gap shows, and whenever the quiet check
//! ([`super::progress`]) finds PostgreSQL ahead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, Weak},
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Engine,
    assembly::Assembly,
    log::{Delta, LogPhase, LogReader, ReplyLog},
};
use crate::{
    broker::ReplyDelta,
    chat::lock,
    db::{DbError, ReplyProgress, RunKey, Viewer, WrittenReply},
    model::{ConversationId, MessageStatus, UserId},
};

/// The mirrors of this process. None outlives its readers.
#[derive(Default)]
pub struct Mirrors {
    by_key: Mutex<HashMap<RunKey, Weak<Mirror>>>,
}

/// Kept alive by its readers.
pub struct Mirror {
    engine: Arc<Engine>,
    key: RunKey,
    /// One of its readers', for loading what no notice has brought.
    viewer: Viewer,
    conversation_id: OnceLock<ConversationId>,
    log: ReplyLog,
    assembly: Mutex<Assembly>,
    /// Asks for a load; its last word is that there is no mirror any more.
    wanted: Arc<Notify>,
}

impl Mirrors {
    pub fn find(&self, key: &RunKey) -> Option<Arc<Mirror>> {
        lock(&self.by_key).get(key)?.upgrade()
    }

    pub fn all(&self) -> Vec<Arc<Mirror>> {
        lock(&self.by_key)
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn of(&self, user_id: UserId) -> Vec<Arc<Mirror>> {
        lock(&self.by_key)
            .iter()
            .filter(|(key, _)| key.user_id == user_id)
            .filter_map(|(_, mirror)| mirror.upgrade())
            .collect()
    }

    fn remove(&self, mirror: *const Mirror, key: &RunKey) {
        let mut by_key = lock(&self.by_key);
        if by_key
            .get(key)
            .is_some_and(|current| std::ptr::eq(current.as_ptr(), mirror))
        {
            by_key.remove(key);
        }
    }
}

impl Engine {
    /// The mirror of a reply that is not written here.
    pub(super) fn mirror(self: &Arc<Self>, viewer: &Viewer, key: RunKey) -> Arc<Mirror> {
        let mirror = {
            let mut by_key = lock(&self.mirrors.by_key);
            if let Some(mirror) = by_key.get(&key).and_then(Weak::upgrade) {
                return mirror;
            }
            let mirror = Arc::new(Mirror {
                engine: Arc::clone(self),
                key,
                viewer: viewer.clone(),
                conversation_id: OnceLock::new(),
                log: ReplyLog::unread(),
                assembly: Mutex::default(),
                wanted: Arc::default(),
            });
            by_key.insert(key, Arc::downgrade(&mirror));
            mirror
        };
        // Notices first: what was written before the load that follows stands in PostgreSQL.
        self.broker.follow(key.user_id);
        self.lifecycle.spawn(keep(Arc::downgrade(&mirror)));
        mirror.want();
        mirror
    }

    /// The reply is written here now: its readers turn to its own log.
    pub(super) fn end_mirror(&self, key: &RunKey) {
        if let Some(mirror) = self.mirrors.find(key) {
            mirror.end(LogPhase::Lost);
        }
    }

    /// Another process has written this.
    pub(super) fn hear(&self, heard: ReplyDelta) {
        let key = RunKey {
            user_id: heard.user_id,
            message_id: heard.message_id,
        };
        if let Some(mirror) = self.mirrors.find(&key) {
            mirror.hear(heard);
        }
    }

    /// Something may have changed that nobody has said.
    pub(super) fn check_mirrors_of(&self, user_id: UserId) {
        for mirror in self.mirrors.of(user_id) {
            mirror.want();
        }
    }

    /// Something has changed in this conversation.
    pub(super) fn check_mirrors(&self, user_id: UserId, conversation_id: ConversationId) {
        for mirror in self.mirrors.of(user_id) {
            let known = mirror.conversation_id.get();
            if known.is_none_or(|id| *id == conversation_id) {
                mirror.want();
            }
        }
    }
}

impl Mirror {
    pub fn key(&self) -> RunKey {
        self.key
    }

    pub fn read(&self) -> LogReader {
        self.log.read()
    }

    /// What its readers have read, or are about to.
    pub fn text(&self) -> Option<String> {
        self.log.readable()
    }

    /// How PostgreSQL sees the reply, `None`: not at all.
    pub fn compare(&self, progress: Option<&ReplyProgress>) {
        let is_behind = progress.is_none_or(|progress| {
            let attempt = lock(&self.assembly).attempt();
            progress.status.is_terminal()
                || progress.attempt > attempt
                || progress.attempt == attempt && progress.length > i64::from(self.log.length())
                || progress.status == MessageStatus::Streaming
                    && self.log.phase() == LogPhase::Pending
        });
        if is_behind {
            self.want();
        }
    }

    fn want(&self) {
        self.wanted.notify_one();
    }

    fn hear(&self, heard: ReplyDelta) {
        let mut assembly = lock(&self.assembly);
        if self.log.phase().is_end() || heard.attempt < assembly.attempt() {
            return;
        }
        let had_gap = assembly.has_gap();
        // Whoever publishes text has begun to write.
        self.log.enter(LogPhase::Streaming);
        let delta = Delta {
            offset: heard.offset,
            text: heard.text,
        };
        assembly.add(&self.log, heard.attempt, &delta);
        if assembly.has_gap() && !had_gap {
            self.want();
        }
    }

    /// Whoever comes from now on asks anew where the reply is written.
    fn end(&self, phase: LogPhase) {
        self.engine.mirrors.remove(self, &self.key);
        let _no_other_end = lock(&self.assembly);
        if !self.log.phase().is_end() {
            self.log.enter(phase);
        }
    }

    /// Catches up with PostgreSQL. Whether text is still missing.
    async fn load(&self) -> Result<bool, DbError> {
        let (attempt, length) = {
            let assembly = lock(&self.assembly);
            (assembly.attempt(), self.log.length())
        };
        let mut tx = self.engine.database.viewer_tx(&self.viewer).await?;
        let written = tx
            .written_reply(self.key.message_id, attempt, length)
            .await?;
        // Without a run it has ended, or never was.
        let message = match written {
            Some(_) => None,
            None => tx.message(self.key.message_id).await?,
        };
        tx.commit().await?;
        let mut assembly = lock(&self.assembly);
        if self.log.phase().is_end() {
            return Ok(false);
        }
        if let Some(written) = written {
            self.take(&mut assembly, written);
            return Ok(assembly.has_gap());
        }
        if let Some(message) = &message {
            if !message.status.is_terminal() {
                return Ok(true);
            }
            assembly.end(&self.log, &message.content);
        }
        drop(assembly);
        self.end(LogPhase::Finished);
        Ok(false)
    }

    fn take(&self, assembly: &mut Assembly, written: WrittenReply) {
        self.conversation_id.get_or_init(|| written.conversation_id);
        let delta = Delta {
            offset: written.offset,
            text: written.text,
        };
        assembly.add(&self.log, written.attempt, &delta);
        if written.status == MessageStatus::Streaming {
            self.log.enter(LogPhase::Streaming);
        }
        self.log.let_read();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.engine.mirrors.remove(self, &self.key);
        self.engine.broker.unfollow(self.key.user_id);
        self.wanted.notify_one();
    }
}

/// Loads what a mirror lacks, for as long as there is one.
async fn keep(mirror: Weak<Mirror>) {
    let Some((wanted, hard_stop, timing)) = mirror.upgrade().map(|mirror| {
        let engine = &mirror.engine;
        (
            Arc::clone(&mirror.wanted),
            engine.lifecycle.hard_stop().clone(),
            engine.timing,
        )
    }) else {
        return;
    };
    let mut failed = false;
    loop {
        tokio::select! {
            () = wanted.notified() => {}
            () = hard_stop.cancelled() => return,
        }
        let pause = {
            let Some(mirror) = mirror.upgrade() else {
                return;
            };
            match timeout(timing.lease, mirror.load()).await {
                // What is missing was written within the last tick.
                Ok(Ok(true)) => Some(timing.tick),
                Ok(Ok(false)) if mirror.log.phase().is_end() => return,
                Ok(Ok(false)) => None,
                // Waited out; and it is the quiet check that tells of an outage, once for all.
                Ok(Err(error)) if error.is_unavailable() => Some(timing.progress),
                Err(_) => Some(timing.progress),
                Ok(Err(error)) => {
                    if !failed {
                        failed = true;
                        tracing::error!(
                            message.id = %mirror.key.message_id,
                            error = &error as &dyn std::error::Error,
                            "a reply of another process could not be followed"
                        );
                    }
                    Some(timing.progress)
                }
            }
        };
        if let Some(pause) = pause {
            tokio::select! {
                () = sleep(pause) => wanted.notify_one(),
                () = hard_stop.cancelled() => return,
            }
        }
    }
}
