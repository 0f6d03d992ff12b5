//! One socket: reads what the client says and keeps the clocks.

use std::{future::pending, net::IpAddr};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{StreamExt, future::BoxFuture, stream::SplitStream};
use http::HeaderMap;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tracing::Instrument;

use super::{
    super::{Backend, Endpoint, endpoint::over, failure::Failure, params::Params, queue, weight},
    operation::{self, Speaker},
    protocol::{ClientMessage, Close, ServerMessage},
    registry::Registry,
    writer::{self, Outgoing},
};
use crate::{
    auth::{credential_from_connection_init, credential_from_ping},
    limits::Place,
    model::Limit,
};

/// Serves the socket to its end, and leaves nothing of it behind.
pub(super) async fn run<B: Backend>(
    endpoint: Endpoint<B>,
    socket: WebSocket,
    headers: HeaderMap,
    address: Option<IpAddr>,
) {
    let timing = endpoint.options.timing;
    let (sink, mut incoming) = socket.split();
    let (queue, outgoing) = queue::queue();
    let (close, closing) = oneshot::channel();
    let registry = Registry::default();
    let writing = writer::write(sink, outgoing, closing, registry.clone(), timing.send);
    let mut tasks = JoinSet::new();
    tasks.spawn(writing.in_current_span());

    let mut connection = Connection {
        endpoint,
        headers,
        address,
        phase: Phase::Opened {
            deadline: Instant::now() + timing.init,
        },
        signing_in: None,
        place: None,
        queue,
        registry,
        operations: JoinSet::new(),
    };
    let guest = connection.endpoint.lifecycle.guest();
    let end = tokio::select! {
        end = connection.serve(&mut incoming, &mut tasks) => end,
        () = guest.dismissed() => Close::restart().into(),
    };
    drop(guest);
    connection.operations.shutdown().await;
    // The writer ends with its queue.
    drop(connection);

    match end {
        End::Cut => {}
        End::Goodbye => drop(timeout(timing.close, drain(&mut incoming)).await),
        End::Close(reason) => {
            if close.send(reason).is_ok() {
                let goodbye = async {
                    while tasks.join_next().await.is_some() {}
                    drain(&mut incoming).await;
                };
                drop(timeout(timing.close, goodbye).await);
            }
        }
    }
    tasks.shutdown().await;
}

/// Reads to the end of the socket: this is what sends the answer to the client's close, and what
/// waits for the client's answer to ours. Without it, what the client has sent meanwhile could
/// reset the connection before it reads why it was closed.
async fn drain(incoming: &mut SplitStream<WebSocket>) {
    while let Some(Ok(_)) = incoming.next().await {}
}

