//! Accepts connections and ends them.
//!
//! Every connection is a task of the [`Lifecycle`]. A client that takes its time over the headers,
//! or takes nothing of what it is sent, is cut off, so that idle sockets cannot use up the process;
//! a body's limit belongs to the handler that reads it. There are only so many connections: the next
//! one is told to come again. HTTP/1.1 alone: browsers speak HTTP/2 only over TLS, which ends at a
//! proxy, and proxies come by HTTP/1.1.

use std::{
    convert::Infallible,
    future::pending,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::Response};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use super::{client_address::client_address, refusal::refusal};
use crate::lifecycle::Lifecycle;

/// How long a connection may wait for a request's headers, between requests too: longer than the
/// proxies in front (60 s is their custom), or they would send into a connection being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a connection may take to its first request: no proxy opens one long before it needs it.
const FIRST_HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// How much of a request is held until its headers are whole, in bytes; and how much of an answer
/// waits in the connection before more of it is asked for. A line has 64 KiB at most.
const BUFFER_BYTES: usize = 128 << 10;

/// How long a client may take nothing of what it is sent: longer than sockets and streams wait for
/// theirs, which say more about it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a failed accept: when file descriptors run out, some may come back.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How many connections that are one too many are told so at once. More are closed without a word.
pub const MOST_REFUSALS: usize = 100;

/// When they are to come again, in seconds.
const FULL_RETRY_AFTER: u16 = 5;

/// How long telling one may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a request came from: the other end of its connection, or whom a proxy that is trusted
/// asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// One of the connections that there may be. A socket goes on when its request is answered, and
/// must keep it.
#[derive(Clone, Debug)]
pub struct Seat {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// What every connection needs.
#[derive(Clone)]
pub struct Server {
    router: Router,
    trusted_proxies: Arc<[IpNet]>,
    most_connections: usize,
    lifecycle: Lifecycle,
}

impl Server {
    /// For as many connections as there may be, and with no proxy in front.
    pub fn new(router: Router, lifecycle: Lifecycle) -> Self {
        Self {
            router,
            trusted_proxies: Arc::default(),
            most_connections: Semaphore::MAX_PERMITS,
            lifecycle,
        }
    }

    /// What these say of where a request came from is believed.
    pub fn behind(self, trusted_proxies: &[IpNet]) -> Self {
        Self {
            trusted_proxies: trusted_proxies.into(),
            ..self
        }
    }

    pub fn with_at_most(self, most_connections: usize) -> Self {
        Self {
            most_connections,
            ..self
        }
    }

    /// Serves until the hard stop. Connections that are open then finish their request as tasks of
    /// the lifecycle.
    pub async fn serve(self, listener: TcpListener) {
        let seats = Arc::new(Semaphore::new(self.most_connections));
        let refusals = Arc::new(Semaphore::new(MOST_REFUSALS));
        loop {
            let accepted = tokio::select! {
                () = self.lifecycle.hard_stop().cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&seats).try_acquire_owned() {
                    Ok(permit) => {
                        let seat = Seat {
                            _permit: Arc::new(permit),
                        };
                        let connection =
                            self.clone()
                                .connection(stream, peer.ip(), seat, WRITE_TIMEOUT);
                        self.lifecycle.spawn(connection);
                    }
                    Err(_) => {
                        if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                            self.lifecycle.spawn(refuse(stream, permit));
                        }
                    }
                },
                Err(error) if is_the_client_s(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: IpAddr,
        seat: Seat,
        write_timeout: Duration,
    ) {
        // Deltas are small and must not wait for one another.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(write_timeout));
        let asked = Arc::new(AtomicBool::new(false));
        let (trusted_proxies, has_asked) = (self.trusted_proxies, Arc::clone(&asked));
        let service = self
            .router
            .map_request(move |mut request: Request<Incoming>| {
                has_asked.store(true, Ordering::Relaxed);
                let address = client_address(peer, request.headers(), &trusted_proxies);
                request.extensions_mut().insert(ClientAddress(address));
                request.extensions_mut().insert(seat.clone());
                request
            });
        let mut serving = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(
                    TokioIo::new(Box::pin(stream)),
                    TowerToHyperService::new(service)
                )
                .with_upgrades()
        );
        let never_asks = async {
            sleep(FIRST_HEADER_TIMEOUT).await;
            if asked.load(Ordering::Relaxed) {
                pending().await
            }
        };
        // An error here is a client that went away or spoke something else than HTTP; its requests
        // that got an answer are in the log.
        tokio::select! {
            ended = serving.as_mut() => drop(ended),
            () = never_asks => {}
            () = self.lifecycle.hard_stop().cancelled() => {
                serving.as_mut().graceful_shutdown();
                drop(serving.await);
            }
        }
    }
}

/// Says that there is no room, whatever the client asks.
async fn refuse(stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let mut serving = http1::Builder::new();
    let serving = serving
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(full));
    drop(timeout(REFUSAL_TIMEOUT, serving).await);
}

