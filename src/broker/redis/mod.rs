//! The broker of many processes: Redis 7, Redis Cluster or Valkey.
//!
//! Invariant: nobody ever waits for Redis to carry a notice. It is put into a bounded queue, from which
//! a task sends it; what Redis says is handed on where it arrives. While Redis cannot be used, nothing
//! fails: it is asked again for ever, and once it answers, whoever listens is told to look again.
//! Redis sees sealed notices on channels with meaningless names, and nothing else.

mod error;
mod following;
mod link;
mod outbox;
mod seal;
mod shelf;
mod supervisor;
mod topology;

use std::sync::{
    Arc, Mutex, PoisonError, RwLock, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use secrecy::SecretBox;
use tokio::time::Instant;

use self::{
    following::Following,
    link::{Change, Post},
    seal::{Channel, OpenError, Seal},
    shelf::Shelf,
    supervisor::{Routes, Supervisor},
    topology::{Access, Stretch},
};
use super::{Broker, Notice, Receiver, Topic, lock};
use crate::{config::RedisSettings, lifecycle::Lifecycle, model::UserId};

pub use error::NodeError;
pub use shelf::KEPT_FOR;

/// This process's part of it; clones are handles to the same.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

/// What the links, their supervisor and those who publish and follow have in common.
struct Shared {
    seal: Seal,
    runs: Channel,
    receiver: Mutex<Option<Weak<dyn Receiver>>>,
    following: Mutex<Following>,
    routes: RwLock<Routes>,
    is_connected: AtomicBool,
    lost: AtomicU64,
    complaints: Complaints,
    shelf: Shelf,
}

/// What has been complained of already: once a process is enough.
#[derive(Default)]
struct Complaints {
    full: AtomicBool,
    forged: AtomicBool,
    other_version: AtomicBool,
    shelf: AtomicBool,
}

impl Redis {
    /// Begins to connect, and waits for nothing. The key is the database's own: processes that have
    /// the same one hear each other, and no others do.
    pub fn start(
        settings: &RedisSettings,
        database_key: &SecretBox<[u8; 32]>,
        lifecycle: &Lifecycle,
    ) -> Self {
        let seal = Seal::new(database_key);
        let shared = Arc::new(Shared {
            runs: seal.channel(Topic::Runs),
            seal,
            receiver: Mutex::default(),
            following: Mutex::default(),
            routes: RwLock::default(),
            is_connected: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            complaints: Complaints::default(),
            shelf: Shelf::default(),
        });
        let supervisor = Supervisor::new(shared.clone(), Access::new(settings), lifecycle.clone());
        lifecycle.spawn(supervisor.run());
        Self { shared }
    }

    /// Whether notices go through, as far as this process knows.
    pub fn is_connected(&self) -> bool {
        self.shared.is_connected.load(Ordering::Relaxed)
    }
}

/// Asks once what Redis this is, in words for people.
pub async fn examine(settings: &RedisSettings) -> Result<String, NodeError> {
    let topology = Access::new(settings).discover(Vec::new()).await?;
    Ok(topology.to_string())
}

impl Broker for Redis {
    fn deliver_to(&self, receiver: Weak<dyn Receiver>) {
        *lock(&self.shared.receiver) = Some(receiver);
    }

    fn publish(&self, notice: Notice) {
        let shared = &self.shared;
        let channel = shared.channel(notice.topic());
        let lost = match shared.route(channel.slot()) {
            None => true,
            Some(post) => {
                let lost = post.publish(channel, notice);
                if lost && !shared.complaints.full.swap(true, Ordering::Relaxed) {
                    tracing::warn!("redis takes notices more slowly than they come; some are lost");
                }
                lost
            }
        };
        if lost {
            shared.count_lost();
        }
    }

    fn follow(&self, user_id: UserId) {
        let channel = self.shared.channel(Topic::User(user_id));
        if lock(&self.shared.following).follow(user_id, channel.clone()) {
            self.shared.want(channel, Change::Subscribe(user_id));
        }
    }

    fn unfollow(&self, user_id: UserId) {
        lock(&self.shared.following).unfollow(user_id, Instant::now());
    }
}

impl Shared {
    fn channel(&self, topic: Topic) -> Channel {
        match topic {
            Topic::Runs => self.runs.clone(),
            Topic::User(_) => self.seal.channel(topic),
        }
    }

    fn route(&self, slot: u16) -> Option<Arc<Post>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let place = routes.partition_point(|((first, _), _)| *first <= slot);
        let ((_, last), post) = routes.get(place.checked_sub(1)?)?;
        (slot <= *last).then(|| post.clone())
    }

    /// Without a link to its node, the next one subscribes whatever is followed by then.
    fn want(&self, channel: Channel, change: Change) {
        if let Some(post) = self.route(channel.slot()) {
            post.want(channel, change);
        }
    }

    /// Every channel of these slots that is to be subscribed.
    fn channels_in(&self, stretches: &[Stretch]) -> Vec<Channel> {
        let following = lock(&self.following);
        std::iter::once(&self.runs)
            .chain(following.channels())
            .filter(|channel| {
                let slot = channel.slot();
                stretches
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&slot))
            })
            .cloned()
            .collect()
    }

    /// Takes a message as it arrives, whoever wrote it.
    fn deliver(&self, channel: &[u8], sealed: &[u8]) {
        let notice = match self.seal.open(channel, sealed) {
            Ok(Some(notice)) => notice,
            Ok(None) => return,
            Err(error) => return self.refuse(error),
        };
        let is_wanted = match notice.topic() {
            Topic::Runs => true,
            Topic::User(user_id) => lock(&self.following).is_followed(user_id),
        };
        if let Some(receiver) = self.receiver().filter(|_| is_wanted) {
            receiver.receive(notice);
        }
    }

    fn refuse(&self, error: OpenError) {
        let said = match error {
            OpenError::Version | OpenError::Unknown => &self.complaints.other_version,
            OpenError::Forged | OpenError::TooLong => &self.complaints.forged,
        };
        if !said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                redis.problem = %error,
                "something in redis under a name of this database is ignored, and so is more like it"
            );
        }
    }

    fn look_again(&self) {
        if let Some(receiver) = self.receiver() {
            receiver.look_again();
        }
    }

    fn receiver(&self) -> Option<Arc<dyn Receiver>> {
        lock(&self.receiver).as_ref()?.upgrade()
    }

    fn set_connected(&self, connected: bool) {
        self.is_connected.store(connected, Ordering::Relaxed);
    }

    fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}
