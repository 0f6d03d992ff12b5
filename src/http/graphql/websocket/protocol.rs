//! The messages of `graphql-transport-ws` and the codes with which a socket is closed.

use async_graphql::ServerError;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::{
    failure::Failure,
    params::Params,
    respond::{Payload, prefix},
};
use crate::model::Limit;

pub(super) const SUBPROTOCOL: &str = "graphql-transport-ws";

/// An id is repeated with every message of its operation.
const LONGEST_ID: usize = 255;

/// RFC 6455, 5.5.1: a control frame holds 125 bytes, two of them the code.
const LONGEST_REASON: usize = 123;

/// What a client says.
#[derive(Debug)]
pub(super) enum ClientMessage {
    ConnectionInit { payload: Value },
    Ping { payload: Option<Value> },
    Pong,
    Subscribe { id: String, params: Box<Params> },
    Complete { id: String },
}

impl ClientMessage {
    /// The error closes the socket: the protocol knows no smaller answer to a malformed message.
    pub fn parse(text: &str) -> Result<Self, Close> {
        let message = serde_json::from_str(text)
            .map_err(|_| Close::bad_request("The message is not JSON"))?;
        let Value::Object(mut message) = message else {
            return Err(Close::bad_request("The message is not an object"));
        };
        let Some(Value::String(kind)) = message.remove("type") else {
            return Err(Close::bad_request("The message's type is not a string"));
        };
        match kind.as_str() {
            "connection_init" => Ok(Self::ConnectionInit {
                payload: payload(&mut message)?.unwrap_or_default(),
            }),
            "ping" => Ok(Self::Ping {
                payload: payload(&mut message)?,
            }),
            "pong" => payload(&mut message).map(|_| Self::Pong),
            "subscribe" => {
                let id = id(&mut message)?;
                let Some(payload @ Value::Object(_)) = message.remove("payload") else {
                    return Err(Close::bad_request("The payload is not an object"));
                };
                let params = Params::from_json(payload)
                    .map_err(|failure| Close::bad_request(&failure.error.message))?;
                Ok(Self::Subscribe {
                    id,
                    params: Box::new(params),
                })
            }
            "complete" => Ok(Self::Complete {
                id: id(&mut message)?,
            }),
            "connection_ack" | "next" | "error" => Err(Close::bad_request(
                "A message of this type is the server's to send",
            )),
            _ => Err(Close::bad_request("The message's type is unknown")),
        }
    }
}

fn id(message: &mut Map<String, Value>) -> Result<String, Close> {
    match message.remove("id") {
        Some(Value::String(id)) if id.is_empty() => Err(Close::bad_request("The id is empty")),
        Some(Value::String(id)) if id.len() > LONGEST_ID => {
            Err(Close::bad_request("The id is longer than 255 bytes"))
        }
        Some(Value::String(id)) => Ok(id),
        _ => Err(Close::bad_request("The id is not a string")),
    }
}

fn payload(message: &mut Map<String, Value>) -> Result<Option<Value>, Close> {
    match message.remove("payload") {
        None | Some(Value::Null) => Ok(None),
        Some(payload @ Value::Object(_)) => Ok(Some(payload)),
        Some(_) => Err(Close::bad_request("The payload is not an object")),
    }
}

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerMessage<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a Value>,
    },
    Next {
        id: &'a str,
        payload: &'a Payload,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

impl ServerMessage<'_> {
    pub fn into_message(self) -> Message {
        let text = serde_json::to_string(&self).expect("a message has string keys only");
        Message::Text(Utf8Bytes::from(text))
    }
}

/// How a socket ends, when the server ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    code: u16,
    reason: String,
}