async fn full(_: Request<Incoming>) -> Result<Response, Infallible> {
    let mut refusal = refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "UNAVAILABLE",
        "The server has all the connections that it takes. Try again in a moment.",
    );
    let retry_after = HeaderValue::from(FULL_RETRY_AFTER);
    refusal
        .headers_mut()
        .insert(header::RETRY_AFTER, retry_after);
    Ok(refusal)
}

/// The connection was gone before it was accepted.
fn is_the_client_s(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::{Notify, Semaphore},
        time::Instant,
    };

    use super::{BUFFER_BYTES, FIRST_HEADER_TIMEOUT, HEADER_TIMEOUT, Seat, Server};
    use crate::lifecycle::Lifecycle;

    async fn started(router: Router) -> (std::net::SocketAddr, Lifecycle) {
        start(Server::new(router, Lifecycle::new())).await
    }

    async fn start(server: Server) -> (std::net::SocketAddr, Lifecycle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let lifecycle = server.lifecycle.clone();
        lifecycle.spawn(server.serve(listener));
        (address, lifecycle)
    }

    async fn read_to_end(mut client: TcpStream) -> String {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("a clean end");
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test]
    async fn the_hard_stop_ends_idle_connections_and_lets_a_request_finish() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (entered, leave) = (entered.clone(), leave.clone());
            async move || {
                entered.notify_one();
                leave.notified().await;
                "finished"
            }
        };
        let (address, lifecycle) = started(Router::new().route("/", get(handler))).await;
        let silent = TcpStream::connect(address).await.expect("connected");
        let mut busy = TcpStream::connect(address).await.expect("connected");
        busy.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("sent");
        entered.notified().await;

        lifecycle.begin_hard_stop();

        assert_eq!(read_to_end(silent).await, "");
        leave.notify_one();
        assert!(read_to_end(busy).await.ends_with("finished"));
        lifecycle.finished().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_finishes_its_headers_is_cut_off() {
        let (address, lifecycle) = started(Router::new()).await;
        for beginning in ["", "P", "GET / HTTP/1.1\r\nHost: loc"] {
            let begun = Instant::now();
            let mut client = TcpStream::connect(address).await.expect("connected");
            client.write_all(beginning.as_bytes()).await.expect("sent");
            assert_eq!(read_to_end(client).await, "", "{beginning}");
            let limits = FIRST_HEADER_TIMEOUT..FIRST_HEADER_TIMEOUT * 2;
            assert!(limits.contains(&begun.elapsed()), "{beginning}");
        }
        // Who has asked before may take more time, as proxies do that keep connections.
        let begun = Instant::now();
        let mut client = TcpStream::connect(address).await.expect("connected");
        let whole = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(whole).await.expect("sent");
        assert!(read_to_end(client).await.starts_with("HTTP/1.1 404 "));
        assert!(begun.elapsed() >= HEADER_TIMEOUT);
        lifecycle.begin_hard_stop();
        lifecycle.finished().await;
    }

    #[tokio::test]
    async fn headers_that_never_end_are_refused_before_they_take_up_much() {
        let (address, lifecycle) = started(Router::new()).await;
        let mut client = TcpStream::connect(address).await.expect("connected");
        let mut headers = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ".to_vec();
        headers.resize(BUFFER_BYTES, b'a');
        client.write_all(&headers).await.expect("sent");
        assert!(read_to_end(client).await.starts_with("HTTP/1.1 431 "));
        lifecycle.begin_hard_stop();
        lifecycle.finished().await;
    }

    #[tokio::test]
    async fn a_client_that_never_reads_its_answer_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (stream, peer) = listener.accept().await.expect("accepted");
        let router = Router::new().route("/", get(async || vec![b'x'; 64 << 20]));
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned();
        let seat = Seat {
            _permit: Arc::new(permit.expect("free")),
        };
        let limit = Duration::from_millis(300);
        let serving = tokio::spawn(Server::new(router, Lifecycle::new()).connection(
            stream,
            peer.ip(),
            seat,
            limit,
        ));
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("sent");
        let limit = Duration::from_secs(20);
        let ended = tokio::time::timeout(limit, serving).await;
        ended.expect("it is cut").expect("no panic");
        assert!(read_to_end(client).await.len() < 64 << 20);
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_to_come_again_and_finds_room_when_one_has_gone() {
        let router = Router::new().route("/", get(async || "served"));
        let (address, lifecycle) =
            start(Server::new(router, Lifecycle::new()).with_at_most(1)).await;
        let ask = async || {
            let mut client = TcpStream::connect(address).await.expect("connected");
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await
                .expect("sent");
            read_to_end(client).await
        };
        let idle = TcpStream::connect(address).await.expect("connected");
        let refused = ask().await;
        let (head, body) = refused.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("\r\nretry-after: 5\r\n"), "{head}");
        let answer: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAVAILABLE");

        drop(idle);
        while !ask().await.ends_with("served") {
            tokio::task::yield_now().await;
        }
        lifecycle.begin_hard_stop();
        lifecycle.finished().await;
    }
}
