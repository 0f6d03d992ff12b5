//! How long the connections that stay open, sockets and streams, wait for their clients.

use std::time::Duration;

/// The clocks of sockets and streams. The defaults are those of graphql-ws; tests have less patience.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a socket may take to send `connection_init`.
    pub init: Duration,
    /// How often a connection gives a sign of life. A socket is sent a ping, whatever else it is
    /// sent, and a client from which nothing at all came between two of them is gone. A stream has
    /// a heartbeat when it was sent nothing else for so long; its client has no way to answer.
    /// Proxies in front must wait longer.
    pub ping: Duration,
    /// How long the client may take to accept one message.
    pub send: Duration,
    /// How long the client may take over the end: to answer a socket's close, or to take the last
    /// part of a stream that was interrupted.
    pub close: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            init: Duration::from_secs(3),
            ping: Duration::from_secs(12),
            send: Duration::from_secs(15),
            close: Duration::from_secs(2),
        }
    }
}
