//! Accepts connections and ends them.
//!
//! Every connection is a task of the [`Lifecycle`]. A client that takes its time over the headers,
//! or takes nothing of what it is sent, is cut off, so that idle sockets cannot use up the process;
//! a body's limit belongs to the handler that reads it. HTTP/1.1 alone: browsers speak HTTP/2 only over TLS, which ends at a
//! proxy, and proxies come by HTTP/1.1.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use super::client_address::client_address;
use crate::lifecycle::Lifecycle;

/// How long a connection may wait for a request's headers, between requests too: longer than the
/// proxies in front (60 s is their custom), or they would send into a connection being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a client may take nothing of what it is sent: longer than sockets and streams wait for
/// theirs, which say more about it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a failed accept: when file descriptors run out, some may come back.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where a request came from: the other end of its connection, or whom a proxy that is trusted
/// asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Serves until the hard stop. Connections that are open then finish their request as tasks of
/// the lifecycle. What the trusted proxies say of where a request came from is believed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    trusted_proxies: Arc<[IpNet]>,
    lifecycle: Lifecycle,
) {
    loop {
        let accepted = tokio::select! {
            () = lifecycle.hard_stop().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                lifecycle.spawn(connection(
                    stream,
                    peer.ip(),
                    router.clone(),
                    trusted_proxies.clone(),
                    lifecycle.clone(),
                    WRITE_TIMEOUT,
                ));
            }
            Err(error) if is_the_client_s(&error) => {}
            Err(error) => {
                tracing::error!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    trusted_proxies: Arc<[IpNet]>,
    lifecycle: Lifecycle,
    write_timeout: Duration,
) {
    // Deltas are small and must not wait for one another.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    let service = router.map_request(move |mut request: Request<Incoming>| {
        let address = client_address(peer, request.headers(), &trusted_proxies);
        request.extensions_mut().insert(ClientAddress(address));
        request
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(
                TokioIo::new(Box::pin(stream)),
                TowerToHyperService::new(service)
            )
            .with_upgrades()
    );
    // An error here is a client that went away or spoke something else than HTTP; its requests
    // that got an answer are in the log.
    tokio::select! {
        ended = serving.as_mut() => drop(ended),
        () = lifecycle.hard_stop().cancelled() => {
            serving.as_mut().graceful_shutdown();
            drop(serving.await);
        }
    }
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
        sync::Notify,
    };

    use super::{connection, serve};
    use crate::lifecycle::Lifecycle;

    async fn started(router: Router) -> (std::net::SocketAddr, Lifecycle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(serve(listener, router, Arc::default(), lifecycle.clone()));
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
            let mut client = TcpStream::connect(address).await.expect("connected");
            client.write_all(beginning.as_bytes()).await.expect("sent");
            assert_eq!(read_to_end(client).await, "", "{beginning}");
        }
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
        let serving = tokio::spawn(connection(
            stream,
            peer.ip(),
            router,
            Arc::default(),
            Lifecycle::new(),
            Duration::from_millis(300),
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
}
