//! Accepts connections and ends them.
//!
//! Every connection is a task of the [`Lifecycle`]. A client that takes its time over the first
//! byte or the headers is cut off, so that idle sockets cannot use up the process; a body's limit
//! belongs to the handler that reads it.

use std::{pin::pin, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::lifecycle::Lifecycle;

/// How long a connection may wait for a request's headers, between requests too: longer than the
/// proxies in front (60 s is their custom), or they would send into a connection being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How often an HTTP/2 connection is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The pause after a failed accept: when file descriptors run out, some may come back.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until the hard stop. Connections that are open then finish their request as tasks of
/// the lifecycle.
pub async fn serve(listener: TcpListener, router: Router, lifecycle: Lifecycle) {
    loop {
        let accepted = tokio::select! {
            () = lifecycle.hard_stop().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                lifecycle.spawn(connection(stream, router.clone(), lifecycle.clone()));
            }
            Err(error) if is_the_client_s(&error) => {}
            Err(error) => {
                tracing::error!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, lifecycle: Lifecycle) {
    // Deltas are small and must not wait for one another.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut first = [0];
    tokio::select! {
        () = lifecycle.hard_stop().cancelled() => return,
        peeked = timeout(HEADER_TIMEOUT, stream.peek(&mut first)) => {
            if !matches!(peeked, Ok(Ok(1..))) {
                return;
            }
        }
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .enable_connect_protocol();
    let mut serving = pin!(builder.serve_connection_with_upgrades(
        TokioIo::new(stream),
        TowerToHyperService::new(router),
    ));
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
