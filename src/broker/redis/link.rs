//! One connection to one node: what this process publishes there, and what it hears from there.
//!
//! A link lives until anything goes wrong with it and is never mended: the supervisor makes
//! another. So there is one way to begin, which subscribes everything that is wanted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection, aio::SendError};
use tokio::{
    sync::{Notify, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{Shared, error::NodeError, outbox::Outbox, seal::Channel, topology::Access};
use crate::{
    broker::{Notice, lock},
    config::RedisNode,
    model::UserId,
};

/// How often a link asks whether the node is there: one that vanished without a word is found so.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many commands go out before their answers are awaited.
const BATCH: usize = 512;

/// What is to be done over a link. Others only ever add to it, and wait for nothing.
#[derive(Default)]
pub(super) struct Post {
    outbox: Mutex<Outbox>,
    /// Channels to be subscribed or not from now on, the last word on each: bounded by the number
    /// of users.
    wanted: Mutex<HashMap<Channel, Change>>,
    bell: Notify,
    /// Once there is one, for questions that somebody waits to have answered.
    connection: OnceLock<MultiplexedConnection>,
}

/// What becomes of a channel.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// It is this user's.
    Subscribe(UserId),
    Unsubscribe,
}

impl Post {
    /// Whether another notice had to go for it.
    pub(super) fn publish(&self, channel: Channel, notice: Notice) -> bool {
        let lost = lock(&self.outbox).push(channel, notice);
        self.bell.notify_one();
        lost
    }

    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        self.connection.get().cloned()
    }

    pub(super) fn want(&self, channel: Channel, change: Change) {
        lock(&self.wanted).insert(channel, change);
        self.bell.notify_one();
    }
}

/// How a node speaks of channels.
#[derive(Clone, Copy)]
struct Words {
    publish: &'static str,
    subscribe: &'static str,
    unsubscribe: &'static str,
}

const PLAIN: Words = Words {
    publish: "PUBLISH",
    subscribe: "SUBSCRIBE",
    unsubscribe: "UNSUBSCRIBE",
};

const SHARDED: Words = Words {
    publish: "SPUBLISH",
    subscribe: "SSUBSCRIBE",
    unsubscribe: "SUNSUBSCRIBE",
};

pub(super) struct Link {
    shared: Arc<Shared>,
    post: Arc<Post>,
    words: Words,
    connection: MultiplexedConnection,
    subscribed: HashSet<Channel>,
    /// Channels whose end this process asked for. Any other end is the node's own wish.
    leaving: Arc<Mutex<HashSet<String>>>,
    /// Says once why the link is of no use any more.
    broken: oneshot::Receiver<NodeError>,
}

impl Link {
    pub(super) async fn open(
        shared: Arc<Shared>,
        access: &Access,
        node: &RedisNode,
        is_cluster: bool,
        post: Arc<Post>,
    ) -> Result<Self, NodeError> {
        let (breaks, broken) = oneshot::channel();
        let leaving = Arc::<Mutex<HashSet<String>>>::default();
        let ear = Ear {
            shared: shared.clone(),
            leaving: leaving.clone(),
            breaks: Mutex::new(Some(breaks)),
        };
        let connection = access
            .connect(node, move |push| {
                ear.hear(push);
                Ok::<_, SendError>(())
            })
            .await?;
        // A post has one link in its life.
        drop(post.connection.set(connection.clone()));
        Ok(Self {
            shared,
            post,
            words: if is_cluster { SHARDED } else { PLAIN },
            connection,
            subscribed: HashSet::new(),
            leaving,
            broken,
        })
    }

    /// Subscribes what is wanted when the link begins.
    pub(super) async fn subscribe(&mut self, channels: &[Channel]) -> Result<(), NodeError> {
        for batch in channels.chunks(BATCH) {
            let mut commands = redis::pipe();
            for channel in batch {
                commands.cmd(self.words.subscribe).arg(channel.as_str());
            }
            self.send(&commands).await?;
            self.subscribed.extend(batch.iter().cloned());
        }
        Ok(())
    }

