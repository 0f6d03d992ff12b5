//! The only one that sends.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt, stream::SplitSink};
use tokio::{sync::oneshot, time::timeout};

use super::{
    super::queue::{MESSAGES, Measured, Receiver, Room},
    protocol::Close,
    registry::{Registry, Ticket},
};

/// One message on its way out.
pub(super) enum Outgoing {
    /// Of the connection itself.
    Control(Message),
    /// Of an operation that has more to say.
    Part(Arc<Ticket>, Message),
    /// The last of an operation.
    Last(Arc<Ticket>, Message),
}

impl Measured for Outgoing {
    fn bytes(&self) -> usize {
        let (Self::Control(message) | Self::Part(_, message) | Self::Last(_, message)) = self;
        match message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
            Message::Close(_) => 0,
        }
    }
}

/// Sends until there is nothing more to send, the client stops taking it, or a close is due.
/// A close does not wait for the queue: the client is to begin anew anyway.
pub(super) async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut queue: Receiver<Outgoing>,
    mut closing: oneshot::Receiver<Close>,
    registry: Registry,
    patience: Duration,
) {
    let close = loop {
        let outgoing = tokio::select! {
            biased;
            close = &mut closing => break close.ok(),
            outgoing = queue.receive() => outgoing,
        };
        let Some(outgoing) = outgoing else {
            break (&mut closing).await.ok();
        };
        let send = send_all_ready(&mut sink, outgoing, &mut queue, &registry, patience);
        tokio::select! {
            biased;
            close = &mut closing => break close.ok(),
            sent = send => if sent.is_err() {
                return;
            },
        }
    };
    if let Some(close) = close {
        // A client that does not take it is gone.
        drop(timeout(patience, sink.send(close.into_message())).await);
    }
}

/// The client is gone, or takes nothing more.
struct Cut;

/// Sends this message and those behind it that are ready, with one flush for all of them.
async fn send_all_ready(
    sink: &mut SplitSink<WebSocket, Message>,
    first: (Outgoing, Room),
    queue: &mut Receiver<Outgoing>,
    registry: &Registry,
    patience: Duration,
) -> Result<(), Cut> {
    let mut next = Some(first);
    // What they take up is free again when the client has taken them.
    let mut rooms = Vec::new();
    while let Some((outgoing, room)) = next {
        // Held until its message is in the sink, and so before any close.
        if let Some(message) = due(&outgoing, registry) {
            within(patience, sink.feed(message)).await?;
        }
        rooms.push(room);
        next = if rooms.len() < MESSAGES {
            queue.try_receive()
        } else {
            None
        };
    }
    within(patience, sink.flush()).await
}

/// `None`: the client has completed the operation meanwhile.
fn due(outgoing: &Outgoing, registry: &Registry) -> Option<Message> {
    match outgoing {
        Outgoing::Control(message) => Some(message.clone()),
        Outgoing::Part(ticket, message) => (!ticket.is_completed()).then(|| message.clone()),
        Outgoing::Last(ticket, message) => {
            registry.end(ticket);
            (!ticket.is_completed()).then(|| message.clone())
        }
    }
}

async fn within<E>(
    patience: Duration,
    sending: impl Future<Output = Result<(), E>>,
) -> Result<(), Cut> {
    match timeout(patience, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Cut),
        Err(_) => {
            tracing::info!("a socket was cut because its client took nothing more");
            Err(Cut)
        }
    }
}
