//! Handshakes by pages and host names that are not the server's own, and too many sockets.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{assert_harmless, ends_without_a_fault, still_answers};
use crate::{
    provider::FakeProvider,
    support::{
        TestDatabase, eventually,
        process::{Answer, Device, program},
        within,
    },
};

#[tokio::test]
async fn a_socket_is_opened_for_no_foreign_page_and_no_foreign_host() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    for (host, origin) in [
        ("localhost", "Origin: https://evil.example.com\r\n"),
        ("localhost", "Origin: null\r\n"),
        ("localhost", "Origin: http://localhost:1\r\n"),
        (
            "rebound.example.com",
            "Origin: http://rebound.example.com\r\n",
        ),
        ("rebound.example.com", ""),
    ] {
        let mut stream = TcpStream::connect(server.address())
            .await
            .expect("a connection");
        let request = format!(
            "GET /graphql HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, close\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: graphql-transport-ws\r\n{origin}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer))
            .await
            .expect("text");
        assert!(
            answer.starts_with("HTTP/1.1 403 "),
            "{host} {origin}: {answer}"
        );
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_harmless(origin, &body["errors"]);
        assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN");
    }
    still_answers(&Device::of(&server, "mallory")).await;
    ends_without_a_fault(server).await;
}

#[tokio::test]
async fn an_open_socket_keeps_its_place_among_the_connections_until_it_is_closed() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model)
        .variable("LOQUAT_MAX_CONNECTIONS", "10")
        .serve()
        .await;
    let device = Device::of(&server, "mallory");
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(device.socket().await);
    }
    let asked = async || {
        let once = device.post().header("connection", "close");
        Answer::to(once.json(&json!({ "query": "{ viewer { id } }" }))).await
    };
    let refused = asked().await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.code(), "UNAVAILABLE");
    assert_eq!(refused.headers["retry-after"], "5");

    sockets.pop();
    eventually("a place is free", || async {
        (asked().await.status == 200).then_some(())
    })
    .await;
    drop(sockets);
    ends_without_a_fault(server).await;
}
