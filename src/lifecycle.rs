//! How the process ends: softly, then hard, with every task accounted for.
//!
//! The soft stop begins at the first signal: no new work is taken, replies that are being written
//! may finish. When they have, or their time is up, the farewell parts with those who are connected
//! for long, one after another, so that they do not all come to other processes in the same moment.
//! The hard stop follows, or comes at a second signal: what is still open closes and tasks end.
//! Invariant: every task that outlives a request is spawned here, so that none is still running when
//! the database goes away.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::SetOnce, task::JoinHandle, time::sleep};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// How much longer the farewell takes for each guest: they come to other processes at 500 a second.
const FAREWELL_PER_GUEST: Duration = Duration::from_millis(2);

/// One per process; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    /// Set when the farewell begins: within which time the guests are parted with.
    farewell: Arc<SetOnce<Duration>>,
    hard: CancellationToken,
    tasks: TaskTracker,
    awaited: TaskTracker,
    guests: TaskTracker,
}

/// A client that is connected for as long as it likes: a socket, or a stream.
#[derive(Debug)]
pub struct Guest {
    lifecycle: Lifecycle,
    _token: TaskTrackerToken,
}

impl Guest {
    /// Waits until the process parts with this one, in its turn, or with all at once.
    pub async fn dismissed(&self) {
        let in_turn = async {
            let time = self.lifecycle.farewell.wait().await;
            sleep(time.mul_f64(rand::random())).await;
        };
        tokio::select! {
            () = in_turn => {}
            () = self.lifecycle.hard.cancelled() => {}
        }
    }
}

/// Something that a client waits to hear the end of. Let go of when the client was told.
#[derive(Debug)]
pub struct Awaited {
    _token: TaskTrackerToken,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work is to be taken.
    pub fn soft_stop(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what still runs is to end now. Implies the soft stop.
    pub fn hard_stop(&self) -> &CancellationToken {
        &self.hard
    }

    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    pub fn begin_soft_stop(&self) {
        self.soft.cancel();
    }

    pub fn guest(&self) -> Guest {
        Guest {
            lifecycle: self.clone(),
            _token: self.guests.token(),
        }
    }

    /// How long it takes to part with the guests that there are now, one after another.
    pub fn farewell_time(&self) -> Duration {
        let guests = u32::try_from(self.guests.len()).unwrap_or(u32::MAX);
        FAREWELL_PER_GUEST.saturating_mul(guests)
    }

    /// Parts with the guests within this time, and returns when none is left.
    pub async fn part_with_guests(&self, within: Duration) {
        // A second farewell would not find anybody whom the first has not dismissed.
        let _ = self.farewell.set(within);
        self.guests.close();
        self.guests.wait().await;
    }

    pub fn begin_hard_stop(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Runs a task that the process waits for before it ends.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Makes the soft stop wait, for a moment, until what is returned is dropped.
    pub fn awaited(&self) -> Awaited {
        Awaited {
            _token: self.awaited.token(),
        }
    }

    /// Waits until clients wait for nothing more. Some wait for what never ends, so this needs a
    /// limit. Only of use once nothing new is taken.
    pub async fn settled(&self) {
        self.awaited.close();
        self.awaited.wait().await;
    }

    /// Waits for every task. Only of use after the hard stop has begun.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::JoinSet, time::Instant};

    use super::Lifecycle;

    /// When each of so many guests was dismissed, counted from the beginning of the farewell.
    async fn dismissals(lifecycle: &Lifecycle, guests: usize) -> JoinSet<Duration> {
        let mut dismissals = JoinSet::new();
        let begun = Instant::now();
        for _ in 0..guests {
            let guest = lifecycle.guest();
            dismissals.spawn(async move {
                guest.dismissed().await;
                begun.elapsed()
            });
        }
        dismissals
    }

    #[tokio::test(start_paused = true)]
    async fn guests_are_parted_with_one_after_another() {
        let lifecycle = Lifecycle::new();
        let dismissals = dismissals(&lifecycle, 1_000).await;
        let time = lifecycle.farewell_time();
        assert_eq!(time, Duration::from_secs(2));
        lifecycle.part_with_guests(time).await;

        let mut tenths = [0; 10];
        for dismissed in dismissals.join_all().await {
            assert!(dismissed <= time, "{dismissed:?}");
            let tenth = (dismissed.as_millis() / 200).min(9) as usize;
            tenths[tenth] += 1;
        }
        assert!(
            tenths.iter().all(|many| (50..200).contains(many)),
            "{tenths:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_hard_stop_parts_with_everybody_at_once() {
        let lifecycle = Lifecycle::new();
        let dismissals = dismissals(&lifecycle, 10).await;
        tokio::join!(
            lifecycle.part_with_guests(Duration::from_secs(3_600)),
            async { lifecycle.begin_hard_stop() }
        );
        for dismissed in dismissals.join_all().await {
            assert_eq!(dismissed, Duration::ZERO);
        }
    }
}
