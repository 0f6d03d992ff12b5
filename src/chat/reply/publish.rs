//! What the runs of this process have written, told to the others.

use std::{collections::HashMap, sync::Arc};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    Engine,
    log::{LogPhase, Position},
    registry::Run,
};
use crate::{
    broker::{Notice, ReplyDelta},
    db::RunKey,
};

/// How far each run has been published. Another attempt of the same reply has another fence.
type Published = HashMap<RunKey, (i64, Position)>;

impl Engine {
    /// Ends with the hard stop. What was not published by then, others find in PostgreSQL.
    pub(super) async fn publish_on(self: Arc<Self>) {
        let mut clock = interval(self.timing.publication);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut published = Published::new();
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.lifecycle.hard_stop().cancelled() => return,
            }
            let mut before = std::mem::take(&mut published);
            for run in self.registry.all() {
                if run.log.phase().is_end() {
                    continue;
                }
                // Whoever followed it while another process wrote it reads it here from now on.
                self.end_mirror(&run.key);
                let so_far = before
                    .remove(&run.key)
                    .filter(|(fence, _)| *fence == run.fence)
                    .map(|(_, position)| position);
                if let Some(end) = self.publish_news(&run, so_far) {
                    published.insert(run.key, (run.fence, end));
                }
            }
        }
    }

    /// Publishes what is new since the last time, and where it ends. The first is published even
    /// without text, so that others leave the text of the attempt before.
    fn publish_news(&self, run: &Run, so_far: Option<Position>) -> Option<Position> {
        if run.log.phase() != LogPhase::Streaming {
            return so_far;
        }
        let (delta, end) = run.log.since(so_far.unwrap_or_default());
        if so_far.is_some() && delta.text.is_empty() {
            return so_far;
        }
        // Right before: nothing is published over a successor's text.
        if run.lost.is_cancelled() || !run.holds_lease() {
            return so_far;
        }
        self.broker.publish(Notice::Delta(ReplyDelta {
            user_id: run.key.user_id,
            message_id: run.key.message_id,
            attempt: run.attempt,
            offset: delta.offset,
            text: delta.text,
        }));
        Some(end)
    }
}
