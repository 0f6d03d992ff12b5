//! From an open socket to an acknowledged one: in time, once, and by somebody.

use std::time::Duration;

use serde_json::json;

use super::{connection, next, with_timing};
use crate::mini::{Mini, Socket};

#[tokio::test]
async fn a_socket_that_does_not_init_is_closed_with_4408_and_pings_do_not_help() {
    let mini = with_timing(|timing| timing.init = Duration::from_millis(200));
    let mut socket = mini.socket().await;
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4408);
    assert_eq!(reason, "Connection initialisation timeout");
}

#[tokio::test]
async fn the_init_limit_does_not_count_the_time_that_sign_in_takes() {
    let mini = with_timing(|timing| timing.init = Duration::from_millis(100));
    let mut socket = mini.socket().await;
    socket
        .send(json!({"type": "connection_init", "payload": {"token": "slow"}}))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(socket.is_alive().await);
    mini.controls.open("sign-in");
    assert_eq!(socket.next().await, json!({"type": "connection_ack"}));
}

#[tokio::test]
async fn a_second_init_is_closed_with_4429_before_and_after_the_ack() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.send(json!({"type": "connection_init"})).await;
    let (code, reason) = socket.closed().await;
    assert_eq!((code, &*reason), (4429, "Too many initialisation requests"));

    let mut socket = mini.socket().await;
    let init = json!({"type": "connection_init", "payload": {"token": "slow"}});
    socket.send(init.clone()).await;
    socket.send(init).await;
    assert_eq!(socket.closed().await.0, 4429);
}

#[tokio::test]
async fn a_subscribe_before_the_ack_is_closed_with_4401() {
    let mini = Mini::new();
    let mut socket = mini.socket().await;
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.closed().await, (4401, "Unauthorized".to_owned()));

    let mut socket = mini.socket().await;
    let init = json!({"type": "connection_init", "payload": {"token": "slow"}});
    socket.send(init).await;
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.closed().await.0, 4401);
    assert_eq!(mini.controls.resolved(), 0);
}

#[tokio::test]
async fn no_credential_and_a_refused_one_are_closed_with_4403_and_sign_in_out_of_order_with_1013() {
    let mini = Mini::new();
    for (payload, expected, reason) in [
        (json!(null), 4403, "no credential"),
        (json!({"token": "refused"}), 4403, "not accepted"),
        (json!({"authorization": "Basic YTpi"}), 4403, "not accepted"),
        (json!({"token": 1}), 4403, "not accepted"),
        (json!({"token": "unavailable"}), 1013, "Try again later"),
    ] {
        let mut socket = mini.socket().await;
        socket
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        let (code, text) = socket.closed().await;
        assert_eq!(code, expected, "{payload}");
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn the_credential_comes_in_the_payload_or_in_the_handshake() {
    let mini = Mini::new();
    for payload in [
        json!({"token": "ada"}),
        json!({"authorization": "Bearer ada"}),
        json!({"Authorization": "Bearer ada"}),
        json!({"headers": {"authorization": "Bearer ada"}}),
        json!({"headers": {"X-User-Id": "ada"}}),
    ] {
        let mut socket = mini.socket().await;
        socket
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(socket.next().await, json!({"type": "connection_ack"}));
        socket.subscribe("1", "{ who }").await;
        assert_eq!(socket.next().await, next("1", json!({"who": "ada"})));
    }
    let stream = connection(&mini).await;
    let mut socket = Socket::open_with(stream, &[("authorization", "Bearer ada")]).await;
    socket.send(json!({"type": "connection_init"})).await;
    assert_eq!(socket.next().await, json!({"type": "connection_ack"}));
}
