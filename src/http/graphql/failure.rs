//! Why an operation was not run.

use std::time::Duration;

use async_graphql::{ErrorExtensionValues, ServerError, Value};
use http::StatusCode;

use crate::{
    graphql::{ErrorCode, in_flight_retry_after, limit_details},
    limits::TooMuch,
    model::Limit,
    telemetry::RequestId,
};

/// How long a client is asked to stay away from a process that is about to end.
const DRAIN_RETRY: Duration = Duration::from_secs(5);

/// How long a client is asked to wait for one of its connections to end.
const CONNECTIONS_RETRY: Duration = Duration::from_secs(5);

pub(super) const INTERNAL_MESSAGE: &str = "Something went wrong on the server.";

/// A refusal with its code, before or instead of an execution.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Box<ServerError>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request was no well-formed GraphQL request, or something below GraphQL refuses it:
    /// the status is the same whatever the media type.
    Http(StatusCode),
    /// 405, with the methods that are allowed.
    Method(&'static str),
    /// A well-formed request whose operation cannot be run.
    Request,
}

impl Failure {
    pub fn http(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error: coded(code, message),
            kind: Kind::Http(status),
        }
    }

    /// The request is malformed. `message` says which part, and never repeats it.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::http(StatusCode::BAD_REQUEST, ErrorCode::BadUserInput, message)
    }

    pub fn method(allowed: &'static str, message: &str) -> Self {
        Self {
            error: coded(ErrorCode::BadUserInput, message),
            kind: Kind::Method(allowed),
        }
    }

    pub fn request(error: ServerError) -> Self {
        Self {
            error: Box::new(error),
            kind: Kind::Request,
        }
    }

    /// 401 whatever the media type. The draft's rule that `application/json` answers 200 is
    /// about requests that GraphQL refused; who asks is settled by HTTP authentication below it,
    /// and the clients that read only the status are those that need to see this one.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::http(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthenticated,
            message,
        )
    }

    pub fn sign_in_first() -> Self {
        Self::unauthenticated("Sign in: without a credential only __typename is answered.")
    }

    pub fn refused_credential() -> Self {
        Self::unauthenticated("The credential was not accepted. Sign in again.")
    }

    /// 403 whatever the media type, for the same reason.
    pub fn suspended() -> Self {
        Self::http(
            StatusCode::FORBIDDEN,
            ErrorCode::Forbidden,
            "This user is suspended.",
        )
    }

    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        let mut failure = Self::http(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            message,
        );
        failure.set("retryAfter", whole_seconds(retry_after));
        failure
    }

    /// `value` is what the limit allows.
    pub fn limit(limit: Limit, value: u64, message: impl Into<String>) -> Self {
        let mut failure = Self {
            error: coded(ErrorCode::LimitExceeded, message),
            kind: match limit {
                Limit::BodyBytes => Kind::Http(StatusCode::PAYLOAD_TOO_LARGE),
                Limit::Batch => Kind::Http(StatusCode::BAD_REQUEST),
                Limit::Connections | Limit::InFlightBytes => {
                    Kind::Http(StatusCode::TOO_MANY_REQUESTS)
                }
                // Below GraphQL, as a panic is: there is no result, and what was asked may be
                // right. Not 408, which is about a request that does not arrive and which browsers
                // send again by themselves, a mutation too; not 503, which asks to come back.
                Limit::RequestSeconds => Kind::Http(StatusCode::GATEWAY_TIMEOUT),
                _ => Kind::Request,
            },
        };
        for (name, value) in limit_details(limit, value) {
            failure.set(name, value);
        }
        failure
    }

    pub fn too_many_connections(most: u64) -> Self {
        let mut failure = Self::limit(
            Limit::Connections,
            most,
            format!(
                "You may have at most {most} sockets and streams open on this server: close one, \
                 or run several operations on one socket."
            ),
        );
        failure.set("retryAfter", whole_seconds(CONNECTIONS_RETRY));
        failure
    }

    pub fn too_much_in_flight(error: TooMuch) -> Self {
        let most = error.most as u64;
        let mut failure = Self::limit(Limit::InFlightBytes, most, error.to_string());
        match in_flight_retry_after(error) {
            Some(seconds) => failure.set("retryAfter", seconds),
            None => failure.kind = Kind::Http(StatusCode::PAYLOAD_TOO_LARGE),
        }
        failure
    }

    pub fn draining() -> Self {
        Self::unavailable(
            "The server is about to stop and takes no new operations.",
            DRAIN_RETRY,
        )
    }

    /// A resolver panicked. The log has the rest, found by the same id.
    pub fn panicked(id: &RequestId) -> Self {
        tracing::error!(request.id = id.as_str(), "an operation panicked");
        let mut failure = Self::http(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::InternalServerError,
            INTERNAL_MESSAGE,
        );
        failure.set("requestId", id.as_str());
        failure
    }

    /// Seconds to wait, where the failure says so.
    pub fn retry_after(&self) -> Option<u64> {
        match self.error.extensions.as_ref()?.get("retryAfter")? {
            Value::Number(seconds) => seconds.as_u64(),
            _ => None,
        }
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.error
            .extensions
            .get_or_insert_default()
            .set(key, value);
    }
}

pub(super) fn coded(code: ErrorCode, message: impl Into<String>) -> Box<ServerError> {
    let mut error = ServerError::new(message, None);
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code.as_str());
    error.extensions = Some(extensions);
    Box::new(error)
}

fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}
