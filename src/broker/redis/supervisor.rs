//! Keeps a link to every master, for as long as the process runs.
//!
//! Whatever goes wrong with a link leads to the same: it ends, the nodes are asked anew who has
//! which slots, and what is missing is made. The others go on meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    error::NodeError,
    link::{Change, Link, Post},
    topology::{Access, Stretch},
};
use crate::{broker::lock, config::RedisNode, lifecycle::Lifecycle};

/// How long to wait before the nodes are asked again, at least and at most. In between it doubles,
/// with jitter, so that many processes do not come back at once.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often channels that nobody follows any more are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How often a cluster is asked who has which slots, though nothing is wrong: a new master may
/// have taken slots that nobody here has used since.
const REFRESH: Duration = Duration::from_secs(30);

/// How often channels may be found to have moved before that is a fault.
const MANY: u32 = 5;

/// How many events of links may wait. Beyond it the links wait to be heard.
const EVENTS: usize = 64;

/// Where notices go, by slot.
pub(super) type Routes = Vec<(Stretch, Arc<Post>)>;

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    access: Access,
    lifecycle: Lifecycle,
    links: BTreeMap<Place, Held>,
    next_id: u64,
    told: mpsc::Sender<Told>,
    hears: mpsc::Receiver<Told>,
    /// How often in a row something went wrong.
    failures: u32,
    /// Since when notices are lost, if they are.
    outage: Option<Instant>,
    has_begun: bool,
}

/// What a link is for. One whose slots change is another.
type Place = (RedisNode, Vec<Stretch>);

struct Held {
    id: u64,
    post: Arc<Post>,
    is_up: bool,
    stop: CancellationToken,
}

/// What a link says of itself.
struct Told {
    id: u64,
    event: Event,
}

enum Event {
    /// Everything that is wanted is subscribed.
    Up,
    Ended(NodeError),
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, access: Access, lifecycle: Lifecycle) -> Self {
        let (told, hears) = mpsc::channel(EVENTS);
        Self {
            shared,
            access,
            lifecycle,
            links: BTreeMap::new(),
            next_id: 0,
            told,
            hears,
            failures: 0,
            outage: None,
            has_begun: false,
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.lifecycle.hard_stop().clone();
        stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_look = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(next_look) => next_look = self.look().await,
                told = self.hears.recv() => {
                    let told = told.expect("this holds a sender itself");
                    if let Some(soon) = self.hear(told) {
                        next_look = next_look.min(soon);
                    }
                }
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    /// Asks who has which slots, and makes what is missing. When to look again.
    async fn look(&mut self) -> Instant {
        let known = self.links.keys().map(|(node, _)| node.clone()).collect();
        let topology = match self.access.discover(known).await {
            Ok(topology) => topology,
            Err(error) => {
                self.complain(&error);
                return self.wait();
            }
        };
        let wanted: Vec<Place> = topology.masters.into_iter().collect();
        self.links.retain(|place, held| {
            let stays = wanted.contains(place);
            if !stays {
                held.stop.cancel();
            }
            stays
        });
        let mut made = Vec::new();
        for place in wanted {
            if !self.links.contains_key(&place) {
                let held = Held {
                    id: self.next_id,
                    post: Arc::default(),
                    is_up: false,
                    stop: self.lifecycle.hard_stop().child_token(),
                };
                self.next_id += 1;
                made.push(place.clone());
                self.links.insert(place, held);
            }
        }
        self.route();
        // Only now: whoever follows from here on finds the new links, and whoever did before is
        // subscribed by their beginning.
        for place in made {
            self.begin(&place, topology.is_cluster);
        }
        self.take_stock();
        Instant::now() + REFRESH
    }

    /// Where notices go from now on.
    fn route(&self) {
        let mut routes: Routes = Vec::new();
        for ((_, stretches), held) in &self.links {
            routes.extend(
                stretches
                    .iter()
                    .map(|&stretch| (stretch, held.post.clone())),
            );
        }
        routes.sort_unstable_by_key(|(stretch, _)| *stretch);
        let mut shared = self
            .shared
            .routes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *shared = routes;
    }

    fn begin(&self, place: &Place, is_cluster: bool) {
        let held = &self.links[place];
        let (id, post, stop) = (held.id, held.post.clone(), held.stop.clone());
        let ((node, stretches), told) = (place.clone(), self.told.clone());
        let (shared, access) = (self.shared.clone(), self.access.clone());
        self.lifecycle.spawn(async move {
            let life = async {
                let opened = Link::open(shared.clone(), &access, &node, is_cluster, post).await;
                let mut link = match opened {
                    Ok(link) => link,
                    Err(error) => return error,
                };
                if let Err(error) = link.subscribe(&shared.channels_in(&stretches)).await {
                    return error;
                }
                let event = Event::Up;
                // It fails only where nobody is left to hear it.
                let _ = told.send(Told { id, event }).await;
                shared.look_again();
                link.work().await
            };
            if let Some(error) = stop.run_until_cancelled(life).await {
                let event = Event::Ended(error);
                let _ = told.send(Told { id, event }).await;
            }
        });
    }

    /// When to look again, if sooner than planned.
    fn hear(&mut self, Told { id, event }: Told) -> Option<Instant> {
        let place = self
            .links
            .iter()
            .find_map(|(place, held)| (held.id == id).then(|| place.clone()))?;
        match event {
            Event::Up => {
                if let Some(held) = self.links.get_mut(&place) {
                    held.is_up = true;
                }
                self.take_stock();
                None
            }
            Event::Ended(error) => {
                self.links.remove(&place);
                self.route();
                self.complain(&error);
                Some(self.wait())
            }
        }
    }

    /// After how long to look again, since something went wrong.
    fn wait(&mut self) -> Instant {
        let ceiling = SHORTEST_WAIT
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        Instant::now() + rand::random_range(SHORTEST_WAIT / 2..=ceiling)
    }

    fn complain(&mut self, error: &NodeError) {
        self.shared.set_connected(false);
        // A slot that moves is no fault, unless it never arrives.
        let is_usual = matches!(error, NodeError::Moved) && self.failures < MANY;
        if self.outage.is_some() || is_usual {
            return;
        }
        self.outage = Some(Instant::now());
        tracing::warn!(
            redis.error = %error,
            "redis cannot be used now; processes hear of each other through the database until it can"
        );
    }

    /// Whether all is well, and says so when it is again.
    fn take_stock(&mut self) {
        if self.links.is_empty() || !self.links.values().all(|held| held.is_up) {
            return;
        }
        self.failures = 0;
        self.shared.set_connected(true);
        let lost = self.shared.take_lost();
        match self.outage.take() {
            Some(since) => tracing::info!(
                redis.masters = self.links.len(),
                redis.outage_seconds = since.elapsed().as_secs(),
                redis.lost_notices = lost,
                "redis can be used again"
            ),
            None if !self.has_begun => {
                tracing::info!(redis.masters = self.links.len(), "redis is connected");
            }
            None => {}
        }
        self.has_begun = true;
    }

    fn sweep(&self) {
        let forgotten = lock(&self.shared.following).forget(Instant::now());
        for channel in forgotten {
            self.shared.want(channel, Change::Unsubscribe);
        }
    }
}