/// Why a socket ends.
enum End {
    /// The client is gone.
    Cut,
    /// The client has said goodbye.
    Goodbye,
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// The life of a socket.
enum Phase<S> {
    /// Nothing said yet.
    Opened { deadline: Instant },
    /// `connection_init` has come and is being judged.
    SigningIn,
    /// Acknowledged.
    Open(S),
}

/// A credential being judged.
struct SigningIn<S> {
    result: BoxFuture<'static, Result<S, Failure>>,
    /// What to say when it is accepted.
    answer: Message,
}

struct Connection<B: Backend> {
    endpoint: Endpoint<B>,
    /// Of the handshake, where clients that are not browsers may put their credential.
    headers: HeaderMap,
    /// Where the client is.
    address: Option<IpAddr>,
    phase: Phase<B::Session>,
    /// The one of `connection_init`, or a fresh one that came with a ping.
    signing_in: Option<SigningIn<B::Session>>,
    /// Among the connections of its user, once that is known.
    place: Option<Place>,
    queue: queue::Sender<Outgoing>,
    registry: Registry,
    operations: JoinSet<()>,
}

impl<B: Backend> Connection<B> {
    async fn serve(
        &mut self,
        incoming: &mut SplitStream<WebSocket>,
        writer: &mut JoinSet<()>,
    ) -> End {
        let period = self.endpoint.options.timing.ping;
        let mut pings = interval_at(Instant::now() + period, period);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        loop {
            let step = tokio::select! {
                _ = writer.join_next() => Err(End::Cut),
                frame = incoming.next() => {
                    heard = true;
                    // In a box, since a socket waits for the next one most of its life.
                    Box::pin(self.receive(frame)).await
                }
                (session, answer) = judged(&mut self.signing_in) => {
                    self.signing_in = None;
                    self.signed_in(session, answer).await
                }
                () = deadline(&self.phase) => Err(Close::init_timeout().into()),
                reason = ended::<B>(&self.phase) => Err(Close::forbidden(reason).into()),
                Some(_) = self.operations.join_next() => Ok(()),
                _ = pings.tick() => {
                    if std::mem::take(&mut heard) {
                        self.say(Message::Ping(Vec::new().into())).await
                    } else {
                        tracing::info!("a socket was cut because nothing came from its client");
                        Err(End::Cut)
                    }
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        match frame {
            Some(Ok(Message::Text(text))) => match ClientMessage::parse(&text)? {
                ClientMessage::ConnectionInit { payload } => self.init(&payload),
                ClientMessage::Ping { payload } => self.ping(payload).await,
                ClientMessage::Pong => Ok(()),
                ClientMessage::Subscribe { id, params } => {
                    self.subscribe(id, *params, weight::of_json(text.as_bytes()))
                        .await
                }
                ClientMessage::Complete { id } => {
                    self.registry.complete(&id);
                    Ok(())
                }
            },
            Some(Ok(Message::Binary(_))) => {
                Err(Close::bad_request("The message is not text").into())
            }
            // The library answers pings itself.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) => Err(End::Goodbye),
            Some(Err(error)) if is_too_large(&error) => {
                Err(Close::too_large(self.endpoint.options.limits.body_bytes).into())
            }
            Some(Err(_)) | None => Err(End::Cut),
        }
    }

    fn init(&mut self, payload: &Value) -> Result<(), End> {
        if !matches!(self.phase, Phase::Opened { .. }) {
            return Err(Close::init_twice().into());
        }
        let credential = match credential_from_connection_init(&self.headers, payload) {
            Ok(Some(credential)) => credential,
            Err(error) => {
                return Err(
                    Close::of_sign_in(&self.endpoint.unusable(&error, self.address)).into(),
                );
            }
            Ok(None) => {
                return Err(
                    Close::forbidden("Sign in: connection_init carries no credential").into(),
                );
            }
        };
        let (endpoint, address) = (self.endpoint.clone(), self.address);
        self.phase = Phase::SigningIn;
        self.signing_in = Some(SigningIn {
            result: Box::pin(async move { endpoint.sign_in(&credential, address).await }),
            answer: ServerMessage::ConnectionAck.into_message(),
        });
        Ok(())
    }

    /// A ping is answered at once, or, if it brings a fresh credential, once that is accepted.
    async fn ping(&mut self, payload: Option<Value>) -> Result<(), End> {
        let pong = ServerMessage::Pong {
            payload: payload.as_ref(),
        }
        .into_message();
        let offered = match (&self.phase, &payload) {
            (Phase::Open(_), Some(payload)) => credential_from_ping(&self.headers, payload),
            _ => Ok(None),
        };
        // Parsed it is many times as large as the pong, which may have to wait.
        drop(payload);
        match offered {
            Ok(None) => self.say(pong).await,
            Ok(Some(credential)) => {
                let (endpoint, address) = (self.endpoint.clone(), self.address);
                let superseded = self.signing_in.replace(SigningIn {
                    result: Box::pin(async move { endpoint.sign_in(&credential, address).await }),
                    answer: pong,
                });
                match superseded {
                    Some(superseded) => self.say(superseded.answer).await,
                    None => Ok(()),
                }
            }
            Err(error) => {
                Err(Close::of_sign_in(&self.endpoint.unusable(&error, self.address)).into())
            }
        }
    }

    async fn signed_in(
        &mut self,
        result: Result<B::Session, Failure>,
        answer: Message,
    ) -> Result<(), End> {
        match (result, &self.phase) {
            (Ok(session), Phase::Open(current)) => {
                B::may_go_on(current, &session).map_err(Close::forbidden)?;
                self.phase = Phase::Open(session);
            }
            (Ok(session), _) => {
                let presence = self.endpoint.presence(&session);
                let place = self.endpoint.connect(&presence);
                let most = self.endpoint.options.limits.connections_per_user;
                self.place = Some(place.map_err(|_| Close::too_many(most))?);
                self.queue = self.queue.clone().for_user(presence);
                self.phase = Phase::Open(session);
            }
            // The credential that the socket has still holds; a later ping may do better.
            (Err(failure), Phase::Open(_)) if failure.retry_after().is_some() => {}
            (Err(failure), _) => return Err(Close::of_sign_in(&failure).into()),
        }
        self.say(answer).await
    }

    /// `bytes`: what the message that says so takes up.
    async fn subscribe(&mut self, id: String, params: Params, bytes: usize) -> Result<(), End> {
        let Phase::Open(session) = &self.phase else {
            return Err(Close::unauthorized().into());
        };
        let (session, presence) = (session.clone(), self.endpoint.presence(session));
        let running = self.registry.len();
        let awaited = self.endpoint.lifecycle.awaited();
        let Some(ticket) = self.registry.begin(id.clone(), awaited) else {
            return Err(Close::id_taken(&id).into());
        };
        let most = self.endpoint.options.limits.socket_operations;
        let admitted = match running < most {
            true => Endpoint::admit(session, presence, bytes),
            false => Err(too_many_operations(most)),
        };
        let caller = match admitted {
            Ok(caller) => caller,
            Err(failure) => {
                self.registry.end(&ticket);
                let message = ServerMessage::Error {
                    id: &id,
                    payload: std::slice::from_ref(&*failure.error),
                };
                return self.say(message.into_message()).await;
            }
        };
        let speaker = Speaker {
            ticket: ticket.clone(),
            queue: self.queue.clone(),
        };
        let run = operation::run(self.endpoint.clone(), caller, params, speaker);
        let task = self.operations.spawn(run.in_current_span());
        self.registry.started(&ticket, task);
        Ok(())
    }

    /// Waits while the queue is full: a client that says more than it hears is slowed down.
    async fn say(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            reason = ended::<B>(&self.phase) => Err(Close::forbidden(reason).into()),
            sent = self.queue.send(Outgoing::Control(message)) => sent.map_err(|_| End::Cut),
        }
    }
}

/// The outcome of the sign-in under way, or never.
async fn judged<S>(signing_in: &mut Option<SigningIn<S>>) -> (Result<S, Failure>, Message) {
    match signing_in {
        Some(signing_in) => ((&mut signing_in.result).await, signing_in.answer.clone()),
        None => pending().await,
    }
}

/// When nothing was said for too long.
async fn deadline<S>(phase: &Phase<S>) {
    match phase {
        Phase::Opened { deadline } => sleep_until(*deadline).await,
        Phase::SigningIn | Phase::Open(_) => pending().await,
    }
}

/// Why the session is over.
async fn ended<B: Backend>(phase: &Phase<B::Session>) -> &'static str {
    match phase {
        Phase::Open(session) => over::<B>(session).await,
        Phase::Opened { .. } | Phase::SigningIn => pending().await,
    }
}

fn too_many_operations(most: usize) -> Failure {
    let message = format!(
        "A socket may run at most {most} operations at once: complete one, or open another socket."
    );
    Failure::limit(Limit::SocketOperations, most as u64, message)
}

fn is_too_large(error: &axum::Error) -> bool {
    // The library's error type is not ours to name.
    std::error::Error::source(error)
        .is_some_and(|source| source.to_string().starts_with("Space limit exceeded"))
}
