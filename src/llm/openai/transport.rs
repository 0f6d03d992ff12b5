//! The HTTP beneath async-openai, which passes neither the status of a refusal that is not JSON
//! nor a broken UTF-8 sequence on, and retries by rules of its own.
//!
//! Invariant: what its event parser gets is valid UTF-8 in whole lines, and events of bounded
//! length. It would read a piece of a line again from its start with every piece that arrives,
//! and keep the lines of an event for as long as no blank one comes.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_openai::{config::Config, error::OpenAIError, middleware::HttpRequestFactory};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The longest event that is read, in bytes: a megabyte of text, however it is escaped.
const MAX_EVENT: usize = 8 * 1024 * 1024;

/// The most of a refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// Where requests go and what they carry.
#[derive(Clone)]
pub(super) struct Endpoint {
    base_url: Url,
    /// Empty where there is none; async-openai asks for one.
    key: SecretString,
    headers: HeaderMap,
}

impl Endpoint {
    /// `None`: the key cannot stand in a header.
    pub(super) fn new(base_url: Url, key: Option<&SecretString>) -> Option<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let bearer = format!("Bearer {}", key.expose_secret());
            let mut bearer = HeaderValue::try_from(bearer).ok()?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        Some(Self {
            base_url,
            key: key.cloned().unwrap_or_default(),
            headers,
        })
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        let mut url = self.base_url.clone();
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.into()
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        self.base_url.as_str()
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// An answer that is not a reply.
#[derive(Debug, thiserror::Error)]
#[error("the provider answered {status}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// Its beginning.
    pub(super) body: String,
}

/// An answer of another kind than a model's server gives.
#[derive(Debug, thiserror::Error)]
#[error("the provider answered with a web page; is its address right?")]
struct WebPage;

/// An answer that is compressed, although that was not asked for.
#[derive(Debug, thiserror::Error)]
#[error("the provider's answer is compressed, which was not asked for")]
struct Compressed;

/// Why an answer could not be read to its end; empty while it can.
pub(super) type Broken = Arc<OnceLock<String>>;

/// Sends one request, once.
pub(super) async fn send(
    client: reqwest::Client,
    request: HttpRequestFactory,
    broken: Broken,
) -> Result<reqwest::Response, OpenAIError> {
    let request = request.build().await?;
    let response = client
        .execute(request)
        .await
        .map_err(|error| OpenAIError::Reqwest(error.without_url()))?;
    if !response.status().is_success() {
        return Err(OpenAIError::Boxed(Box::new(refusal(response).await)));
    }
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(OpenAIError::Boxed(Box::new(Compressed)));
    }
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if content_type.starts_with("text/html") {
        return Err(OpenAIError::Boxed(Box::new(WebPage)));
    }
    let body = if content_type.starts_with("application/json") {
        reqwest::Body::wrap_stream(stream::once(one_event(response, broken)))
    } else {
        reqwest::Body::wrap_stream(lines(response, broken))
    };
    Ok(http::Response::new(body).into())
}

async fn refusal(mut response: reqwest::Response) -> Refusal {
    let mut body = BytesMut::new();
    // A refusal that breaks off is one all the same.
    while let Ok(Some(bytes)) = response.chunk().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_REFUSAL {
            body.truncate(MAX_REFUSAL);
            break;
        }
    }
    Refusal {
        status: response.status(),
        retry_after: retry_after(response.headers(), Utc::now()),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// `retry-after-ms` (OpenAI's and Azure's own), or `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = value("retry-after-ms").and_then(|ms| ms.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let value = value("retry-after")?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// The lines of an event stream, one by one.
fn lines(
    response: reqwest::Response,
    broken: Broken,
) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let lines = Lines {
        response,
        buffer: BytesMut::new(),
        searched: 0,
        event: 0,
    };
    stream::unfold(Some((lines, broken)), |state| async {
        let (mut lines, broken) = state?;
        match lines.next().await {
            Ok(line) => Some((Ok(line?), Some((lines, broken)))),
            Err(error) => Some((Err(report(&broken, error)), None)),
        }
    })
}

struct Lines {
    response: reqwest::Response,
    buffer: BytesMut,
    /// How much of the buffer holds no end of a line.
    searched: usize,
    /// How much was read since the last blank line, before the buffer.
    event: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        // Lines that are no event never leave the parser's loop; this lets others have their turn.
        tokio::task::consume_budget().await;
        loop {
            let unsearched = &self.buffer[self.searched..];
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                self.event += line.len();
                if matches!(&line[..], b"\n" | b"\r\n") {
                    self.event = 0;
                }
                return match self.event {
                    0..=MAX_EVENT => Ok(Some(lossy(line))),
                    _ => Err(overlong()),
                };
            }
            self.searched = self.buffer.len();
            if self.event + self.buffer.len() > MAX_EVENT {
                return Err(overlong());
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                // An event without its blank line was cut; the parser drops it too.
                Ok(None) => return Ok(None),
                Err(error) => return Err(causes(error)),
            }
        }
    }
}

fn overlong() -> String {
    format!("an event of more than {MAX_EVENT} bytes")
}

/// The answer of a server that does not stream, as the one event of a stream.
async fn one_event(mut response: reqwest::Response, broken: Broken) -> Result<Bytes, io::Error> {
    let mut event = BytesMut::from("data: ");
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => event.extend_from_slice(&bytes),
            Ok(None) => break,
            Err(error) => return Err(report(&broken, causes(error))),
        }
        if event.len() > MAX_EVENT {
            let error = format!("an answer of more than {MAX_EVENT} bytes");
            return Err(report(&broken, error));
        }
    }
    // Inside its strings JSON has no raw line breaks.
    for byte in event
        .iter_mut()
        .filter(|byte| matches!(byte, b'\r' | b'\n'))
    {
        *byte = b' ';
    }
    event.extend_from_slice(b"\n\n");
    Ok(lossy(event.freeze()))
}

/// A character never spans two lines, so each line can be mended by itself.
fn lossy(line: Bytes) -> Bytes {
    match std::str::from_utf8(&line) {
        Ok(_) => line,
        Err(_) => String::from_utf8_lossy(&line).into_owned().into(),
    }
}

fn report(broken: &Broken, error: String) -> io::Error {
    // The first reason stands.
    let reason = broken.get_or_init(|| error);
    io::Error::other(reason.clone())
}

fn causes(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_whatever_the_base_looks_like() {
        for (base, expected) in [
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("http://h/v1/", "http://h/v1/chat/completions"),
            ("http://h", "http://h/chat/completions"),
            (
                "https://h/openai?api-version=1",
                "https://h/openai/chat/completions?api-version=1",
            ),
        ] {
            let endpoint = Endpoint::new(Url::parse(base).unwrap(), None).unwrap();
            assert_eq!(endpoint.url("/chat/completions"), expected);
            assert!(endpoint.headers().is_empty());
        }
    }

    #[test]
    fn a_wait_is_read_in_each_of_its_notations() {
        let now = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z")
            .unwrap()
            .to_utc();
        for (name, value, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "0.25", Some(250)),
            ("retry-after-ms", "90", Some(90)),
            ("retry-after", "Thu, 01 Jan 2026 00:00:05 GMT", Some(5_000)),
            ("retry-after", "Wed, 31 Dec 2025 00:00:05 GMT", Some(0)),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let expected = expected.map(Duration::from_millis);
            assert_eq!(retry_after(&headers, now), expected, "{value}");
        }
    }
}
