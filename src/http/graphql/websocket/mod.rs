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

pub(super) use handshake::{accept, is_handshake};
