//! What a client says outside operations.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::mini::Mini;

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
