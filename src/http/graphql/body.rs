//! The body of a POST: read once, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT},
};
use tokio::time::timeout;

use super::{failure::Failure, media, params::Params};
use crate::graphql::ErrorCode;

/// The largest body, in bytes.
const MOST_BODY_BYTES: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a refused body is read all the same, in bytes, and for how long: most clients read
/// no answer before they have sent everything, and would see a broken connection instead.
const MOST_DISCARDED_BYTES: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Params, Failure> {
    let mut chunks = body.into_data_stream();
    if let Err(failure) = check_form(headers) {
        discard(headers, &mut chunks).await;
        return Err(failure);
    }
    let body = timeout(BODY_TIMEOUT, collect(&mut chunks))
        .await
        .map_err(|_| {
            Failure::http(
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::BadUserInput,
                "The body took too long to arrive.",
            )
        })??;
    let Some(body) = body else {
        discard(headers, &mut chunks).await;
        return Err(too_large());
    };
    let value = serde_json::from_slice(&body).map_err(|error| {
        Failure::malformed(format!(
            "The body is not JSON (line {}, column {}).",
            error.line(),
            error.column()
        ))
    })?;
    Params::from_json(value)
}

/// What the headers alone can be refused for.
fn check_form(headers: &HeaderMap) -> Result<(), Failure> {
    let unsupported = |message| {
        Err(Failure::http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::BadUserInput,
            message,
        ))
    };
    if !media::is_json(headers) {
        return unsupported("The Content-Type of a POST must be application/json, in UTF-8.");
    }
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding.as_bytes() != b"identity") {
        return unsupported("Compressed bodies are not supported.");
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    if announced > MOST_BODY_BYTES as u64 {
        return Err(too_large());
    }
    Ok(())
}

/// The whole body. `None`: it is too long.
async fn collect(chunks: &mut BodyDataStream) -> Result<Option<Vec<u8>>, Failure> {
    let mut collected = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Failure::malformed("The body broke off."))?;
        if collected.len() + chunk.len() > MOST_BODY_BYTES {
            return Ok(None);
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(Some(collected))
}

/// Reads the rest of a body that is refused.
async fn discard(headers: &HeaderMap, chunks: &mut BodyDataStream) {
    if headers.contains_key(EXPECT) {
        // This client asks before it sends; reading would be a yes.
        return;
    }
    let reading = async {
        let mut left = MOST_DISCARDED_BYTES;
        while let Some(Ok(chunk)) = chunks.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    drop(timeout(DISCARD_TIMEOUT, reading).await);
}

fn too_large() -> Failure {
    let mut failure = Failure::http(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::LimitExceeded,
        format!("A body may have at most {MOST_BODY_BYTES} bytes."),
    );
    failure.set("limit", "bodyBytes");
    failure.set("value", MOST_BODY_BYTES as u64);
    failure
}