    /// Works until something goes wrong, and says what.
    pub(super) async fn work(mut self) -> NodeError {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let post = self.post.clone();
        loop {
            let done = tokio::select! {
                biased;
                broken = &mut self.broken => return broken.unwrap_or(NodeError::Lost),
                () = post.bell.notified() => self.empty_post().await,
                _ = heartbeat.tick() => self.send(redis::pipe().cmd("PING")).await,
            };
            if let Err(error) = done {
                // The node's own word, where there is one, says more than a lost answer.
                return self.broken.try_recv().unwrap_or(error);
            }
        }
    }

    async fn empty_post(&mut self) -> Result<(), NodeError> {
        self.change_subscriptions().await?;
        let waiting: Vec<_> = lock(&self.post.outbox).take().collect();
        for batch in waiting.chunks(BATCH) {
            let mut commands = redis::pipe();
            for (channel, notice) in batch {
                match self.shared.seal.seal(channel, notice) {
                    Some(sealed) => {
                        let command = commands.cmd(self.words.publish);
                        command.arg(channel.as_str()).arg(sealed);
                    }
                    None => self.shared.count_lost(),
                }
            }
            self.send(&commands).await?;
        }
        Ok(())
    }

    async fn change_subscriptions(&mut self) -> Result<(), NodeError> {
        let wanted = std::mem::take(&mut *lock(&self.post.wanted));
        let changes: Vec<_> = wanted
            .into_iter()
            .filter(|(channel, change)| {
                let wanted = matches!(change, Change::Subscribe(_));
                self.subscribed.contains(channel) != wanted
            })
            .collect();
        for batch in changes.chunks(BATCH) {
            let mut commands = redis::pipe();
            for (channel, change) in batch {
                let word = match change {
                    Change::Subscribe(_) => {
                        self.subscribed.insert(channel.clone());
                        self.words.subscribe
                    }
                    Change::Unsubscribe => {
                        self.subscribed.remove(channel);
                        lock(&self.leaving).insert(channel.as_str().to_owned());
                        self.words.unsubscribe
                    }
                };
                commands.cmd(word).arg(channel.as_str());
            }
            self.send(&commands).await?;
            for (_, change) in batch {
                if let Change::Subscribe(user_id) = change
                    && let Some(receiver) = self.shared.receiver()
                {
                    receiver.look_again_at(*user_id);
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, commands: &redis::Pipeline) -> Result<(), NodeError> {
        if commands.is_empty() {
            return Ok(());
        }
        let answers = self
            .connection
            .send_packed_commands(commands, 0, commands.len())
            .await?;
        let refusal = answers.iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(NodeError::from(error)),
            _ => None,
        });
        refusal.map_or(Ok(()), Err)
    }
}

/// Takes what the node says without being asked, on the spot.
struct Ear {
    shared: Arc<Shared>,
    leaving: Arc<Mutex<HashSet<String>>>,
    breaks: Mutex<Option<oneshot::Sender<NodeError>>>,
}

impl Ear {
    fn hear(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                if let [Value::BulkString(channel), Value::BulkString(sealed)] = &push.data[..] {
                    self.shared.deliver(channel, sealed);
                }
            }
            PushKind::Disconnection => self.breaks(NodeError::Lost),
            PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                let asked = match push.data.first() {
                    Some(Value::BulkString(channel)) => {
                        let channel = String::from_utf8_lossy(channel);
                        lock(&self.leaving).remove(&*channel)
                    }
                    _ => false,
                };
                if !asked {
                    self.breaks(NodeError::Moved);
                }
            }
            _ => {}
        }
    }

    fn breaks(&self, error: NodeError) {
        if let Some(breaks) = lock(&self.breaks).take() {
            // Where nobody hears it, the link has ended already.
            let _ = breaks.send(error);
        }
    }
}
