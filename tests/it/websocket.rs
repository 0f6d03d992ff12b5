//! `graphql-transport-ws`, rule by rule, on the transports' own small schema.

use std::time::Duration;

use loquat::http::graphql::{Options, Timing};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{client_async, tungstenite, tungstenite::Message};

use crate::{
    mini::{Mini, Socket, code, handshake, options, token_for},
    support::{eventually, within},
};

fn with_timing(change: impl FnOnce(&mut Timing)) -> Mini {
    let mut timing = Timing::default();
    change(&mut timing);
    Mini::with(Options {
        timing,
        ..options()
    })
}

async fn connection(mini: &Mini) -> TcpStream {
    let address = mini.serve().await;
    TcpStream::connect(address).await.expect("a connection")
}

fn next(id: &str, data: Value) -> Value {
    json!({"type": "next", "id": id, "payload": {"data": data}})
}

fn complete(id: &str) -> Value {
    json!({"type": "complete", "id": id})
}

// The handshake.

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

// The beginning.

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
        (
            json!({"authorization": "Basic YTpi"}),
            4403,
            "cannot be read",
        ),
        (json!({"token": 1}), 4403, "cannot be read"),
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

// Messages.

#[tokio::test]
async fn malformed_unknown_and_server_s_messages_are_closed_with_4400() {
    let mini = Mini::new();
    for message in [
        "nonsense",
        "[]",
        "{\"type\": \"start\", \"id\": \"1\"}",
        "{\"type\": \"subscribe\", \"id\": \"1\", \"payload\": {}}",
        "{\"type\": \"subscribe\", \"payload\": {\"query\": \"{ hello }\"}}",
        "{\"type\": \"next\", \"id\": \"1\", \"payload\": {}}",
        "{\"type\": \"error\", \"id\": \"1\", \"payload\": []}",
        "{\"type\": \"connection_ack\"}",
    ] {
        let mut socket = mini.open_socket().await;
        socket.say(Message::text(message)).await;
        let (code, reason) = socket.closed().await;
        assert_eq!(code, 4400, "{message}");
        assert!(!reason.is_empty() && reason.len() <= 123, "{reason}");
    }
    let mut socket = mini.open_socket().await;
    socket.say(Message::binary("{}")).await;
    assert_eq!(socket.closed().await.0, 4400);
    let mut socket = mini.open_socket().await;
    let long = format!("{{\"type\": \"{}\"}}", "ü".repeat(500));
    socket.say(Message::text(long)).await;
    assert_eq!(socket.closed().await.0, 4400);
}

#[tokio::test]
async fn a_pong_echoes_the_payload_of_its_ping_also_before_init() {
    let mini = Mini::new();
    let mut socket = mini.socket().await;
    for _ in 0..2 {
        socket
            .send(json!({"type": "ping", "payload": {"a": [1]}}))
            .await;
        let pong = json!({"type": "pong", "payload": {"a": [1]}});
        assert_eq!(socket.next().await, pong);
        socket.send(json!({"type": "pong", "payload": {}})).await;
        socket.send(json!({"type": "ping", "payload": null})).await;
        assert_eq!(socket.next().await, json!({"type": "pong"}));
    }
    socket.init("ada").await;
    assert!(socket.is_alive().await);
}

#[tokio::test]
async fn a_message_over_a_mebibyte_is_closed_with_1009() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.try_say(Message::text(" ".repeat(2 << 20))).await;
    assert_eq!(socket.closed().await.0, 1009);
}

// Operations.

#[tokio::test]
async fn queries_mutations_and_subscriptions_run_over_a_socket() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("q", "{ hello }").await;
    assert_eq!(socket.next().await, next("q", json!({"hello": "world"})));
    assert_eq!(socket.next().await, complete("q"));

    mini.controls.open("mutation");
    socket.subscribe("m", "mutation { increment }").await;
    assert_eq!(socket.next().await, next("m", json!({"increment": 1})));
    assert_eq!(socket.next().await, complete("m"));

    socket
        .send(json!({"type": "subscribe", "id": "s", "payload": {
            "query": "subscription A($n: Int!) { countTo(last: $n) } query B { hello }",
            "operationName": "A", "variables": {"n": 2}, "extensions": {"x": 1},
        }}))
        .await;
    assert_eq!(socket.next().await, next("s", json!({"countTo": 1})));
    assert_eq!(socket.next().await, next("s", json!({"countTo": 2})));
    assert_eq!(socket.next().await, complete("s"));

    socket
        .send(json!({"type": "subscribe", "id": "n", "payload": {
            "query": "{ hello }", "operationName": null, "variables": null, "extensions": null,
        }}))
        .await;
    assert_eq!(socket.next().await, next("n", json!({"hello": "world"})));
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_that_ends_the_operation_alone() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for (query, expected) in [
        ("{ hello", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ticks never }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($t: String!) { echo(text: $t) }", "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", "BAD_USER_INPUT"),
    ] {
        // The id is free again as soon as the error is there, and no complete follows it.
        socket.subscribe("1", query).await;
        let answer = socket.next().await;
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["id"], "1");
        assert_eq!(code(&json!({"errors": answer["payload"]})), expected);
    }
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.next().await, next("1", json!({"hello": "world"})));
}

