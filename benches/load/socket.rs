//! A client of `graphql-transport-ws` that costs this process little, since there are thousands.

use std::{io, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};

/// A connection of the nth client. From one address there are too few ports for all of them: the
/// kernel would look for a free one for longer than anything else here takes.
pub async fn connect(address: SocketAddr, n: usize) -> io::Result<TcpStream> {
    let own = u8::try_from(n % 16).expect("small");
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 1, own], 0)))?;
    socket.connect(address).await
}

pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// A handshake and nothing more.
    pub async fn open(stream: TcpStream) -> Result<Self, Error> {
        let mut request = "ws://localhost/graphql".into_client_request()?;
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        // The default of 128 KiB would be held by each of them.
        let config = WebSocketConfig::default()
            .read_buffer_size(2048)
            .write_buffer_size(0);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self(socket))
    }

    /// Signed in, and told so.
    pub async fn of(address: SocketAddr, n: usize, user: &str) -> Result<Self, String> {
        let stream = connect(address, n).await.map_err(say)?;
        let mut socket = Self::open(stream).await.map_err(say)?;
        socket.init(user).await?;
        Ok(socket)
    }

    pub async fn init(&mut self, user: &str) -> Result<(), String> {
        let payload = json!({ "X-User-Id": user });
        self.send(json!({ "type": "connection_init", "payload": payload }))
            .await?;
        let answer = self.next().await?;
        match answer["type"].as_str() {
            Some("connection_ack") => Ok(()),
            _ => Err(answer.to_string()),
        }
    }

    /// `id` is free again once it has ended.
    pub async fn subscribe(
        &mut self,
        id: &str,
        query: &str,
        variables: Value,
    ) -> Result<(), String> {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload }))
            .await
    }

    /// The next message of the protocol; that the socket ended is an error.
    pub async fn next(&mut self) -> Result<Value, String> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(say);
                }
                // The library answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                ended => return Err(format!("the socket ended: {ended:?}")),
            }
        }
    }

    pub fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }

    async fn send(&mut self, message: Value) -> Result<(), String> {
        let message = Message::text(message.to_string());
        self.0.send(message).await.map_err(say)
    }
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}
