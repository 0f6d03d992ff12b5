//! Replies from any server that speaks OpenAI's chat completions.
//!
//! async-openai builds the requests and reads the event stream; what it hides or decides for us
//! is taken from it: the HTTP beneath it is ours (`transport`), so are the types of the stream
//! (`wire`), the time limits and retries (here, `attempt` and `backoff`), and what a failure
//! means (`failure`).
//!
//! Invariant: a reply is asked for again only while none of it has been seen.

mod attempt;
mod backoff;
mod failure;
mod models;
mod redact;
mod text;
mod transport;
mod wire;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use secrecy::SecretString;
use tokio::time::{Instant, sleep, timeout_at};
use url::{Host, Url};

use self::{
    attempt::Attempt,
    failure::{Failure, Retry},
    transport::Endpoint,
    wire::LengthLimit,
};
use super::{Prompt, Provider, ProviderError, ReplyEvent};
use crate::config::OpenAiSettings;

pub use self::{backoff::Backoff, models::ModelsError};

/// The longest wait that a provider may ask for before the next try. One that asks for more is
/// not asked again: its user would rather know now.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// An OpenAI-compatible server.
pub struct OpenAi {
    shared: Arc<Shared>,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    #[error("could not set up the model provider's HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("the model provider's key cannot stand in an HTTP header")]
    Key,
}

struct Shared {
    http: reqwest::Client,
    endpoint: Endpoint,
    key: Option<SecretString>,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    retries: u32,
    backoff: Backoff,
    /// Turns false when the server proves not to know how to tell its usage.
    tells_usage: AtomicBool,
    length_limit: LengthLimit,
}

impl OpenAi {
    pub fn new(settings: &OpenAiSettings) -> Result<Self, OpenAiError> {
        Self::with_backoff(settings, Backoff::default())
    }

    /// With waits of one's own between tries.
    pub fn with_backoff(settings: &OpenAiSettings, backoff: Backoff) -> Result<Self, OpenAiError> {
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("loquat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&settings.base_url) {
            // A proxy's loopback is not ours.
            http = http.no_proxy();
        }
        let endpoint = Endpoint::new(settings.base_url.clone(), settings.api_key.as_ref())
            .ok_or(OpenAiError::Key)?;
        Ok(Self {
            shared: Arc::new(Shared {
                http: http.build().map_err(OpenAiError::Client)?,
                endpoint,
                key: settings.api_key.clone(),
                first_token_timeout: settings.first_token_timeout,
                idle_timeout: settings.idle_timeout,
                retries: settings.retries,
                backoff,
                tells_usage: AtomicBool::new(true),
                length_limit: length_limit(&settings.base_url),
            }),
        })
    }
}

/// OpenAI's own servers, and Azure's, are known by their names.
fn length_limit(url: &Url) -> LengthLimit {
    match url.host_str() {
        Some(host) if host == "api.openai.com" || host.ends_with(".openai.azure.com") => {
            LengthLimit::MaxCompletionTokens
        }
        _ => LengthLimit::MaxTokens,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Provider for OpenAi {
    fn reply(&self, prompt: Prompt) -> BoxStream<'static, Result<ReplyEvent, ProviderError>> {
        let reply = Reply {
            ask_usage: self.shared.tells_usage.load(Ordering::Relaxed),
            shared: Arc::clone(&self.shared),
            prompt,
            first_token_by: None,
            attempt: None,
            failures: 0,
            ended: false,
        };
        stream::unfold(reply, |mut reply| async {
            let event = reply.next().await?;
            Some((event, reply))
        })
        .boxed()
    }
}

/// One reply, over as many attempts as it takes to get its first token.
struct Reply {
    shared: Arc<Shared>,
    prompt: Prompt,
    ask_usage: bool,
    /// Set when the reply is first polled. It counts over all attempts: it is the user who waits.
    first_token_by: Option<Instant>,
    attempt: Option<Attempt>,
    failures: u32,
    ended: bool,
}

impl Reply {
    async fn next(&mut self) -> Option<Result<ReplyEvent, ProviderError>> {
        if self.ended {
            return None;
        }
        let event = self.event().await;
        if !matches!(event, Ok(ReplyEvent::Delta(_))) {
            self.ended = true;
            // Hangs up, whoever keeps the stream.
            self.attempt = None;
        }
        Some(event.map_err(|failure| failure.into_error(self.shared.key.as_ref(), &self.prompt)))
    }

    async fn event(&mut self) -> Result<ReplyEvent, Failure> {
        let first_token_timeout = self.shared.first_token_timeout;
        let first_token_by = *self
            .first_token_by
            .get_or_insert_with(|| Instant::now() + first_token_timeout);
        loop {
            let failure = match self.try_event(first_token_by).await {
                Ok(event) => return Ok(event),
                Err(failure) => failure,
            };
            let begun = self.attempt.take().is_some_and(|tried| tried.has_begun());
            match failure.retry {
                Retry::WithoutUsage if self.ask_usage => self.ask_usage = false,
                Retry::After(asked) if !begun => {
                    match self.wait_before_retry(asked, first_token_by) {
                        Some(wait) => sleep(wait).await,
                        None => return Err(failure),
                    }
                }
                _ => return Err(failure),
            }
        }
    }

    async fn try_event(&mut self, first_token_by: Instant) -> Result<ReplyEvent, Failure> {
        let attempt = match &mut self.attempt {
            Some(attempt) => attempt,
            None => {
                let open = Attempt::open(&self.shared, &self.prompt, self.ask_usage);
                let attempt = timeout_at(first_token_by, open)
                    .await
                    .map_err(|_| Failure::no_first_token(self.shared.first_token_timeout))??;
                if !self.ask_usage {
                    self.shared.tells_usage.store(false, Ordering::Relaxed);
                }
                self.attempt.insert(attempt)
            }
        };
        attempt.event(&self.shared, first_token_by).await
    }

    /// `None`: no further try.
    fn wait_before_retry(
        &mut self,
        asked: Option<Duration>,
        first_token_by: Instant,
    ) -> Option<Duration> {
        if self.failures >= self.shared.retries {
            return None;
        }
        let wait = self.shared.backoff.delay(self.failures);
        self.failures += 1;
        let wait = asked.map_or(wait, |asked| wait.saturating_add(asked));
        let in_time = first_token_by.saturating_duration_since(Instant::now());
        (asked.unwrap_or_default() <= LONGEST_RETRY_AFTER && wait < in_time).then_some(wait)
    }
}
