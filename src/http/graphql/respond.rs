//! What an execution's result looks like when it leaves.
//!
//! Invariant: every error that leaves has a code, and a text that was written for clients. What
//! the library says by itself is given a code here; what it says about faults of ours is replaced.

use std::collections::BTreeMap;

use async_graphql::{Response, ServerError, Value};
use serde::Serialize;

use super::failure::INTERNAL_MESSAGE;
use crate::{graphql::ErrorCode, telemetry::RequestId};

/// Validation stops being useful long before this.
const MOST_REQUEST_ERRORS: usize = 50;

/// The longest message, in bytes: the library repeats what it was given.
const LONGEST_MESSAGE: usize = 500;

/// A finished response: either errors alone, or data with or without errors.
#[derive(Serialize)]
pub(super) struct Payload {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ServerError>,
    /// Absent when nothing was executed; null when an error reached the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: BTreeMap<String, Value>,
}

impl Payload {
    pub fn error(error: ServerError) -> Self {
        Self {
            errors: vec![error],
            data: None,
            extensions: BTreeMap::new(),
        }
    }

    pub fn was_executed(&self) -> bool {
        self.data.is_some()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a response has string keys only")
    }
}

/// Gives the response its final form.
pub(super) fn finish(mut response: Response, id: &RequestId) -> Payload {
    // Errors of an execution have a path; those of a request that was refused have none.
    let refused = response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty());
    if refused {
        response.errors.truncate(MOST_REQUEST_ERRORS);
    }
    for error in &mut response.errors {
        finish_error(error, refused, id);
    }
    Payload {
        errors: response.errors,
        data: (!refused).then_some(response.data),
        extensions: response.extensions,
    }
}

fn finish_error(error: &mut ServerError, refused: bool, id: &RequestId) {
    let extensions = error.extensions.get_or_insert_default();
    match extensions.get("code") {
        Some(Value::String(code)) => {
            if code == ErrorCode::InternalServerError.as_str() {
                extensions.set("requestId", id.as_str());
            }
        }
        _ => {
            let code = if refused {
                ErrorCode::GraphqlValidationFailed
            } else if let Some(message) = rejected_argument(&error.message) {
                error.message = message;
                ErrorCode::BadUserInput
            } else {
                tracing::error!(
                    request.id = id.as_str(),
                    error = error.message,
                    "an execution failed without a code"
                );
                error.message = INTERNAL_MESSAGE.to_owned();
                extensions.set("requestId", id.as_str());
                ErrorCode::InternalServerError
            };
            extensions.set("code", code.as_str());
        }
    }
    shorten(&mut error.message);
}

/// What the library says of an argument whose value its type does not accept, without the value.
fn rejected_argument(message: &str) -> Option<String> {
    if let Some(expected) = message.strip_prefix("Expected input type \"") {
        let (name, _) = expected.split_once('"')?;
        return Some(format!("An argument is not of type \"{name}\"."));
    }
    message
        .starts_with("Failed to parse \"")
        .then(|| message.to_owned())
}

/// The longest beginning of a text that has at most so many bytes.
pub(super) fn prefix(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn shorten(message: &mut String) {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(prefix(message, LONGEST_MESSAGE).len());
        message.push('…');
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, Response, ServerError, Value};
    use serde_json::{Value as Json, json};

    use super::finish;
    use crate::telemetry::RequestId;

    fn finished(response: Response) -> Json {
        let id = RequestId::from_client("this-one").expect("sane");
        serde_json::from_str(&finish(response, &id).to_json()).expect("JSON")
    }

    fn executed(message: &str) -> Response {
        let error =
            ServerError::new(message, None).with_path(vec![PathSegment::Field("field".to_owned())]);
        Response::from_errors(vec![error])
    }

    #[test]
    fn a_refused_request_has_no_data_and_its_errors_a_code() {
        let response = Response::from_errors(vec![ServerError::new("Unknown field.", None)]);
        assert_eq!(
            finished(response),
            json!({"errors": [{
                "message": "Unknown field.",
                "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"},
            }]})
        );
    }

    #[test]
    fn an_error_without_a_code_tells_nothing_but_the_request_id() {
        assert_eq!(
            finished(executed("relation \"users\" does not exist")),
            json!({"data": null, "errors": [{
                "message": "Something went wrong on the server.",
                "path": ["field"],
                "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": "this-one"},
            }]})
        );
    }

    #[test]
    fn a_rejected_argument_is_bad_input_and_not_repeated() {
        let answer = finished(executed("Expected input type \"Int\", found {secret: 1}."));
        assert_eq!(
            answer["errors"][0]["message"],
            "An argument is not of type \"Int\"."
        );
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }

    #[test]
    fn errors_come_before_data_and_data_stays_when_it_is_there() {
        let mut response = Response::new(Value::from(1));
        response.errors = executed("Failed to parse \"ID\": no").errors;
        let id = RequestId::new();
        let text = finish(response, &id).to_json();
        assert!(text.starts_with("{\"errors\":"), "{text}");
        assert!(text.ends_with("\"data\":1}"), "{text}");
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        let response = Response::from_errors(vec![ServerError::new("ü".repeat(600), None)]);
        let answer = finished(response);
        let message = answer["errors"][0]["message"].as_str().expect("text");
        assert_eq!(message.chars().count(), 251);
    }
}
