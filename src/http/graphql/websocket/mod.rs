//! GraphQL over WebSockets, by the protocol `graphql-transport-ws`
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).
//!
//! A socket is three kinds of tasks. The connection reads messages and keeps the clocks; each
//! operation runs in a task of its own, so that none starves another; the writer alone sends.
//! Between them stands one short queue. When the client reads too slowly the queue fills, the
//! operations wait, and their subscriptions with them; when it does not read at all, the writer's
//! time runs out and the socket is cut. So a socket's memory is bounded, whatever its client does.

mod connection;
mod handshake;
mod operation;
mod protocol;
mod registry;
mod writer;

use std::time::Duration;

pub(super) use handshake::{accept, is_handshake};

/// The clocks of a socket. The defaults are those of graphql-ws; tests have less patience.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a socket may take to send `connection_init`.
    pub init: Duration,
    /// The time between two pings of the server. A client from which nothing at all came between
    /// two of them is gone.
    pub ping: Duration,
    /// How long the client may take to accept one message.
    pub send: Duration,
    /// How long the client may take to answer a close.
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
