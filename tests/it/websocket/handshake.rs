//! Before a socket is open: which protocol it speaks, and whose page asks.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{client_async, tungstenite};

use super::connection;
use crate::{
    mini::{Mini, Socket, code, handshake},
    support::within,
};

/// Writes a handshake by hand, because a client library would not accept the answer.
async fn raw_handshake(mini: &Mini, more: &str) -> (TcpStream, String) {
    let mut stream = connection(mini).await;
    let request = format!(
        "GET /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = within("the handshake is answered", stream.read_u8()).await;
        head.push(byte.expect("an answer"));
    }
    (stream, String::from_utf8(head).expect("text"))
}

#[tokio::test]
async fn another_subprotocol_or_none_is_closed_with_4406() {
    let mini = Mini::new();
    for protocol in ["sec-websocket-protocol: graphql-ws\r\n", ""] {
        let (stream, head) = raw_handshake(&mini, protocol).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(!head.contains("sec-websocket-protocol"), "{head}");
        let (code, reason) = Socket::from_raw(stream).await.closed().await;
        assert_eq!((code, &*reason), (4406, "Subprotocol not acceptable"));
    }
    let both = "sec-websocket-protocol: graphql-ws, graphql-transport-ws\r\n";
    let (stream, head) = raw_handshake(&mini, both).await;
    assert!(head.contains("sec-websocket-protocol: graphql-transport-ws"));
    Socket::from_raw(stream).await.init("ada").await;
}

#[tokio::test]
async fn a_foreign_origin_is_refused_at_the_handshake() {
    let mini = Mini::new();
    for (origin, allowed) in [
        ("https://evil.example.com", false),
        ("null", false),
        ("https://app.example.com", true),
        ("http://127.0.0.1", true),
    ] {
        let headers = [
            ("sec-websocket-protocol", "graphql-transport-ws"),
            ("origin", origin),
        ];
        let opened = client_async(handshake(&headers), connection(&mini).await).await;
        match opened {
            Ok(_) => assert!(allowed, "{origin}"),
            Err(tungstenite::Error::Http(response)) => {
                assert!(!allowed, "{origin}");
                assert_eq!(response.status(), 403);
                let body: Value = serde_json::from_slice(response.body().as_ref().expect("a body"))
                    .expect("JSON");
                assert_eq!(code(&body), "FORBIDDEN");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_credential_in_the_url_is_refused_at_the_handshake() {
    let mini = Mini::new();
    let mut request = handshake(&[("sec-websocket-protocol", "graphql-transport-ws")]);
    *request.uri_mut() = "ws://127.0.0.1/graphql?access_token=ada"
        .parse()
        .expect("an address");
    let opened = client_async(request, connection(&mini).await).await;
    let Err(tungstenite::Error::Http(response)) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(response.status(), 401);
    let body = response.body().as_ref().expect("a body");
    let body: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(code(&body), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_a_graphql_error() {
    let mini = Mini::new();
    let mut stream = connection(&mini).await;
    let request = "GET /graphql HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
                   connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("an answer comes", stream.read_to_string(&mut answer))
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("BAD_USER_INPUT"));
}
