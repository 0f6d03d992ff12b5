//! A client of `graphql-transport-ws` that does nothing by itself, right or wrong.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderMap, HeaderName, HeaderValue, Request},
        protocol::Role,
    },
};

use crate::support::within;

pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

pub fn handshake(headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = "ws://127.0.0.1/graphql"
        .into_client_request()
        .expect("an address");
    let into: &mut HeaderMap = request.headers_mut();
    for (name, value) in headers {
        into.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a header"),
        );
    }
    request
}

impl Socket {
    pub async fn open(stream: TcpStream) -> Self {
        Self::open_with(stream, &[]).await
    }

    /// `None`: whoever listens there does not open sockets now.
    pub async fn try_open(stream: TcpStream) -> Option<Self> {
        let headers = [("sec-websocket-protocol", "graphql-transport-ws")];
        let opened = within(
            "a handshake is answered",
            client_async(handshake(&headers), stream),
        );
        let (stream, _) = opened.await.ok()?;
        Some(Self { stream })
    }

    pub async fn open_with(stream: TcpStream, headers: &[(&'static str, &str)]) -> Self {
        let mut all = vec![("sec-websocket-protocol", "graphql-transport-ws")];
        all.extend_from_slice(headers);
        let (stream, response) = client_async(handshake(&all), stream)
            .await
            .expect("a handshake");
        assert_eq!(
            response.headers()["sec-websocket-protocol"],
            "graphql-transport-ws"
        );
        Self { stream }
    }

    /// From a connection whose handshake was written by hand.
    pub async fn from_raw(stream: TcpStream) -> Self {
        Self {
            stream: WebSocketStream::from_raw_socket(stream, Role::Client, None).await,
        }
    }

    pub async fn init(&mut self, token: &str) {
        self.init_with(json!({ "token": token })).await;
    }

    pub async fn init_with(&mut self, payload: Value) {
        self.send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(self.next().await, json!({"type": "connection_ack"}));
    }

    pub async fn send(&mut self, message: Value) {
        self.say(Message::text(message.to_string())).await;
    }

    pub async fn say(&mut self, message: Message) {
        within("the server takes a message", self.stream.send(message))
            .await
            .expect("an open socket");
    }

    /// Sends what the server may already be unwilling to read.
    pub async fn try_say(&mut self, message: Message) {
        drop(within("a message leaves", self.stream.send(message)).await);
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}}))
            .await;
    }

    /// The next message of the protocol; pings of the socket itself are skipped.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => {
                    return serde_json::from_str(&text).expect("JSON");
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("not a message: {other:?}"),
            }
        }
    }

    /// `None`: the connection is gone.
    pub async fn frame(&mut self) -> Option<Message> {
        let frame = within("the server says something", self.stream.next()).await;
        frame.and_then(Result::ok)
    }

    /// Reads until the server closes, and says with which code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(close))) => {
                    return (close.code.into(), close.reason.to_string());
                }
                Some(Message::Close(None)) | None => panic!("cut without a close"),
                Some(_) => {}
            }
        }
    }

    /// Whether the server answers.
    pub async fn is_alive(&mut self) -> bool {
        self.send(json!({"type": "ping", "payload": {"alive": true}}))
            .await;
        loop {
            match self.frame().await {
                Some(Message::Text(text)) if text.contains("\"alive\"") => return true,
                Some(Message::Close(_)) | None => return false,
                Some(_) => {}
            }
        }
    }

    pub async fn hang_up(mut self) -> Option<Message> {
        self.stream.close(None).await.expect("an open socket");
        loop {
            match self.frame().await {
                Some(message @ Message::Close(_)) => return Some(message),
                Some(_) => {}
                None => return None,
            }
        }
    }
}
