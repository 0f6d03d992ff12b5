//! An answer that goes on: the events of a subscription as the body of an HTTP response.
//!
//! What it shares with sockets: a task of its own for each operation, one short queue to the
//! client, a heartbeat, a limit to how long the client may take over one message, an end when the
//! credential does and when the process stops. An end that is not the operation's own is told in
//! a way that clients ask again after, with fresh credentials: where the form has no word for it,
//! the response breaks off.

mod form;

use async_graphql::parser::types::OperationType;
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures_util::{
    StreamExt,
    future::Either,
    stream::{self, Stream},
};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE, VARY},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::Instrument;

use super::{
    Backend, Endpoint,
    endpoint::{Caller, Operation, over},
    failure::Failure,
    media::Form,
    queue::{self, Gone, Measured, Room},
    respond::{self, Payload},
};
use crate::{limits::Place, telemetry::RequestId};

/// What nginx is asked by, for one response: to pass on what there is.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Runs the operation in a task of its own, which ends with it, or when the client goes. Refused
/// when the user has too many sockets and streams already.
pub(super) fn answer<B: Backend>(
    endpoint: &Endpoint<B>,
    operation: Operation,
    caller: Option<Caller<B>>,
    form: Form,
    id: &RequestId,
) -> Result<Response, Failure> {
    let (mut queue, body) = queue::queue();
    let (mut place, mut session) = (None, None);
    if let Some(caller) = caller {
        place = Some(endpoint.connect(&caller.presence)?);
        queue = queue.for_user(caller.presence);
        session = Some(caller.session);
    }
    let run = run(
        endpoint.clone(),
        operation,
        session,
        form,
        queue,
        id.clone(),
    );
    endpoint.lifecycle.spawn(run.in_current_span());
    Ok(respond(form, parts(body, place)))
}

/// One message on its way out.
enum Outgoing {
    Part(Bytes),
    Last(Bytes),
}

impl Measured for Outgoing {
    fn bytes(&self) -> usize {
        let (Self::Part(part) | Self::Last(part)) = self;
        part.len()
    }
}

/// The last message is missing.
#[derive(Debug, thiserror::Error)]
#[error("the stream was interrupted")]
struct Interrupted;

/// What a body that is not over yet is made of.
struct Open {
    queue: queue::Receiver<Outgoing>,
    /// What the last message takes up until the next one is asked for.
    room: Option<Room>,
    /// The connection is the user's until the body is dropped.
    _place: Option<Place>,
}

/// The body that is made of the messages.
fn parts(
    queue: queue::Receiver<Outgoing>,
    place: Option<Place>,
) -> impl Stream<Item = Result<Bytes, Interrupted>> + Send + 'static {
    let open = Open {
        queue,
        room: None,
        _place: place,
    };
    stream::unfold(Some(open), async |open| {
        let mut open = open?;
        open.room = None;
        match open.queue.receive().await {
            Some((Outgoing::Part(part), room)) => {
                open.room = Some(room);
                Some((Ok(part), Some(open)))
            }
            Some((Outgoing::Last(part), _)) => Some((Ok(part), None)),
            None => Some((Err(Interrupted), None)),
        }
    })
}

/// What was refused, as the only event.
pub(super) fn refusal(failure: &Failure, form: Form) -> Response {
    let payload = Payload::error((*failure.error).clone());
    let parts = [form.opening(), form.next(&payload), form.complete()];
    respond(form, stream::iter(parts.map(Ok)))
}

fn respond(
    form: Form,
    parts: impl Stream<Item = Result<Bytes, Interrupted>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    // Whoever compresses would hold the beginning back.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    response
}

async fn run<B: Backend>(
    endpoint: Endpoint<B>,
    operation: Operation,
    session: Option<B::Session>,
    form: Form,
    queue: queue::Sender<Outgoing>,
    id: RequestId,
) {
    // Until its last message is on its way, the process does not end it by itself.
    let awaited = endpoint.lifecycle.awaited();
    let guest = endpoint.lifecycle.guest();
    let interruption = tokio::select! {
        biased;
        () = queue.closed() => return,
        () = follow(&endpoint, operation, form, &queue, &id) => return,
        () = guest.dismissed() => Failure::draining(),
        reason = ended::<B>(session.as_ref()) => Failure::unauthenticated(reason),
    };
    drop(awaited);
    if let Some(last) = form.interrupted(&interruption) {
        // A client that does not take it is gone.
        let sending = queue.send(Outgoing::Last(last));
        drop(timeout(endpoint.options.timing.close, sending).await);
    }
}

/// To the operation's own end.
async fn follow<B: Backend>(
    endpoint: &Endpoint<B>,
    operation: Operation,
    form: Form,
    queue: &queue::Sender<Outgoing>,
    id: &RequestId,
) {
    let timing = endpoint.options.timing;
    let say = async |message: Outgoing| match timeout(timing.send, queue.send(message)).await {
        Ok(sent) => sent,
        Err(_) => {
            tracing::info!("a stream was cut because its client took nothing more");
            Err(Gone)
        }
    };
    let mut events = if operation.kind == OperationType::Subscription {
        Either::Left(endpoint.subscribe(operation))
    } else {
        let execution = endpoint.execute(operation, endpoint.deadline());
        Either::Right(Box::pin(stream::once(execution)))
    };
    let mut heartbeat = interval_at(Instant::now() + timing.ping, timing.ping);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut message = Some(form.opening());
    while let Some(next) = message {
        if say(Outgoing::Part(next)).await.is_err() {
            return;
        }
        message = tokio::select! {
            event = events.next() => match event {
                None => None,
                Some(event) => {
                    heartbeat.reset();
                    let payload = match event {
                        Ok(response) => respond::finish(response, id),
                        Err(unfinished) => Payload::error(*unfinished.into_failure(id).error),
                    };
                    let was_executed = payload.was_executed();
                    let message = form.next(&payload);
                    if !was_executed {
                        if say(Outgoing::Part(message)).await.is_err() {
                            return;
                        }
                        None
                    } else {
                        Some(message)
                    }
                }
            },
            _ = heartbeat.tick() => Some(form.heartbeat()),
        };
    }
    // When the client is gone there is nobody to tell.
    drop(say(Outgoing::Last(form.complete())).await);
}

/// Why the session is over; never, where nobody has signed in.
async fn ended<B: Backend>(session: Option<&B::Session>) -> &'static str {
    match session {
        Some(session) => over::<B>(session).await,
        None => std::future::pending().await,
    }
}
