//! One operation of a socket, in a task of its own.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Response, parser::types::OperationType};
use axum::extract::ws::Message;
use futures_util::{FutureExt, StreamExt};
use tracing::Instrument;

use super::{
    super::{
        Backend, Endpoint,
        endpoint::{Caller, Carrier, Operation},
        failure::Failure,
        params::Params,
        queue,
        respond::{self, Payload},
        unfinished::Unfinished,
    },
    protocol::ServerMessage,
    registry::Ticket,
    writer::Outgoing,
};
use crate::telemetry::RequestId;

/// Where an operation's messages go. A send that fails means that the socket is gone.
pub(super) struct Speaker {
    pub ticket: Arc<Ticket>,
    pub queue: queue::Sender<Outgoing>,
}

/// Runs the operation to its end. A panic ends it and nothing else.
pub(super) async fn run<B: Backend>(
    endpoint: Endpoint<B>,
    caller: Caller<B>,
    params: Params,
    speaker: Speaker,
) {
    let id = RequestId::new();
    let span = tracing::info_span!("operation", request.id = id.as_str());
    let speaking = speak(&endpoint, caller, params, &speaker, &id).instrument(span);
    let last = match AssertUnwindSafe(speaking).catch_unwind().await {
        Ok(Some(last)) => last,
        Ok(None) => return,
        Err(_) => speaker.failed(&Failure::panicked(&id)),
    };
    // When the socket is gone there is nobody to tell.
    let last = Outgoing::Last(speaker.ticket.clone(), last);
    drop(speaker.queue.send(last).await);
}

/// The operation's last message; `None`: the socket is gone.
async fn speak<B: Backend>(
    endpoint: &Endpoint<B>,
    caller: Caller<B>,
    params: Params,
    speaker: &Speaker,
    id: &RequestId,
) -> Option<Message> {
    // What a subscription is not at any more is in boxes: it lives long, and there are many.
    let prepared = Box::pin(endpoint.prepare(params, Carrier::Socket, Some(&caller)));
    let operation = match prepared.await {
        Ok(operation) => operation,
        Err(failure) => return Some(speaker.failed(&failure)),
    };
    if operation.kind == OperationType::Subscription {
        return follow(endpoint, operation, speaker, id).await;
    }
    let event = Box::pin(endpoint.execute(operation, endpoint.deadline())).await;
    match speaker.next(event, id).await {
        Said::Next => Some(speaker.completed()),
        Said::Last(message) => Some(message),
        Said::Gone => None,
    }
}

async fn follow<B: Backend>(
    endpoint: &Endpoint<B>,
    operation: Operation,
    speaker: &Speaker,
    id: &RequestId,
) -> Option<Message> {
    let mut events = endpoint.subscribe(operation);
    while let Some(event) = events.next().await {
        match speaker.next(event, id).await {
            Said::Next => {}
            Said::Last(message) => return Some(message),
            Said::Gone => return None,
        }
    }
    Some(speaker.completed())
}

enum Said {
    /// There may be more.
    Next,
    /// This ends the operation.
    Last(Message),
    Gone,
}

impl Speaker {
    /// Errors of an execution are a result, and go into `next`; what was never executed is an
    /// `error`, after which there is no `complete`.
    async fn next(&self, event: Result<Response, Unfinished>, id: &RequestId) -> Said {
        let payload = match event {
            Ok(response) => respond::finish(response, id),
            Err(unfinished) => return Said::Last(self.failed(&unfinished.into_failure(id))),
        };
        if !payload.was_executed() {
            return Said::Last(self.refused(&payload));
        }
        let message = ServerMessage::Next {
            id: &self.ticket.id,
            payload: &payload,
        };
        let part = Outgoing::Part(self.ticket.clone(), message.into_message());
        match self.queue.send(part).await {
            Ok(()) => Said::Next,
            Err(_) => Said::Gone,
        }
    }

    fn completed(&self) -> Message {
        ServerMessage::Complete {
            id: &self.ticket.id,
        }
        .into_message()
    }

    fn refused(&self, payload: &Payload) -> Message {
        ServerMessage::Error {
            id: &self.ticket.id,
            payload: &payload.errors,
        }
        .into_message()
    }

    fn failed(&self, failure: &Failure) -> Message {
        ServerMessage::Error {
            id: &self.ticket.id,
            payload: std::slice::from_ref(&*failure.error),
        }
        .into_message()
    }
}
