//! The way of one process to its database, which can be cut.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Every connection is closed, and each new one at once.
    Severed,
}

pub struct Wire {
    pub url: SecretString,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub async fn to(url: &SecretString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = url::Url::parse(url.expose_secret()).expect("a URL");
        let mut through = server.clone();
        through.set_host(Some("127.0.0.1")).expect("a host");
        through.set_port(Some(port)).expect("a port");
        through.set_query(Some("sslmode=disable"));
        let state = Arc::new(watch::Sender::new(State::Open));
        let connections = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server.clone(), connections.subscribe()));
            }
        });
        Self {
            url: SecretString::from(through.to_string()),
            state,
            accepting,
        }
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.send_replace(State::Severed);
        self.accepting.abort();
    }
}

async fn connect(client: TcpStream, server: url::Url, state: watch::Receiver<State>) {
    if *state.borrow() == State::Severed {
        return;
    }
    let port = server.port().unwrap_or(5432);
    let folder = server.query_pairs().find(|(name, _)| name == "host");
    match folder {
        Some((_, folder)) => {
            if let Ok(server) = UnixStream::connect(format!("{folder}/.s.PGSQL.{port}")).await {
                pass(client, server, state).await;
            }
        }
        None => {
            let host = server.host_str().expect("a host");
            if let Ok(server) = TcpStream::connect((host, port)).await {
                pass(client, server, state).await;
            }
        }
    }
}

async fn pass(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    state: watch::Receiver<State>,
) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let mut severed = state.clone();
    tokio::select! {
        () = carry(from_client, to_server, state.clone()) => {}
        () = carry(from_server, to_client, state) => {}
        _ = severed.wait_for(|state| *state == State::Severed) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let passes = state.wait_for(|state| *state != State::Stalled);
        if passes.await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
