//! What every request gets, wherever it goes: an id, a span, one line in the log, and an answer
//! even if its handler panicked.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{extract::Request, middleware::Next, response::Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tracing::{Instrument, info_span};

use crate::telemetry::RequestId;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost middleware.
pub(super) async fn trace(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .and_then(RequestId::from_client)
        .unwrap_or_else(RequestId::new);
    request.extensions_mut().insert(id.clone());

    let span = info_span!("request", request.id = id.as_str());
    async {
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            // The panic itself is in the log, with its place.
            Err(_) => internal_error(&id),
        };
        response
            .headers_mut()
            .insert(X_REQUEST_ID, header_value(&id));
        response.headers_mut().insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        log(&method, &path, response.status(), started);
        response
    }
    .instrument(span)
    .await
}

/// The path is logged where it is one of ours; any other may hold whatever somebody pasted.
fn log(method: &http::Method, path: &str, status: StatusCode, started: Instant) {
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let path = if status == StatusCode::NOT_FOUND {
        "unknown"
    } else {
        path
    };
    if path.starts_with("/health/") {
        tracing::debug!(
            http.method = method.as_str(),
            http.path = path,
            http.status = status.as_u16(),
            http.milliseconds = milliseconds,
            "answered a request"
        );
    } else {
        tracing::info!(
            http.method = method.as_str(),
            http.path = path,
            http.status = status.as_u16(),
            http.milliseconds = milliseconds,
            "answered a request"
        );
    }
}

fn internal_error(id: &RequestId) -> Response {
    let body = json!({ "errors": [{
        "message": "Something went wrong on the server.",
        "extensions": { "code": "INTERNAL_SERVER_ERROR", "requestId": id.as_str() },
    }] });
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn header_value(id: &RequestId) -> HeaderValue {
    HeaderValue::from_str(id.as_str()).expect("an id holds only letters, digits and -_.")
}
