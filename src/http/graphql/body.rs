//! The body of a POST: read once, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT},
};
use serde_json::Value;
use tokio::time::timeout;

use super::{batch, failure::Failure, media, params::Params, weight};
use crate::{config::RequestLimits, graphql::ErrorCode, limits::Charge, model::Limit};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a refused body is read all the same, in bytes, and for how long: most clients read
/// no answer before they have sent everything, and would see a broken connection instead.
const MOST_DISCARDED_BYTES: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// What a body asks for.
pub(super) enum Asked {
    One(Params),
    /// The parameters of each operation, not yet looked at; at least one and no more than may be.
    Batch(Vec<Value>),
}

/// The most bytes of a body by nobody in particular: many such bodies may be under way at once.
const MOST_BYTES_OF_NOBODY: usize = 64 << 10;

/// `charge` is what the request takes up of its user's; none: it is nobody's in particular.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &RequestLimits,
    charge: Option<&Charge>,
) -> Result<Asked, Failure> {
    let most = match charge {
        Some(_) => limits.body_bytes,
        None => limits.body_bytes.min(MOST_BYTES_OF_NOBODY),
    };
    let mut chunks = body.into_data_stream();
    if let Err(failure) = check_form(headers, most) {
        discard(headers, &mut chunks).await;
        return Err(failure);
    }
    let body = timeout(BODY_TIMEOUT, collect(&mut chunks, most))
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
        return Err(too_large(most));
    };
    if let Some(charge) = charge {
        let resized = charge.resize(weight::of_json(&body));
        resized.map_err(Failure::too_much_in_flight)?;
    }
    let value = serde_json::from_slice(&body).map_err(|error| {
        Failure::malformed(format!(
            "The body is not JSON (line {}, column {}).",
            error.line(),
            error.column()
        ))
    })?;
    match value {
        Value::Array(batch) => batch::within(batch, limits.batch).map(Asked::Batch),
        one => Params::from_json(one).map(Asked::One),
    }
}

/// What a request takes up until its body has arrived: one of unknown length as the longest.
pub(super) fn weight(headers: &HeaderMap, limits: &RequestLimits) -> usize {
    let announced = announced(headers).and_then(|announced| usize::try_from(announced).ok());
    let bytes = announced.unwrap_or(limits.body_bytes);
    weight::of_bytes(bytes.min(limits.body_bytes))
}

/// `None`: the client does not say, or a length that is none.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What the headers alone can be refused for.
fn check_form(headers: &HeaderMap, most: usize) -> Result<(), Failure> {
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
    if announced(headers).is_some_and(|announced| announced > most as u64) {
        return Err(too_large(most));
    }
    Ok(())
}

/// The whole body. `None`: it is too long.
async fn collect(chunks: &mut BodyDataStream, most: usize) -> Result<Option<Vec<u8>>, Failure> {
    let mut collected = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Failure::malformed("The body broke off."))?;
        if collected.len() + chunk.len() > most {
            return Ok(None);
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(Some(collected))
}

/// Reads a body that is refused whatever it holds.
pub(super) async fn refuse(headers: &HeaderMap, body: Body) {
    discard(headers, &mut body.into_data_stream()).await;
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

fn too_large(most: usize) -> Failure {
    Failure::limit(
        Limit::BodyBytes,
        most as u64,
        format!("A body may have at most {most} bytes: send less at once."),
    )
}
