//! One operation, one answer: GraphQL over HTTP
//! (<https://graphql.github.io/graphql-over-http/draft/>).

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    response::Response,
};
use futures_util::StreamExt;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER,
        VARY, WWW_AUTHENTICATE,
    },
};
use tokio::time::timeout;

use super::{
    Backend, Endpoint,
    endpoint::{Carrier, address_of},
    failure::{Failure, Kind},
    media::{self, Media},
    params::Params,
    respond::{self, Payload},
};
use crate::{auth::no_credential_in_query, graphql::ErrorCode, telemetry::RequestId};

/// The largest body, in bytes.
const MOST_BODY_BYTES: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a refused body is read all the same, in bytes, and for how long: most clients read
/// no answer before they have sent everything, and would see a broken connection instead.
const MOST_DISCARDED_BYTES: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn answer<B: Backend>(endpoint: Endpoint<B>, request: Request) -> Response {
    let id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_else(RequestId::new);
    let media = media::negotiate(request.headers());
    let outcome = match media {
        None => Err(not_acceptable()),
        Some(_) => run(&endpoint, request, &id).await,
    };
    // A client that takes neither type is told so in the older one.
    let media = media.unwrap_or(Media::Json);
    match outcome {
        Ok(payload) => success(&payload, media),
        Err(failure) => refusal(failure, media),
    }
}

async fn run<B: Backend>(
    endpoint: &Endpoint<B>,
    request: Request,
    id: &RequestId,
) -> Result<Payload, Failure> {
    let (parts, body) = request.into_parts();
    // The form first: it costs nothing and needs no credential to judge.
    let is_get = parts.method == Method::GET;
    let params = if is_get {
        Params::from_query_string(parts.uri.query().unwrap_or_default())?
    } else if parts.method == Method::POST {
        read(&parts.headers, body).await?
    } else {
        return Err(Failure::method(
            "GET, POST",
            "GraphQL is asked by GET or POST.",
        ));
    };
    let address = address_of(&parts.extensions);
    no_credential_in_query(parts.uri.query())
        .map_err(|error| endpoint.unusable(&error, address))?;
    let session = endpoint.sign_in_by_headers(&parts.headers, address).await?;
    let carrier = if is_get { Carrier::Get } else { Carrier::Post };
    let operation = endpoint.prepare(params, carrier, session.as_ref())?;
    match endpoint.execute(operation).await {
        Ok(response) => Ok(respond::finish(response, id)),
        Err(_) => Err(Failure::panicked(id)),
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Params, Failure> {
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

fn not_acceptable() -> Failure {
    Failure::http(
        StatusCode::NOT_ACCEPTABLE,
        ErrorCode::BadUserInput,
        "The answer can be application/graphql-response+json or application/json; \
         Accept allows neither.",
    )
}

fn success(payload: &Payload, media: Media) -> Response {
    let status = if payload.was_executed() || media == Media::Json {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    respond_with(status, payload, media)
}

fn refusal(failure: Failure, media: Media) -> Response {
    let status = match (failure.kind, media) {
        (Kind::Http(status), _) => status,
        (Kind::Method(_), _) => StatusCode::METHOD_NOT_ALLOWED,
        (Kind::Request, Media::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (Kind::Request, Media::Json) => StatusCode::OK,
    };
    let retry_after = failure.retry_after();
    let mut response = respond_with(status, &Payload::error(*failure.error), media);
    let headers = response.headers_mut();
    if let Kind::Method(allowed) = failure.kind {
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

fn respond_with(status: StatusCode, payload: &Payload, media: Media) -> Response {
    let mut response = Response::new(Body::from(payload.to_json()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}