#[tokio::test]
async fn what_fails_while_it_runs_is_a_next_with_errors() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("1", "{ hello fails }").await;
    let answer = socket.next().await;
    assert_eq!(answer["type"], "next");
    assert_eq!(
        answer["payload"]["data"],
        json!({"hello": "world", "fails": null})
    );
    assert_eq!(code(&answer["payload"]), "NOT_FOUND");
    assert_eq!(socket.next().await, complete("1"));

    socket
        .subscribe("2", "subscription { stumbles { number odd } }")
        .await;
    let first = socket.next().await;
    assert_eq!(
        first["payload"]["data"]["stumbles"],
        json!({"number": 1, "odd": null})
    );
    assert_eq!(code(&first["payload"]), "NOT_FOUND");
    let second = socket.next().await;
    assert_eq!(
        second,
        next("2", json!({"stumbles": {"number": 2, "odd": null}}))
    );
    assert_eq!(socket.next().await, complete("2"));

    socket.subscribe("3", "subscription { refuses }").await;
    let answer = socket.next().await;
    assert_eq!(answer["type"], "next");
    assert_eq!(answer["payload"]["data"], Value::Null);
    assert_eq!(code(&answer["payload"]), "NOT_FOUND");
    assert_eq!(socket.next().await, complete("3"));
}

#[tokio::test]
async fn a_panic_ends_its_operation_and_nothing_else() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket.subscribe("ticks", "subscription { ticks }").await;
    mini.controls.running(1).await;

    socket.subscribe("q", "{ panics }").await;
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("q"))
    );
    let error = &answer["payload"][0];
    assert_eq!(error["extensions"]["code"], "INTERNAL_SERVER_ERROR");
    assert!(error["extensions"]["requestId"].is_string());
    assert!(!answer.to_string().contains("on purpose"));

    socket.subscribe("s", "subscription { panics }").await;
    assert_eq!(socket.next().await, next("s", json!({"panics": 1})));
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("s"))
    );

    mini.controls.tick(7);
    assert_eq!(socket.next().await, next("ticks", json!({"ticks": 7})));
}

#[tokio::test]
async fn a_complete_ends_the_operation_at_once_and_frees_its_id() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for query in ["subscription { ticks }", "subscription { never }"] {
        socket.subscribe("1", query).await;
        mini.controls.running(1).await;
        socket.send(complete("1")).await;
        mini.controls.running(0).await;
    }
    socket.subscribe("1", "{ gate(name: \"shut\") }").await;
    socket.send(complete("1")).await;
    // One that ended long ago, and one that never was.
    socket.send(complete("1")).await;
    socket.send(complete("other")).await;
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.next().await, next("1", json!({"hello": "world"})));
    assert_eq!(socket.next().await, complete("1"));
}

#[tokio::test]
async fn an_id_in_use_is_closed_with_4409() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    let id = "ü".repeat(100);
    socket.subscribe(&id, "subscription { never }").await;
    mini.controls.running(1).await;
    socket.subscribe(&id, "{ hello }").await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4409);
    assert!(reason.starts_with("Subscriber for ü") && reason.len() <= 123);
    mini.controls.running(0).await;
}

#[tokio::test]
async fn an_id_may_be_used_again_as_soon_as_its_complete_is_there() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for _ in 0..200 {
        socket.subscribe("1", "{ hello }").await;
        assert_eq!(socket.next().await["type"], "next");
        assert_eq!(socket.next().await, complete("1"));
    }
}

#[tokio::test]
async fn an_id_used_again_never_gets_what_was_meant_for_its_predecessor() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for round in 0..50 {
        socket
            .subscribe("1", "subscription { flood(bytes: 10) }")
            .await;
        assert_eq!(socket.next().await["type"], "next");
        socket.send(complete("1")).await;
        socket
            .subscribe("1", &format!("{{ echo(text: \"{round}\") }}"))
            .await;
        let mut answer = socket.next().await;
        while answer["payload"]["data"]["flood"].is_string() {
            answer = socket.next().await;
        }
        assert_eq!(answer, next("1", json!({"echo": round.to_string()})));
        assert_eq!(socket.next().await, complete("1"));
    }
}

#[tokio::test]
async fn a_socket_runs_a_hundred_operations_and_refuses_the_next_alone() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    for id in 0..100 {
        socket
            .subscribe(&id.to_string(), "subscription { never }")
            .await;
    }
    mini.controls.running(100).await;
    socket.subscribe("more", "{ hello }").await;
    let answer = socket.next().await;
    assert_eq!(
        (&answer["type"], &answer["id"]),
        (&json!("error"), &json!("more"))
    );
    assert_eq!(answer["payload"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
    assert_eq!(answer["payload"][0]["extensions"]["value"], 100);
    socket.send(complete("7")).await;
    socket.subscribe("more", "{ hello }").await;
    assert_eq!(socket.next().await, next("more", json!({"hello": "world"})));
}

#[tokio::test]
async fn one_that_always_has_more_starves_no_other() {
    let mini = Mini::new();
    let mut socket = mini.open_socket().await;
    socket
        .subscribe("flood", "subscription { flood(bytes: 10) }")
        .await;
    socket.subscribe("ticks", "subscription { ticks }").await;
    mini.controls.running(2).await;
    mini.controls.tick(1);
    socket.subscribe("query", "{ hello }").await;
    let mut waiting = vec!["ticks", "query"];
    for _ in 0..100_000 {
        let answer = socket.next().await;
        waiting.retain(|id| answer["id"] != *id);
        if waiting.is_empty() {
            return;
        }
    }
    panic!("{waiting:?} did not get a word in");
}

// The end.

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
    let mini = with_timing(|timing| timing.ping = Duration::from_millis(100));
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
    let expiry = tokio::time::Instant::now() + Duration::from_millis(400);
    socket
        .init(&token_for("ada", Duration::from_millis(400)))
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