impl Close {
    fn new(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: prefix(reason, LONGEST_REASON).to_owned(),
        }
    }

    pub fn bad_request(reason: &str) -> Self {
        Self::new(4400, reason)
    }

    pub fn unauthorized() -> Self {
        Self::new(4401, "Unauthorized")
    }

    /// Clients try again with a fresh credential.
    pub fn forbidden(reason: &str) -> Self {
        Self::new(4403, reason)
    }

    pub fn subprotocol() -> Self {
        Self::new(4406, "Subprotocol not acceptable")
    }

    pub fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    pub fn id_taken(id: &str) -> Self {
        Self::new(4409, &format!("Subscriber for {id} already exists"))
    }

    pub fn init_twice() -> Self {
        Self::new(4429, "Too many initialisation requests")
    }

    /// Clients do not try again by themselves: the message would be as large.
    pub fn too_large(most: usize) -> Self {
        let limit = Limit::BodyBytes;
        let page = limit.documentation();
        Self::new(
            1009,
            &format!(
                "LIMIT_EXCEEDED {}: {most} a message; see {page}",
                limit.name()
            ),
        )
    }

    /// The user has too many connections. Of the codes for "not now" the one that graphql-ws and
    /// its like try again after, later and later; those of 4400 and above that sound nearer (4429
    /// is about `connection_init`) end them for good.
    pub fn too_many(most: usize) -> Self {
        let limit = Limit::Connections;
        let page = limit.documentation();
        Self::new(
            1013,
            &format!(
                "LIMIT_EXCEEDED {}: {most} a user; close one; see {page}",
                limit.name()
            ),
        )
    }

    pub fn restart() -> Self {
        Self::new(1012, "Service restart")
    }

    /// Clients try again later, by themselves.
    pub fn try_again() -> Self {
        Self::new(1013, "Try again later")
    }

    /// A sign-in that failed: for good, or for now.
    pub fn of_sign_in(failure: &Failure) -> Self {
        if failure.retry_after().is_some() {
            Self::try_again()
        } else {
            Self::forbidden(&failure.error.message)
        }
    }

    pub fn into_message(self) -> Message {
        Message::Close(Some(CloseFrame {
            code: self.code,
            reason: Utf8Bytes::from(self.reason),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ClientMessage, Close, ServerMessage};

    #[test]
    fn a_malformed_message_closes_the_socket_with_4400_and_its_reason() {
        for (message, reason) in [
            ("", "not JSON"),
            ("[]", "not an object"),
            ("{}", "type is not a string"),
            (r#"{"type": 1}"#, "type is not a string"),
            (r#"{"type": "start"}"#, "unknown"),
            (
                r#"{"type": "next", "id": "1", "payload": {}}"#,
                "the server's",
            ),
            (
                r#"{"type": "error", "id": "1", "payload": []}"#,
                "the server's",
            ),
            (r#"{"type": "connection_ack"}"#, "the server's"),
            (r#"{"type": "connection_init", "payload": 1}"#, "payload"),
            (r#"{"type": "ping", "payload": "x"}"#, "payload"),
            (r#"{"type": "pong", "payload": []}"#, "payload"),
            (
                r#"{"type": "subscribe", "payload": {"query": "{a}"}}"#,
                "id",
            ),
            (
                r#"{"type": "subscribe", "id": 1, "payload": {"query": "{a}"}}"#,
                "id",
            ),
            (
                r#"{"type": "subscribe", "id": "", "payload": {"query": "{a}"}}"#,
                "empty",
            ),
            (r#"{"type": "subscribe", "id": "1"}"#, "payload"),
            (
                r#"{"type": "subscribe", "id": "1", "payload": {}}"#,
                "query",
            ),
            (
                r#"{"type": "subscribe", "id": "1", "payload": {"query": 1}}"#,
                "query",
            ),
            (
                r#"{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": []}}"#,
                "variables",
            ),
            (
                r#"{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "operationName": 1}}"#,
                "operationName",
            ),
            (r#"{"type": "complete"}"#, "id"),
        ] {
            let close = ClientMessage::parse(message).expect_err(message);
            assert_eq!(close.code, 4400);
            assert!(close.reason.contains(reason), "{message}: {}", close.reason);
        }
    }

    #[test]
    fn nulls_count_as_absent() {
        let subscribe = r#"{"type": "subscribe", "id": "1", "payload":
            {"query": "{a}", "operationName": null, "variables": null, "extensions": null}}"#;
        ClientMessage::parse(subscribe).expect("a subscribe");
        ClientMessage::parse(r#"{"type": "connection_init", "payload": null}"#).expect("an init");
        ClientMessage::parse(r#"{"type": "ping", "payload": null}"#).expect("a ping");
    }

    #[test]
    fn a_reason_fits_into_its_frame_and_ends_at_a_character() {
        let close = Close::id_taken(&"ü".repeat(100));
        assert!(close.reason.len() <= 123);
        assert!(close.reason.ends_with('ü'));
    }

    #[test]
    fn a_pong_without_a_payload_has_none() {
        let text = |message: ServerMessage| message.into_message().into_text().expect("text");
        assert_eq!(
            text(ServerMessage::Pong { payload: None }),
            r#"{"type":"pong"}"#
        );
        assert_eq!(
            text(ServerMessage::Pong {
                payload: Some(&json!({"a": 1}))
            }),
            r#"{"type":"pong","payload":{"a":1}}"#
        );
        assert_eq!(
            text(ServerMessage::ConnectionAck),
            r#"{"type":"connection_ack"}"#
        );
    }
}
