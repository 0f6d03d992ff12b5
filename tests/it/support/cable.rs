use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use url::Url;

use super::wire::{detour, dial};

/// The same PostgreSQL at the end of a cable that a test can cut: every connection breaks, and none
/// comes about.
pub struct Cable {
    pub url: SecretString,
    is_whole: watch::Sender<bool>,
}

impl Cable {
    pub async fn to(url: &SecretString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = Url::parse(url.expose_secret()).expect("a URL");
        let is_whole = watch::Sender::new(true);
        let cable = Self {
            url: detour(&server, port),
            is_whole,
        };
        tokio::spawn(accept(listener, server, cable.is_whole.subscribe()));
        cable
    }

    pub fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: Url, is_whole: watch::Receiver<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(pass(client, server.clone(), is_whole.clone()));
    }
}

/// One connection, until either side ends it or the cable is cut.
async fn pass(mut client: TcpStream, server: Url, mut is_whole: watch::Receiver<bool>) {
    if !*is_whole.borrow() {
        return;
    }
    let Ok(mut server) = dial(&server).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = is_whole.wait_for(|whole| !whole) => {}
    }
}
