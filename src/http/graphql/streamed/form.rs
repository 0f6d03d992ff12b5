//! How events are written, byte for byte.
//!
//! Server-sent events follow graphql-sse, in its mode of one connection an operation
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>): `next` and `complete`.
//! Parts follow Apollo's protocol
//! (<https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol>):
//! each holds `{"payload": …}`, and the boundary follows it at once, for clients take a part to be
//! whole only when they have seen the next boundary.

use axum::body::Bytes;
use serde::Serialize;

use super::super::{failure::Failure, media::Form, respond::Payload};

/// The beginning of a part.
const PART: &str = "\r\ncontent-type: application/json\r\n\r\n";

/// What stands between two parts.
const BOUNDARY: &str = "\r\n--graphql";

#[derive(Serialize)]
struct Part<'a> {
    payload: &'a Payload,
}

impl Form {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream; charset=utf-8",
            Self::Parts => "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0",
        }
    }

    /// Something to pass on at once, so that the client knows that it was heard.
    pub fn opening(self) -> Bytes {
        match self {
            Self::Events => self.heartbeat(),
            Self::Parts => format!("{BOUNDARY}{PART}{{}}{BOUNDARY}").into(),
        }
    }

    pub fn heartbeat(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b":\n\n"),
            Self::Parts => format!("{PART}{{}}{BOUNDARY}").into(),
        }
    }

    pub fn next(self, payload: &Payload) -> Bytes {
        match self {
            // JSON without line breaks is one line of data.
            Self::Events => format!("event: next\ndata: {}\n\n", payload.to_json()).into(),
            Self::Parts => {
                let part = serde_json::to_string(&Part { payload });
                let part = part.expect("a response has string keys only");
                format!("{PART}{part}{BOUNDARY}").into()
            }
        }
    }

    pub fn complete(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b"event: complete\ndata:\n\n"),
            Self::Parts => Bytes::from_static(b"--\r\n"),
        }
    }

    /// The operation goes on and this stream does not: errors beside a `payload` that is null.
    /// Server-sent events have no word for it, and are to break off.
    pub fn interrupted(self, failure: &Failure) -> Option<Bytes> {
        match self {
            Self::Events => None,
            Self::Parts => {
                let part = serde_json::json!({ "payload": null, "errors": [failure.error] });
                Some(format!("{PART}{part}{BOUNDARY}--\r\n").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_graphql::{Response, Value};

    use super::{Failure, Form};
    use crate::{http::graphql::respond::finish, telemetry::RequestId};

    fn written(form: Form) -> String {
        let payload = finish(Response::new(Value::from("a\nb")), &RequestId::new());
        let parts = [
            form.opening(),
            form.heartbeat(),
            form.next(&payload),
            form.complete(),
        ];
        String::from_utf8(parts.concat()).expect("text")
    }

    #[test]
    fn events_are_lines() {
        assert_eq!(
            written(Form::Events),
            ":\n\n:\n\nevent: next\ndata: {\"data\":\"a\\nb\"}\n\nevent: complete\ndata:\n\n"
        );
    }

    #[test]
    fn each_part_is_followed_by_its_boundary_at_once() {
        const JSON: &str = "content-type: application/json";
        assert_eq!(
            written(Form::Parts),
            format!(
                "\r\n--graphql\r\n{JSON}\r\n\r\n{{}}\r\n--graphql\
                 \r\n{JSON}\r\n\r\n{{}}\r\n--graphql\
                 \r\n{JSON}\r\n\r\n{{\"payload\":{{\"data\":\"a\\nb\"}}}}\r\n--graphql--\r\n"
            )
        );
    }

    #[test]
    fn an_end_that_is_not_the_operation_s_own_is_told_as_one_of_the_transport() {
        let failure = Failure::unavailable("Later.", Duration::from_secs(5));
        assert_eq!(Form::Events.interrupted(&failure), None);
        let part = Form::Parts.interrupted(&failure).expect("a part");
        let text = String::from_utf8(part.to_vec()).expect("text");
        assert!(text.contains(r#""payload":null"#), "{text}");
        assert!(text.contains(r#""retryAfter":5"#), "{text}");
        assert!(text.ends_with("\r\n--graphql--\r\n"), "{text}");
    }
}
