//! One request and its stream, up to its end or its first failure.

use std::time::Duration;

use async_openai::types::stream::StreamResponse;
use futures_util::StreamExt;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::{
    Shared,
    failure::Failure,
    text::Joiner,
    transport::{self, Broken},
    wire::{Chunk, Request},
};
use crate::{
    llm::{FinishReason, Prompt, ReplyEvent},
    model::TokenUsage,
};

/// How long a finished reply waits for the chunk with its usage, which is the last of a stream
/// and follows at once or never.
const USAGE_WAIT: Duration = Duration::from_secs(2);

pub(super) struct Attempt {
    events: StreamResponse<Box<RawValue>>,
    broken: Broken,
    joiner: Joiner,
    /// Whether the model has said or thought anything.
    begun: bool,
    /// Whether any text was passed on.
    wrote: bool,
    finish: Option<Finish>,
    usage: Option<TokenUsage>,
    /// Whether nothing more is waited for.
    settled: bool,
}

struct Finish {
    reason: String,
    at: Instant,
}

impl Attempt {
    pub(super) async fn open(
        shared: &Shared,
        prompt: &Prompt,
        ask_usage: bool,
    ) -> Result<Self, Failure> {
        let broken = Broken::default();
        let client = shared.client(&broken);
        let request = Request::new(prompt, ask_usage, shared.length_limit);
        let events = client
            .chat()
            .create_stream_byot(&request)
            .await
            .map_err(|error| Failure::from_client(&error, None))?;
        Ok(Self {
            events,
            broken,
            joiner: Joiner::default(),
            begun: false,
            wrote: false,
            finish: None,
            usage: None,
            settled: false,
        })
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// The next piece of text, or the end.
    pub(super) async fn event(
        &mut self,
        shared: &Shared,
        first_token_by: Instant,
    ) -> Result<ReplyEvent, Failure> {
        // Counted from here, not from the last token: that is passed on, and whoever took it may
        // have been slow to ask for the next.
        let mut idle_since = Instant::now();
        loop {
            if self.settled {
                return self.end();
            }
            let limit = match &self.finish {
                Some(finish) => finish.at + USAGE_WAIT.min(shared.idle_timeout),
                None if self.begun => idle_since + shared.idle_timeout,
                None => first_token_by,
            };
            let Some(chunk) = self.chunk(shared, limit).await? else {
                self.settled = true;
                continue;
            };
            if chunk.is_token {
                idle_since = Instant::now();
            }
            self.begun |= chunk.is_token || chunk.finish_reason.is_some();
            if let Some(reason) = chunk.finish_reason {
                // One that is said again does not end the reply later.
                let at = self.finish.as_ref().map_or_else(Instant::now, |end| end.at);
                self.finish = Some(Finish { reason, at });
            }
            if chunk.usage.is_some() {
                self.usage = chunk.usage;
                self.settled = self.finish.is_some();
            }
            let text = self.joiner.push(&chunk.text);
            if !text.is_empty() {
                self.wrote = true;
                return Ok(ReplyEvent::Delta(text));
            }
        }
    }

    /// The next chunk. `None`: the reply is finished and nothing more comes for it.
    ///
    /// The limit holds for chunks that do not further the reply too, however closely they follow
    /// one another; what does further it is welcome late, as nobody may have asked before.
    async fn chunk(&mut self, shared: &Shared, limit: Instant) -> Result<Option<Chunk>, Failure> {
        let failure = match timeout_at(limit, self.events.next()).await {
            Ok(Some(Ok(event))) => match Chunk::read(&event) {
                Ok(chunk) => match &chunk.error {
                    None if self.is_furthered_by(&chunk) || Instant::now() < limit => {
                        return Ok(Some(chunk));
                    }
                    None => self.too_late(shared),
                    Some(report) => Failure::reported(report),
                },
                Err(error) => Failure::unreadable(&error),
            },
            Ok(Some(Err(error))) => {
                Failure::from_client(&error, self.broken.get().map(String::as_str))
            }
            Ok(None) => Failure::broke_off(self.begun),
            Err(_) => self.too_late(shared),
        };
        // What goes wrong after the end does not undo it.
        match self.finish {
            Some(_) => Ok(None),
            None => Err(failure),
        }
    }

    const fn is_furthered_by(&self, chunk: &Chunk) -> bool {
        match self.finish {
            Some(_) => chunk.usage.is_some(),
            None => chunk.is_token || chunk.finish_reason.is_some(),
        }
    }

    fn too_late(&self, shared: &Shared) -> Failure {
        if self.begun {
            Failure::no_further_token(shared.idle_timeout)
        } else {
            Failure::no_first_token(shared.first_token_timeout)
        }
    }

    fn end(&mut self) -> Result<ReplyEvent, Failure> {
        if let Some(text) = self.joiner.finish() {
            self.wrote = true;
            return Ok(ReplyEvent::Delta(text));
        }
        let reason = self.finish.as_ref().map_or("", |finish| &finish.reason);
        let reason = match reason.to_ascii_lowercase().as_str() {
            "content_filter" => return Err(Failure::filtered()),
            "error" | "abort" => return Err(Failure::aborted(reason)),
            "length" | "max_tokens" => FinishReason::Length,
            // `stop`, and whatever else a model ends by on its own accord.
            _ => FinishReason::Complete,
        };
        if !self.wrote {
            return Err(Failure::empty());
        }
        Ok(ReplyEvent::Finished {
            reason,
            usage: self.usage,
        })
    }
}

impl Shared {
    /// A client for one request: that is how the reason of a break finds its way back.
    fn client(&self, broken: &Broken) -> async_openai::Client<transport::Endpoint> {
        let http = self.http.clone();
        let broken = Broken::clone(broken);
        let service = tower::service_fn(move |request| {
            transport::send(http.clone(), request, Broken::clone(&broken))
        });
        async_openai::Client::build(self.http.clone(), self.endpoint.clone())
            .with_http_service(service)
    }
}
