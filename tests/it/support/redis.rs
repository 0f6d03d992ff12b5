//! Redis and Valkey servers of a test's own, alone or as a cluster.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};

use loquat::{
    broker::Redis,
    config::{RedisSettings, Settings, Sources},
    lifecycle::Lifecycle,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{
    TestDatabase, eventually,
    installed::{fetched, free_ports, installed},
};

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Redis,
    Valkey,
}

impl Make {
    /// `None`: its tests are left out.
    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Redis => installed("redis-server"),
            Self::Valkey => fetched("valkey/valkey-server", "scripts/fetch.py valkey"),
        }
    }
}

/// A server on a port of its own, which it keeps through restarts. It goes with this value.
pub struct RedisServer {
    program: PathBuf,
    arguments: Vec<String>,
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl RedisServer {
    /// `None`: it is not installed.
    pub async fn start(make: Make) -> Option<Self> {
        Self::with(make, &[]).await
    }

    pub async fn with(make: Make, arguments: &[&str]) -> Option<Self> {
        let [port] = free_ports();
        Self::on(make, port, arguments).await
    }

    async fn on(make: Make, port: u16, arguments: &[&str]) -> Option<Self> {
        let program = make.program()?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut all = vec!["--port".to_owned(), port.to_string()];
        all.extend(["--save", "", "--appendonly", "no"].map(str::to_owned));
        all.extend(["--bind", "127.0.0.1", "--daemonize", "no"].map(str::to_owned));
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let mut server = Self {
            child: spawn(&program, &all, &folder),
            program,
            arguments: all,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            folder,
        };
        server.listens().await;
        Some(server)
    }

    async fn listens(&mut self) {
        let address = self.address;
        let child = tokio::sync::Mutex::new(&mut self.child);
        let log = self.folder.path().join("log");
        eventually("a Redis listens", || async {
            if let Some(status) = child.lock().await.try_wait().expect("its state") {
                panic!(
                    "{status}: {}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// A connection of the test's own, for as many commands as it likes.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a URL");
        eventually("Redis answers", || async {
            client.get_multiplexed_async_connection().await.ok()
        })
        .await
    }

    /// One command and its answer.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().expect("a command"));
        asked.arg(words.collect::<Vec<_>>());
        asked
            .query_async(&mut self.connect().await)
            .await
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        kill(
            Pid::from_raw(i32::try_from(id).expect("a process id")),
            signal,
        )
        .expect("a signal");
    }

    /// It answers nobody, and hangs up on nobody.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`, if it runs.
    pub async fn kill(&mut self) {
        if self.child.try_wait().expect("its state").is_some() {
            return;
        }
        self.child.kill().await.expect("it is killed");
    }

    /// On the same port, unless it runs.
    pub async fn restart(&mut self) {
        if self.child.try_wait().expect("its state").is_none() {
            return;
        }
        self.child = spawn(&self.program, &self.arguments, &self.folder);
        self.listens().await;
    }
}

fn spawn(program: &PathBuf, arguments: &[String], folder: &TempDir) -> Child {
    let log = std::fs::File::create(folder.path().join("log")).expect("a log");
    Command::new(program)
        .args(arguments)
        .arg("--dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("a Redis runs")
}

/// Three masters and a replica of each.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    const MASTERS: usize = 3;
    const NODES: usize = 6;

    /// `None`: it is not installed.
    pub async fn start(make: Make) -> Option<Self> {
        let ports: [u16; 2 * Self::NODES] = free_ports();
        let mut nodes = Vec::new();
        for pair in ports.chunks(2) {
            let bus = pair[1].to_string();
            // So that a failover takes a second, and replicas follow at once.
            let arguments = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-port",
                &bus,
                "--repl-diskless-sync-delay",
                "0",
                "--cluster-replica-validity-factor",
                "0",
            ];
            nodes.push(RedisServer::on(make, pair[0], &arguments).await?);
        }
        let slots = ["0 5460", "5461 10922", "10923 16383"];
        let first = ports[0];
        for (place, node) in nodes.iter().enumerate() {
            let () = node
                .ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1))
                .await;
            if let Some(stretch) = slots.get(place) {
                let () = node.ask(&format!("CLUSTER ADDSLOTSRANGE {stretch}")).await;
            }
            if place > 0 {
                let () = node
                    .ask(&format!("CLUSTER MEET 127.0.0.1 {first} {}", ports[1]))
                    .await;
            }
        }
        let cluster = Self { nodes };
        cluster
            .everywhere("everybody knows everybody", |info| {
                info.contains("cluster_known_nodes:6")
            })
            .await;
        for place in 0..Self::MASTERS {
            let id: String = cluster.nodes[place].ask("CLUSTER MYID").await;
            let replica = &cluster.nodes[Self::MASTERS + place];
            let () = replica.ask(&format!("CLUSTER REPLICATE {id}")).await;
            eventually("the replica follows its master", || async {
                let info: String = replica.ask("INFO replication").await;
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        cluster
            .everywhere("the cluster is whole", |info| {
                info.contains("cluster_state:ok") && info.contains("cluster_size:3")
            })
            .await;
        for node in &cluster.nodes {
            eventually("everybody knows who is master", || async {
                let nodes: String = node.ask("CLUSTER NODES").await;
                (nodes.matches("slave").count() == Self::NODES - Self::MASTERS).then_some(())
            })
            .await;
        }
        Some(cluster)
    }

    /// Waits until every node says this of the cluster.
    async fn everywhere(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        for node in &self.nodes {
            eventually(what, || async {
                let info: String = node.ask("CLUSTER INFO").await;
                is_so(&info).then_some(())
            })
            .await;
        }
    }

    /// One of its nodes is enough to find the others.
    pub fn url(&self) -> String {
        self.nodes[4].url()
    }

    /// Every node, by commas.
    pub fn urls(&self) -> String {
        let addresses: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.address.to_string())
            .collect();
        format!("redis://{}", addresses.join(","))
    }
}

/// The settings that a URL stands for.
pub fn redis_settings(url: &str) -> RedisSettings {
    let sources = Sources::default().variable("REDIS_URL", url);
    let settings = Settings::resolve(&sources).expect("usable settings");
    settings.redis.expect("a Redis")
}

/// A process's broker, for the processes of this database.
pub async fn redis_broker(test: &TestDatabase, url: &str) -> (Arc<Redis>, Lifecycle) {
    let key = test.open_with(2).await.broker_key().await.expect("a key");
    let lifecycle = Lifecycle::new();
    let redis = Redis::start(&redis_settings(url), &key, &lifecycle);
    (Arc::new(redis), lifecycle)
}
