//! One GET of an issuer's key set, from a server that may be slow, wrong or hostile.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect::Policy};
use url::{Host, Url};

use super::keys::{KeySet, KeySetError};

/// Key sets of real issuers have 1 to 20 kB.
const MAX_BYTES: usize = 256 * 1024;
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the request for the key set failed")]
    Request(#[source] reqwest::Error),
    #[error("the request for the key set was answered with {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("the key set is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the key set did not arrive in time")]
    TimeLimit,
    #[error(transparent)]
    Content(#[from] KeySetError),
}

#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    url: Url,
}

impl Fetcher {
    pub fn new(url: &Url) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(Policy::none())
            // The limit counts what is kept, so nothing may grow on its way here.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(CONNECT_TIME_LIMIT)
            .user_agent(concat!("loquat/", env!("CARGO_PKG_VERSION")));
        let client = match is_loopback(url) {
            true => client.no_proxy(),
            false => client,
        };
        Ok(Self {
            client: client.build()?,
            url: url.clone(),
        })
    }

    /// Knows no limit of time for the whole: its caller does.
    pub async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut response = self
            .client
            .get(self.url.clone())
            .header(http::header::ACCEPT, "application/json")
            .send()
            .await
            .map_err(without_url)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        if response
            .content_length()
            .is_some_and(|announced| announced > MAX_BYTES as u64)
        {
            return Err(FetchError::TooLong);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(without_url)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&body)?)
    }
}

/// A URL may hold a password.
fn without_url(error: reqwest::Error) -> FetchError {
    FetchError::Request(error.without_url())
}

/// Whether a URL leads to this machine.
pub(in crate::auth) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
