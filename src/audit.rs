//! What happened, who did it, with which credential, from where: read by those whom it concerns.
//!
//! What succeeds is noted in the transaction that does it, so that neither is without the other.
//! What is refused or fails is noted here, afterwards: at once in the security log, and as soon as
//! may be in the database. Invariant: nobody waits for that, and nobody can fill the database by
//! being refused. This module must not know what the actions mean.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    db::{AuditEventKey, Database, DbError, SystemReason, Viewer},
    lifecycle::Lifecycle,
    model::{AuditEvent, AuditEventId, NewAuditEvent, Page, PageRequest, UserId},
    telemetry::security,
};

/// How many refusals of one user, or of everybody who is nobody, go to the database: so many at
/// once, and one more each second.
const BURST: u32 = 30;

/// Refusals on their way to the database. When it is full, further ones are left out, which the
/// security log says: it has them all.
const QUEUE: usize = 256;

/// How long one of them may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long those that are left may take to be written when the process stops.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// How often events are looked for whose time is over.
const CLEAN_UP: Duration = Duration::from_secs(60 * 60);

/// Notes and tells. Clones are handles to the same.
#[derive(Clone)]
pub struct Audit {
    database: Database,
    queue: mpsc::Sender<Refusal>,
    bounds: Arc<Bounds>,
}

/// Something that did not succeed. `user_id`: who tried it.
struct Refusal {
    user_id: Option<UserId>,
    event: NewAuditEvent,
}

struct Bounds {
    rate: RateLimiter<Option<UserId>, HashMapStateStore<Option<UserId>>, DefaultClock>,
    /// Since this was last said.
    left_out: AtomicU64,
}

impl Audit {
    /// Writes, and deletes what is older than `retention`, as tasks of the lifecycle. Must be
    /// called inside a Tokio runtime.
    pub fn start(database: Database, retention: Option<Duration>, lifecycle: &Lifecycle) -> Self {
        let (queue, refusals) = mpsc::channel(QUEUE);
        let quota = Quota::per_second(1.try_into().expect("not zero"))
            .allow_burst(BURST.try_into().expect("not zero"));
        let bounds = Arc::new(Bounds {
            rate: RateLimiter::hashmap(quota),
            left_out: AtomicU64::new(0),
        });
        let writer = Writer {
            database: database.clone(),
            bounds: bounds.clone(),
            failing: false,
        };
        lifecycle.spawn(writer.write_on(refusals, lifecycle.clone()));
        if let Some(retention) = retention {
            lifecycle.spawn(clean_up_on(database.clone(), retention, lifecycle.clone()));
        }
        Self {
            database,
            queue,
            bounds,
        }
    }

    /// Notes what was refused or failed; `user_id`: who tried it, where they had proved who they
    /// are. `reason` goes to the security log alone, in words of this program.
    pub fn note(&self, user_id: Option<UserId>, event: NewAuditEvent, reason: Option<&str>) {
        security::log(user_id, &event, reason);
        let admitted = self.bounds.rate.check_key(&user_id).is_ok();
        if !admitted || self.queue.try_send(Refusal { user_id, event }).is_err() {
            self.bounds.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says in the security log alone what is done too often to be kept: what admins look at.
    pub fn tell(&self, user_id: UserId, event: &NewAuditEvent) {
        security::log(Some(user_id), event, None);
    }

    /// One page of what the viewer has done, newest first.
    pub async fn page(
        &self,
        viewer: &Viewer,
        request: PageRequest<AuditEventKey>,
    ) -> Result<Page<AuditEvent>, DbError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let page = tx.audit_page(request).await?;
        tx.commit().await?;
        Ok(page)
    }

    /// Those of the ids that the viewer may see, in no order: their own, and an admin anybody's.
    pub async fn events(
        &self,
        viewer: &Viewer,
        ids: &[AuditEventId],
    ) -> Result<Vec<AuditEvent>, DbError> {
        if let Some(admin) = viewer.admin() {
            let mut tx = self.database.admin_tx(&admin).await?;
            let events = tx.audit_events(ids).await?;
            tx.commit().await?;
            return Ok(events);
        }
        let mut tx = self.database.viewer_tx(viewer).await?;
        let events = tx.audit_events(ids).await?;
        tx.commit().await?;
        Ok(events)
    }
}

struct Writer {
    database: Database,
    bounds: Arc<Bounds>,
    /// Whether the last write failed: an outage is told once.
    failing: bool,
}

impl Writer {
    async fn write_on(mut self, mut refusals: mpsc::Receiver<Refusal>, lifecycle: Lifecycle) {
        let mut clock = interval(CLEAN_UP);
        loop {
            tokio::select! {
                biased;
                () = lifecycle.hard_stop().cancelled() => break,
                refusal = refusals.recv() => match refusal {
                    Some(refusal) => self.write(refusal).await,
                    None => break,
                },
                // Those who were refused long ago have their whole burst again.
                _ = clock.tick() => self.bounds.rate.retain_recent(),
            }
        }
        refusals.close();
        let rest = async {
            while let Some(refusal) = refusals.recv().await {
                self.write(refusal).await;
            }
        };
        if timeout(LAST_WRITES, rest).await.is_err() {
            self.leave_out(1 + refusals.len() as u64);
        }
        self.tell();
    }

    async fn write(&mut self, refusal: Refusal) {
        let written = timeout(WRITE_TIMEOUT, self.insert(&refusal))
            .await
            .unwrap_or(Err(DbError::TimedOut));
        match written {
            Ok(()) => {
                self.failing = false;
                self.tell();
            }
            Err(error) => {
                self.leave_out(1);
                if !self.failing {
                    self.failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an audit event could not be written"
                    );
                }
            }
        }
    }

    async fn insert(&self, refusal: &Refusal) -> Result<(), DbError> {
        let mut tx = self.database.system_tx(SystemReason::Audit).await?;
        tx.record_afterwards(refusal.user_id, &refusal.event)
            .await?;
        tx.commit().await
    }

    fn leave_out(&self, count: u64) {
        self.bounds.left_out.fetch_add(count, Ordering::Relaxed);
    }

    fn tell(&self) {
        let count = self.bounds.left_out.swap(0, Ordering::Relaxed);
        if count > 0 {
            security::log_left_out(count);
        }
    }
}

/// Every process does so: each finds what the others have left.
async fn clean_up_on(database: Database, retention: Duration, lifecycle: Lifecycle) {
    let mut clock = interval(CLEAN_UP);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = lifecycle.hard_stop().cancelled() => return,
        }
        tokio::select! {
            cleaned = clean_up(&database, retention) => if let Err(error) = cleaned {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old audit events could not be deleted"
                );
            },
            () = lifecycle.hard_stop().cancelled() => return,
        }
    }
}

async fn clean_up(database: &Database, retention: Duration) -> Result<(), DbError> {
    let retention = TimeDelta::from_std(retention).unwrap_or(TimeDelta::MAX);
    let Some(before) = Utc::now().checked_sub_signed(retention) else {
        return Ok(());
    };
    loop {
        let mut tx = database.system_tx(SystemReason::CleanUp).await?;
        let deleted = tx.delete_audit_events(before).await?;
        tx.commit().await?;
        if deleted == 0 {
            return Ok(());
        }
    }
}
