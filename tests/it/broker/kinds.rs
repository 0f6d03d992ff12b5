//! The kinds of broker that there are, each with real servers.

use std::sync::Arc;

use loquat::{
    broker::{Broker, Memory},
    lifecycle::Lifecycle,
};

use crate::support::{
    TestDatabase, eventually,
    redis::{Make, RedisCluster, RedisServer, redis_broker},
};

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Memory,
    Redis,
    RedisCluster,
    Valkey,
    ValkeyCluster,
}

/// Where the processes of one database meet.
pub struct Place {
    pub test: TestDatabase,
    ground: Ground,
    lifecycles: Vec<Lifecycle>,
}

enum Ground {
    Memory(Memory),
    Alone(Box<RedisServer>),
    Cluster(RedisCluster),
}

impl Place {
    /// `None`: its servers are not installed.
    pub async fn of(kind: Kind) -> Option<Self> {
        let ground = match kind {
            Kind::Memory => Ground::Memory(Memory::default()),
            Kind::Redis => Ground::Alone(RedisServer::start(Make::Redis).await?.into()),
            Kind::Valkey => Ground::Alone(RedisServer::start(Make::Valkey).await?.into()),
            Kind::RedisCluster => Ground::Cluster(RedisCluster::start(Make::Redis).await?),
            Kind::ValkeyCluster => Ground::Cluster(RedisCluster::start(Make::Valkey).await?),
        };
        Some(Self {
            test: TestDatabase::create().await,
            ground,
            lifecycles: Vec::new(),
        })
    }

    /// Another process.
    pub async fn join(&mut self) -> Arc<dyn Broker> {
        let url = match &self.ground {
            Ground::Memory(memory) => return Arc::new(memory.join()),
            Ground::Alone(server) => server.url(),
            Ground::Cluster(cluster) => cluster.url(),
        };
        let (redis, lifecycle) = redis_broker(&self.test, &url).await;
        self.lifecycles.push(lifecycle);
        redis
    }

    /// Every server.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        match &mut self.ground {
            Ground::Memory(_) => &mut [],
            Ground::Alone(server) => std::slice::from_mut(&mut **server),
            Ground::Cluster(cluster) => &mut cluster.nodes,
        }
    }

    /// Waits until so many channels are subscribed, those of runs among them.
    pub async fn subscribed(&mut self, count: usize) {
        let ground = &self.ground;
        let (servers, command) = match ground {
            Ground::Memory(_) => return,
            Ground::Alone(server) => (std::slice::from_ref(&**server), "PUBSUB CHANNELS"),
            Ground::Cluster(cluster) => (&cluster.nodes[..], "PUBSUB SHARDCHANNELS"),
        };
        eventually("channels are subscribed", || async {
            let mut channels = 0;
            for server in servers {
                channels += server.ask::<Vec<String>>(command).await.len();
            }
            (channels == count).then_some(())
        })
        .await;
    }

    /// Another database whose processes use the same servers.
    pub async fn other_database(&mut self) -> Option<Arc<dyn Broker>> {
        let here = std::mem::replace(&mut self.test, TestDatabase::create().await);
        let joined = self.join().await;
        self.test = here;
        (!matches!(self.ground, Ground::Memory(_))).then_some(joined)
    }

    /// The processes stop, and their tasks end quietly.
    pub async fn stop(self) {
        for lifecycle in self.lifecycles {
            lifecycle.begin_hard_stop();
            crate::support::within("its tasks end", lifecycle.finished()).await;
        }
    }
}

/// Each of these tests for each kind of broker.
macro_rules! for_every_kind {
    ($($test:ident),* $(,)?) => {
        for_every_kind!(@kind memory Memory [$($test)*]);
        for_every_kind!(@kind redis Redis [$($test)*]);
        for_every_kind!(@kind redis_cluster RedisCluster [$($test)*]);
        for_every_kind!(@kind valkey Valkey [$($test)*]);
        for_every_kind!(@kind valkey_cluster ValkeyCluster [$($test)*]);
    };
    (@kind $module:ident $kind:ident [$($test:ident)*]) => {
        mod $module {
            use crate::broker::kinds::{Kind, Place};

            $(#[tokio::test]
            async fn $test() {
                if let Some(place) = Place::of(Kind::$kind).await {
                    super::$test(place).await;
                }
            })*
        }
    };
}

pub(super) use for_every_kind;
