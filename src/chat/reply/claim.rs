//! Runs that wait, and runs whose process is gone: this process carries out as many as it has room
//! for, the oldest first.
//!
//! Whoever knows of such a run says so, and each process looks from time to time anyway, so that
//! nothing depends on having been told.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{
    Engine,
    registry::{Run, Target},
    room::Place,
};
use crate::db::{ClaimedRun, Claims, DbError, Fate, SystemReason, SystemTx};

/// How many runs are claimed at once. While there are more and room for them, the next look follows.
const BATCH: usize = 100;

/// How many runs are looked at, even if there is room for fewer: somebody else may be at work on the
/// first ones.
const LOOKED_AT: usize = 20;

/// How often runs are looked for, each time past the users whose places somebody has locked.
const LOOKS: usize = 5;

/// How soon users are looked at again whose places somebody had locked. If somebody still has, they
/// are left to the next look that is due: whoever has them looks, too.
const CONTESTED: Duration = Duration::from_millis(20);

/// How often that is looked for which is kept for a while after a deletion, and no longer.
const CLEAN_UP: Duration = Duration::from_secs(60 * 60);

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing is left that this process could claim.
    Done,
    /// There may be more.
    Again,
    /// Somebody else was at work on the places of a user.
    Contested,
}

/// The runs that a look has claimed, the places that they take, and how long their leases last.
struct Claimed {
    look: Look,
    /// Whether there may be more of them than places.
    is_room_short: bool,
    runs: Vec<(ClaimedRun, Place, Instant)>,
}

impl Engine {
    /// Looks for runs, at the start and until the process is to stop.
    pub(super) async fn claim_on(self: Arc<Self>) {
        let mut clock = interval(self.timing.recovery);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cleaned: Option<Instant> = None;
        let mut again: Option<Instant> = None;
        let mut may_insist = true;
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = self.lifecycle.soft_stop().cancelled() => return,
                _ = clock.tick() => may_insist = true,
                () = self.room.news() => may_insist = true,
                () = at(again) => {}
            }
            again = None;
            let due = cleaned.is_none_or(|at| at.elapsed() >= CLEAN_UP);
            match self.look(due).await {
                Ok(look) => {
                    if due {
                        cleaned = Some(Instant::now());
                    }
                    failing = false;
                    again = match look {
                        Look::Done => None,
                        Look::Again => Some(Instant::now()),
                        Look::Contested => {
                            std::mem::take(&mut may_insist).then(|| Instant::now() + CONTESTED)
                        }
                    };
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "replies that wait could not be looked for"
                    );
                }
                Err(_) => {}
            }
        }
    }

    async fn look(self: &Arc<Self>, clean_up: bool) -> Result<Look, DbError> {
        let look = self.in_time(self.claim()).await?;
        if clean_up {
            self.in_time(self.clean_up()).await?;
        }
        Ok(look)
    }

    async fn claim(self: &Arc<Self>) -> Result<Look, DbError> {
        let claims = self.claims();
        let mut tx = self.database.system_tx(SystemReason::Recovery).await?;
        let doomed = tx.claim_doomed(&claims, stored(BATCH)).await?;
        let claimed = self.claim_into_room(&mut tx, &claims).await?;
        if self.lifecycle.is_draining() {
            // What has been claimed may be what this process has just let go of, for others.
            return Ok(Look::Done);
        }
        tx.commit().await?;
        let look = match doomed.len() >= BATCH {
            true => Look::Again,
            false => claimed.look,
        };
        for run in doomed {
            self.end_claimed(run);
        }
        self.room.note(claimed.is_room_short);
        for (run, place, lease_until) in claimed.runs {
            self.begin_claimed(run, place, lease_until);
        }
        Ok(look)
    }

    /// Claims as many runs as this process has room for.
    async fn claim_into_room(
        &self,
        tx: &mut SystemTx,
        claims: &Claims,
    ) -> Result<Claimed, DbError> {
        let nothing = |look, is_room_short| Claimed {
            look,
            is_room_short,
            runs: Vec::new(),
        };
        let free = self.room.free().min(BATCH);
        if free == 0 {
            return Ok(nothing(Look::Done, true));
        }
        let (mut users, mut contested) = (Vec::new(), Vec::new());
        // Somebody whose places are never free for a moment must not hide the runs of others.
        for _ in 0..LOOKS {
            let found = tx
                .lock_waiting_users(claims, stored(free.max(LOOKED_AT)), &contested)
                .await?;
            let is_all = found.is_empty();
            for (user_id, is_locked) in found {
                if is_locked {
                    users.push(user_id);
                } else {
                    contested.push(user_id);
                }
            }
            if is_all || !users.is_empty() {
                break;
            }
        }
        let rest = match contested.is_empty() {
            true => Look::Done,
            false => Look::Contested,
        };
        if users.is_empty() {
            return Ok(nothing(rest, false));
        }
        let mut places: Vec<Place> = (0..free).map_while(|_| self.room.next()).collect();
        // From just before the leases are written: they run out here no later than there, and have
        // not run out already where this transaction had to wait for its beginning.
        let lease_until = Instant::now() + claims.lease;
        let runs = tx.claim_runs(claims, &users, stored(places.len())).await?;
        let look = match runs.is_empty() {
            true => rest,
            false => Look::Again,
        };
        let runs = runs
            .into_iter()
            .map_while(|run| Some((run, places.pop()?, lease_until)))
            .collect();
        Ok(Claimed {
            look,
            is_room_short: self.room.free() == 0 && places.is_empty(),
            runs,
        })
    }

    fn end_claimed(self: &Arc<Self>, run: ClaimedRun) {
        let engine = Arc::clone(self);
        self.lifecycle
            .spawn(async move { engine.give_up(run).await });
    }

    /// Its row is committed. From here on nothing waits.
    fn begin_claimed(self: &Arc<Self>, claimed: ClaimedRun, place: Place, lease_until: Instant) {
        if claimed.fate != Fate::Write {
            drop(place);
            return self.end_claimed(claimed);
        }
        tracing::debug!(
            message.id = %claimed.message_id,
            reply.attempt = claimed.attempt,
            "a reply that waited is begun"
        );
        let target = Target {
            message_id: claimed.message_id,
            conversation_id: claimed.conversation_id,
            position: claimed.position,
        };
        let run = Arc::new(Run::new(
            claimed.viewer,
            target,
            claimed.fence,
            claimed.attempt,
            lease_until,
        ));
        self.registry.insert(Arc::clone(&run));
        // Whoever followed it while it waited, or while another process wrote it, reads it here.
        self.end_mirror(&run.key);
        self.carry_out(run, place);
    }

    async fn clean_up(&self) -> Result<(), DbError> {
        let mut tx = self.database.system_tx(SystemReason::CleanUp).await?;
        tx.delete_retired_keys().await?;
        tx.forget_deleted_conversations().await?;
        tx.commit().await
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn stored(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
