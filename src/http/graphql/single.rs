//! An answer that is complete when it leaves: its status, headers and body.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE},
};

use super::{
    failure::{Failure, Kind},
    media::Media,
    respond::Payload,
};
use crate::limits::{Charge, Presence};

/// `presence`: whose the answer is until it has been taken; nobody's in particular where nobody has
/// signed in.
pub(super) fn success(
    payload: &Payload,
    media: Media,
    presence: Option<&Arc<Presence>>,
) -> Response {
    let status = if payload.was_executed() || media == Media::Json {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    respond_with(status, counted(payload.to_json(), presence), media)
}

pub(super) fn refusal(failure: Failure, media: Media) -> Response {
    let (kind, retry_after) = (failure.kind, failure.retry_after());
    let body = Payload::error(*failure.error).to_json();
    refused(kind, retry_after, body, media)
}

/// `retry_after`: in seconds.
pub(super) fn refused(
    kind: Kind,
    retry_after: Option<u64>,
    body: String,
    media: Media,
) -> Response {
    let status = match (kind, media) {
        (Kind::Http(status), _) => status,
        (Kind::Method(_), _) => StatusCode::METHOD_NOT_ALLOWED,
        (Kind::Request, Media::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (Kind::Request, Media::Json) => StatusCode::OK,
    };
    let mut response = respond_with(status, body.into(), media);
    let headers = response.headers_mut();
    if let Kind::Method(allowed) = kind {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A refusal before anything is known of what the client takes.
pub(super) fn plain_refusal(failure: Failure) -> Response {
    refusal(failure, Media::Json)
}

pub(super) fn respond_with(status: StatusCode, body: Bytes, media: Media) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// A body that counts as the user's until the connection has taken the last of it.
pub(super) fn counted(body: String, presence: Option<&Arc<Presence>>) -> Bytes {
    match presence {
        Some(presence) => Bytes::from_owner(Counted {
            _charge: presence.hold(body.len()),
            body,
        }),
        None => body.into(),
    }
}

struct Counted {
    body: String,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.body.as_bytes()
    }
}
