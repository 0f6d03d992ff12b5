use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use url::Url;

use super::wire::{detour, dial};

/// The same PostgreSQL at the end of a cable that a test can cut: every connection breaks, and none
/// comes about.
pub struct Cable {
    pub url: SecretString,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Nothing passes, and nobody is told.
    Stalled,
    Cut,
}

impl Cable {
    pub async fn to(url: &SecretString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = Url::parse(url.expose_secret()).expect("a URL");
        let state = watch::Sender::new(State::Whole);
        Self {
            url: detour(&server, port),
            accepting: tokio::spawn(accept(listener, server, state.subscribe())),
            state,
        }
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Connections stay open, and say nothing more until it is mended.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Url, state: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(pass(client, server.clone(), state.clone()));
    }
}

/// One connection, until either side ends it or the cable is cut.
async fn pass(client: TcpStream, server: Url, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(server) = dial(&server).await else {
        return;
    };
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::select! {
        () = carry(from_client, to_server, state.clone()) => {}
        () = carry(from_server, to_client, state.clone()) => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
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
