//! Which nodes there are, and which of them has which channel.
//!
//! A Redis that stands alone has all. In a Redis Cluster a channel belongs to a slot and a slot to
//! one master; sharded pub/sub keeps a message on that master and its replicas, where the plain
//! one would send it to every node.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use rand::seq::SliceRandom;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, Value, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use secrecy::ExposeSecret;

use super::error::NodeError;
use crate::config::{RedisNode, RedisSettings};

/// How many slots a Redis Cluster has.
pub(super) const SLOTS: u16 = 16384;

/// How long connecting may take, the sign-in included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long any answer may take. Redis answers within a millisecond, or is stuck.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The way to every node: who signs in, and whether over TLS.
#[derive(Clone, Debug)]
pub(super) struct Access {
    settings: RedisSettings,
}

/// First and last slot of a stretch.
pub(super) type Stretch = (u16, u16);

/// A Redis as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    pub server: String,
    pub version: String,
    /// Whether channels are sharded.
    pub is_cluster: bool,
    /// The masters and the slots of each.
    pub masters: BTreeMap<RedisNode, Vec<Stretch>>,
}

impl Access {
    pub(super) fn new(settings: &RedisSettings) -> Self {
        Self {
            settings: settings.clone(),
        }
    }

    /// Connects and signs in.
    pub(super) async fn connect(
        &self,
        node: &RedisNode,
        pushed: impl Fn(redis::PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, NodeError> {
        let connect = async {
            let client = Client::open(self.way_to(node)?)?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_push_sender(pushed);
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected.map_err(NodeError::from),
            Err(_) => Err(NodeError::Slow),
        }
    }

    fn way_to(&self, node: &RedisNode) -> Result<redis::ConnectionInfo, RedisError> {
        let settings = &self.settings;
        let address = match node {
            RedisNode::Socket(path) => ConnectionAddr::Unix(PathBuf::from(path)),
            RedisNode::Tcp { host, port } if settings.tls => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            RedisNode::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        };
        // Channels belong to no numbered database, so none is selected.
        let mut sign_in = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("loquat", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &settings.user {
            sign_in = sign_in.set_username(user);
        }
        if let Some(password) = &settings.password {
            sign_in = sign_in.set_password(password.expose_secret());
        }
        Ok(address
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(sign_in))
    }

    /// Asks the known masters, in any order, and then the configured nodes until one answers.
    pub(super) async fn discover(&self, known: Vec<RedisNode>) -> Result<Topology, NodeError> {
        let mut nodes = known;
        nodes.shuffle(&mut rand::rng());
        for node in &self.settings.nodes {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        let mut problem = NodeError::Slow;
        for node in nodes {
            match self.ask(&node).await {
                Ok(topology) => return Ok(topology),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    async fn ask(&self, node: &RedisNode) -> Result<Topology, NodeError> {
        let mut connection = self.connect(node, |_| Ok(())).await?;
        let hello: Value = redis::cmd("HELLO").query_async(&mut connection).await?;
        let said = |key| text_at(&hello, key).unwrap_or_default();
        let is_cluster = said("mode") == "cluster";
        let masters = if is_cluster {
            let slots: Value = redis::cmd("CLUSTER")
                .arg("SLOTS")
                .query_async(&mut connection)
                .await?;
            masters_of(&slots, node)
        } else if said("role") == "replica" {
            return Err(NodeError::Replica);
        } else {
            BTreeMap::from([(node.clone(), vec![(0, SLOTS - 1)])])
        };
        if masters.is_empty() {
            return Err(NodeError::NoSlots);
        }
        Ok(Topology {
            server: said("server").to_owned(),
            version: said("version").to_owned(),
            is_cluster,
            masters,
        })
    }
}

/// The masters in an answer to `CLUSTER SLOTS`. One without a host stands where the answer came from.
fn masters_of(slots: &Value, asked: &RedisNode) -> BTreeMap<RedisNode, Vec<Stretch>> {
    let mut masters = BTreeMap::<_, Vec<Stretch>>::new();
    for stretch in array(slots) {
        let [first, last, master, ..] = array(stretch) else {
            continue;
        };
        let [host, port, ..] = array(master) else {
            continue;
        };
        let (Some(first), Some(last), Some(port)) = (number(first), number(last), number(port))
        else {
            continue;
        };
        let host = match (text(host), asked) {
            (Some(host), _) if !matches!(host, "" | "?") => host,
            (_, RedisNode::Tcp { host, .. }) => host,
            (_, RedisNode::Socket(_)) => continue,
        };
        let node = RedisNode::Tcp {
            host: host.to_owned(),
            port,
        };
        masters.entry(node).or_default().push((first, last));
    }
    for stretches in masters.values_mut() {
        stretches.sort_unstable();
    }
    masters
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

fn text_at<'a>(map: &'a Value, key: &str) -> Option<&'a str> {
    map.as_map_iter()?
        .find(|(name, _)| text(name) == Some(key))
        .and_then(|(_, value)| text(value))
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = match self.server.as_str() {
            "valkey" => "Valkey",
            "redis" | "" => "Redis",
            other => other,
        };
        write!(
            f,
            "{} {}",
            server.escape_debug(),
            self.version.escape_debug()
        )?;
        match (self.is_cluster, self.masters.len()) {
            (false, _) => Ok(()),
            (true, 1) => f.write_str(", a cluster of 1 master"),
            (true, count) => write!(f, ", a cluster of {count} masters"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn stretch(first: i64, last: i64, master: Vec<Value>) -> Value {
        let replica = Value::Array(vec![bulk("10.0.0.9"), Value::Int(6379)]);
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
            replica,
        ])
    }

    fn tcp(host: &str, port: u16) -> RedisNode {
        RedisNode::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn the_slots_say_who_is_master_of_what() {
        let id = bulk("the node's id");
        let answer = Value::Array(vec![
            stretch(8000, 16383, vec![bulk("b"), Value::Int(2), id.clone()]),
            stretch(0, 10, vec![bulk("a"), Value::Int(1), id.clone()]),
            stretch(11, 20, vec![bulk("b"), Value::Int(2), id.clone()]),
            stretch(21, 30, vec![Value::Nil, Value::Int(3), id.clone()]),
            stretch(31, 40, vec![bulk("?"), Value::Int(3), id]),
            // Nothing of these can be used.
            stretch(-1, 40, vec![bulk("a"), Value::Int(1)]),
            stretch(0, 40, vec![bulk("a"), Value::Int(100_000)]),
            stretch(0, 40, vec![]),
            Value::Nil,
        ]);
        assert_eq!(
            masters_of(&answer, &tcp("asked", 9)),
            BTreeMap::from([
                (tcp("a", 1), vec![(0, 10)]),
                (tcp("asked", 3), vec![(21, 30), (31, 40)]),
                (tcp("b", 2), vec![(11, 20), (8000, 16383)]),
            ])
        );
        assert!(masters_of(&Value::Nil, &tcp("asked", 9)).is_empty());
    }
}
