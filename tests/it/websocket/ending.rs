//! How a socket ends: by the client, by its silence, by its credential, and by a stop.

use std::{pin::pin, time::Duration};

use futures_util::poll;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio_tungstenite::{client_async, tungstenite, tungstenite::Message};

use super::{complete, connection, next, with_timing};
use crate::{
    mini::{Mini, Socket, handshake, token_for},
    support::{eventually, within},
};

#[tokio::test]
async fn a_client_that_says_goodbye_is_answered_and_leaves_nothing_behind() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "subscription { never }").await;
    mini.controls.running(1).await;
    let goodbye = socket.hang_up().await;
    assert!(matches!(goodbye, Some(Message::Close(_))), "{goodbye:?}");
    mini.controls.running(0).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket
        .subscribe("1", "subscription { flood(bytes: 1000) }")
        .await;
    socket.subscribe("2", "subscription { never }").await;
    mini.controls.running(2).await;
    drop(socket);
    mini.controls.running(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_subscriptions_back_and_is_cut() {
    let mini = with_timing(|timing| timing.send = Duration::from_millis(500));
    let address = mini.serve().await;
    let dialling = TcpSocket::new_v4().expect("a socket");
    dialling.set_recv_buffer_size(4096).expect("a small buffer");
    let stream = dialling.connect(address).await.expect("a connection");
    let mut socket = Socket::open(stream).await;
    socket.init("ada").await;
    socket
        .subscribe("1", "subscription { flood(bytes: 100000) }")
        .await;
    mini.controls.running(1).await;
    // Nothing is read from here on.
    mini.controls.running(0).await;
    // What the kernel's buffers take, and a queue: far from what an unbounded one would hold.
    assert!(
        mini.controls.produced() < 300,
        "{}",
        mini.controls.produced()
    );
}

#[tokio::test]
async fn a_slow_client_gets_everything_in_order() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket
        .subscribe("1", "subscription { countTo(last: 2000) }")
        .await;
    for number in 1..=2000 {
        if number % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(socket.next().await, next("1", json!({"countTo": number})));
    }
    assert_eq!(socket.next().await, complete("1"));
}

#[tokio::test]
async fn the_server_pings_and_cuts_who_does_not_answer() {
    let mini = with_timing(|timing| timing.ping = Duration::from_millis(300));
    let mut answering = mini.open_socket().await;
    for _ in 0..4 {
        // Reading is what makes the client library answer.
        let frame = answering.frame().await;
        assert!(matches!(frame, Some(Message::Ping(_))), "{frame:?}");
    }
    assert!(answering.is_alive().await);

    let mut silent = mini.open_socket().await;
    silent.subscribe("1", "subscription { never }").await;
    mini.controls.running(1).await;
    mini.controls.running(0).await;
}

#[tokio::test]
async fn a_socket_is_closed_with_4403_when_its_credential_expires() {
    let mini = Mini::new();
    let mut socket = mini.socket().await;
    socket
        .init(&token_for("ada", Duration::from_millis(300)))
        .await;
    socket.subscribe("1", "subscription { never }").await;
    mini.controls.running(1).await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4403);
    assert!(reason.contains("expired"), "{reason}");
    mini.controls.running(0).await;
}

#[tokio::test]
async fn a_ping_with_a_fresh_credential_of_the_same_user_extends_the_socket() {
    let mini = Mini::new();
    let mut socket = mini.socket().await;
    let expiry = tokio::time::Instant::now() + Duration::from_millis(1_000);
    socket
        .init(&token_for("ada", Duration::from_millis(1_000)))
        .await;
    let payload = json!({"token": token_for("ada", Duration::from_secs(60))});
    socket
        .send(json!({"type": "ping", "payload": payload}))
        .await;
    assert_eq!(
        socket.next().await,
        json!({"type": "pong", "payload": payload})
    );
    // One that cannot be judged right now changes nothing.
    socket
        .send(json!({"type": "ping", "payload": {"token": "unavailable"}}))
        .await;
    assert_eq!(socket.next().await["type"], "pong");
    tokio::time::sleep_until(expiry + Duration::from_millis(200)).await;
    assert!(socket.is_alive().await);
}

#[tokio::test]
async fn a_ping_with_another_user_s_or_a_refused_credential_is_closed_with_4403() {
    let mini = Mini::new();
    for token in ["bob", "refused"] {
        let mut socket = mini.open_socket().await;
        socket
            .send(json!({"type": "ping", "payload": {"token": token}}))
            .await;
        assert_eq!(socket.closed().await.0, 4403, "{token}");
    }
}

#[tokio::test]
async fn a_session_that_is_over_closes_its_socket_with_4403_and_ends_what_runs_on_it() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "subscription { never }").await;
    mini.controls.running(1).await;
    mini.controls.open("end of ada");
    let expected = (4403, "The test has ended the session".to_owned());
    assert_eq!(socket.closed().await, expected);
    mini.controls.running(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_outlive_its_session() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket
        .subscribe("1", "subscription { flood(bytes: 100000) }")
        .await;
    mini.controls.running(1).await;
    let produced = || mini.controls.produced();
    eventually("the socket is stuck", async || {
        let before = produced();
        tokio::time::sleep(Duration::from_millis(100)).await;
        (produced() == before).then_some(())
    })
    .await;
    mini.controls.open("end of ada");
    let begun = tokio::time::Instant::now();
    mini.controls.running(0).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    // What it asks for now is not answered any more either.
    socket.try_say(Message::text("{}")).await;
}

#[tokio::test]
async fn a_soft_stop_lets_operations_go_on_and_refuses_new_ones_and_a_hard_stop_closes_with_1012() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "subscription { ticks }").await;
    mini.controls.running(1).await;
    mini.lifecycle.begin_soft_stop();

    mini.controls.tick(5);
    assert_eq!(socket.next().await, next("1", json!({"ticks": 5})));
    socket.subscribe("2", "{ hello }").await;
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("2"))
    );
    let extensions = &answer["payload"][0]["extensions"];
    assert_eq!(extensions["code"], "UNAVAILABLE");
    assert!(extensions["retryAfter"].as_u64().is_some());

    let headers = [("sec-websocket-protocol", "graphql-transport-ws")];
    let stream = connection(&mini).await;
    match client_async(handshake(&headers), stream).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }

    mini.lifecycle.begin_hard_stop();
    assert_eq!(socket.closed().await, (1012, "Service restart".to_owned()));
    drop(socket);
    within("every task ends", mini.lifecycle.finished()).await;
}

#[tokio::test]
async fn a_process_settles_once_its_sockets_have_nothing_more_to_say() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "subscription { ticks }").await;
    socket.subscribe("2", "subscription { never }").await;
    mini.controls.running(2).await;
    mini.lifecycle.begin_soft_stop();
    let mut settled = pin!(mini.lifecycle.settled());
    for id in ["1", "2"] {
        assert!(poll!(&mut settled).is_pending());
        socket.send(complete(id)).await;
    }
    within("nothing is awaited", settled).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_client_that_does_not_read() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket
        .subscribe("1", "subscription { flood(bytes: 100000) }")
        .await;
    mini.controls.running(1).await;
    let stuck = eventually("the socket is stuck", async || {
        let before = mini.controls.produced();
        tokio::time::sleep(Duration::from_millis(100)).await;
        (mini.controls.produced() == before).then_some(before)
    })
    .await;
    assert!(stuck > 0);
    mini.lifecycle.begin_hard_stop();
    within("every task ends", mini.lifecycle.finished()).await;
    drop(socket);
}
