//! What can go wrong with a provider, and what its user is told of it.
//!
//! Invariant: a user reads the server's own sentences alone. What the provider said goes to the
//! log, one short line of it, as far as [`redact`](super::redact) lets it pass.

use std::time::Duration;

use async_openai::error::OpenAIError;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};

use super::{
    redact::{loggable, without_keys},
    transport::Refusal,
    wire::ErrorReport,
};
use crate::{
    llm::{CONTEXT_TOO_LONG, Prompt, ProviderError},
    model::ReplyErrorCode,
};

#[derive(Debug)]
pub(super) struct Failure {
    code: ReplyErrorCode,
    message: &'static str,
    /// For the log.
    detail: String,
    /// The provider's own words, for the log if they are fit for it.
    said: Option<String>,
    /// The model's context in tokens, where the provider says that it is too small.
    context: Option<u32>,
    pub(super) retry: Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    /// What the provider asked for, if it asked for a wait.
    After(Option<Duration>),
    /// At once, without asking for the usage: this provider does not know how.
    WithoutUsage,
}

impl Failure {
    fn new(code: ReplyErrorCode, message: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            message,
            detail: detail.into(),
            said: None,
            context: None,
            retry: Retry::Never,
        }
    }

    fn unavailable(message: &'static str, detail: impl Into<String>) -> Self {
        Self::new(ReplyErrorCode::ProviderUnavailable, message, detail)
    }

    const fn or_retry(mut self, after: Option<Duration>) -> Self {
        self.retry = Retry::After(after);
        self
    }

    pub(super) fn no_first_token(limit: Duration) -> Self {
        Self::new(
            ReplyErrorCode::ProviderTimeout,
            "The model took too long to begin its answer. Send the message again.",
            format!("no token within {} s", limit.as_secs_f32()),
        )
    }

    pub(super) fn no_further_token(limit: Duration) -> Self {
        Self::new(
            ReplyErrorCode::ProviderTimeout,
            "The model stopped in the middle of its answer. Send the message again.",
            format!("no further token within {} s", limit.as_secs_f32()),
        )
    }

    /// The stream ended without saying why.
    pub(super) fn broke_off(begun: bool) -> Self {
        if begun {
            Self::unavailable(
                "The model's answer broke off. Send the message again.",
                "the stream ended without a finish_reason",
            )
        } else {
            Self::unavailable(
                "The model provider gave no answer. Send the message again, or begin a new \
                 conversation if this one is long.",
                "the stream ended before its first token",
            )
            .or_retry(None)
        }
    }

    /// A finished answer without any text is of no use to its reader and would stand in the
    /// history as a turn in which nothing was said.
    pub(super) fn empty() -> Self {
        Self::unavailable(
            "The model's answer was empty. Send the message again.",
            "the stream finished without any text",
        )
    }

    pub(super) fn filtered() -> Self {
        Self::new(
            ReplyErrorCode::ContentFiltered,
            "The model provider's content filter stopped this answer. Change the message and \
             send it again.",
            "stopped by the content filter",
        )
    }

    pub(super) fn aborted(finish_reason: &str) -> Self {
        Self::unavailable(
            "The model's answer broke off. Send the message again.",
            format!("finish_reason {finish_reason}"),
        )
    }

    pub(super) fn unreadable(error: &serde_json::Error) -> Self {
        Self::unavailable(
            "The model provider's answer could not be read. Send the message again.",
            // The error's own text may quote the event.
            format!(
                "an event that is no chat completion ({:?} error)",
                error.classify()
            ),
        )
    }

    /// The provider reported an error in the middle of its stream.
    pub(super) fn reported(report: &ErrorReport) -> Self {
        let status = report
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|status| status.is_client_error() || status.is_server_error())
            .unwrap_or_else(|| implied_status(report));
        Self::classify(status, None, report)
    }

    /// The provider answered, and not with a stream.
    fn refused(refusal: &Refusal) -> Self {
        let report = ErrorReport::read_body(&refusal.body);
        let mut failure = Self::classify(refusal.status, refusal.retry_after, &report);
        let may_lack_usage = matches!(
            refusal.status,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
        );
        if may_lack_usage && refusal.body.contains("stream_options") {
            failure.retry = Retry::WithoutUsage;
        }
        failure
    }

    fn classify(status: StatusCode, retry_after: Option<Duration>, report: &ErrorReport) -> Self {
        let rejected = |message| Self::new(ReplyErrorCode::ProviderRejected, message, "");
        let failure = if is_context_too_long(status, report) {
            Self {
                context: said_context(report),
                ..Self::new(ReplyErrorCode::ContextTooLong, CONTEXT_TOO_LONG, "")
            }
        } else if is_content_filter(report) {
            Self::filtered()
        } else if is_out_of_credit(report) || status == StatusCode::PAYMENT_REQUIRED {
            rejected("The model provider's account has nothing left to spend.")
        } else if status == StatusCode::TOO_MANY_REQUESTS {
            Self::new(
                ReplyErrorCode::ProviderRateLimited,
                "The model provider is busy. Wait a moment and send the message again.",
                "",
            )
            .or_retry(retry_after)
        } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            Self::unavailable(
                "The model provider had a failure of its own. Send the message again.",
                "",
            )
            .or_retry(retry_after)
        } else if status.is_redirection() {
            // Followed, it would carry the conversation to a place that nobody configured.
            rejected("The model provider's address is not set up correctly.")
        } else if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            rejected("The model provider did not accept this server's key.")
        } else if status == StatusCode::NOT_FOUND {
            rejected("The model provider does not have this model.")
        } else {
            rejected("The model provider refused this request.")
        };
        Self {
            detail: format!("status {}", status.as_u16()),
            said: Some(format!(
                "type {:?}, code {:?}: {}",
                report.kind,
                report.code,
                report.message.lines().next().unwrap_or_default()
            )),
            ..failure
        }
    }

    /// What async-openai says. `broken` is why the body of the answer could not be read on, which
    /// async-openai does not pass on.
    pub(super) fn from_client(error: &OpenAIError, broken: Option<&str>) -> Self {
        match error {
            OpenAIError::Boxed(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) => Self::refused(refusal),
                None => Self::unavailable(
                    "The model provider's answer could not be read. Send the message again.",
                    error.to_string(),
                ),
            },
            OpenAIError::Reqwest(error) if error.is_connect() && error.is_timeout() => Self::new(
                ReplyErrorCode::ProviderTimeout,
                "The model provider could not be reached in time. Send the message again.",
                causes(error),
            )
            .or_retry(None),
            OpenAIError::Reqwest(error) => Self::unavailable(
                "The model provider could not be reached. Send the message again.",
                causes(error),
            )
            .or_retry(None),
            OpenAIError::StreamError(_) => Self::unavailable(
                "The connection to the model provider broke. Send the message again.",
                broken.unwrap_or("the stream could not be read on"),
            )
            .or_retry(None),
            OpenAIError::JSONDeserialize(error, _) => Self::unreadable(error),
            OpenAIError::ApiError(_)
            | OpenAIError::FileSaveError(_)
            | OpenAIError::FileReadError(_)
            | OpenAIError::InvalidArgument(_) => Self::new(
                ReplyErrorCode::Internal,
                "The server could not ask the model provider.",
                "the client library refused the request",
            ),
        }
    }

    pub(super) fn into_error(self, key: Option<&SecretString>, prompt: &Prompt) -> ProviderError {
        let key = key.map(ExposeSecret::expose_secret);
        let detail = without_keys(&self.detail, key);
        let detail = match self.said {
            Some(said) => format!("{detail}, {}", loggable(&said, key, prompt)),
            None => detail,
        };
        ProviderError {
            code: self.code,
            context: self.context,
            message: self.message.to_owned(),
            source: Some(anyhow::Error::msg(detail)),
        }
    }
}

/// An error and its causes in one line.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::from(if error.is_connect() {
        "no connection"
    } else {
        "no answer"
    });
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What servers say of a context that is too small. The context's size follows some of it.
const SAID: [&str; 9] = [
    // OpenAI, vLLM, llama-cpp-python
    "maximum context length",
    "context window",
    // llama.cpp
    "available context size",
    // vLLM
    "maximum model length",
    "longer than the model's context length",
    // LiteLLM and others
    "context length exceeded",
    // Anthropic's and Google's compatible endpoints
    "prompt is too long",
    "input token count exceeds",
    "exceeds the maximum number of tokens allowed",
];

fn is_context_too_long(status: StatusCode, report: &ErrorReport) -> bool {
    if matches!(report.code.as_str(), "context_length_exceeded")
        || matches!(
            report.kind.as_str(),
            "context_length_exceeded" | "exceed_context_size_error"
        )
        || status == StatusCode::PAYLOAD_TOO_LARGE
    {
        return true;
    }
    let message = report.message.to_lowercase();
    status != StatusCode::TOO_MANY_REQUESTS && SAID.iter().any(|said| message.contains(said))
}

/// The first number right behind what was said: "maximum context length is 4096 tokens", "context
/// window of 2048", "available context size (512 tokens)". What else follows is the prompt's size.
fn said_context(report: &ErrorReport) -> Option<u32> {
    const NEAR: usize = 20;

    let message = report.message.to_lowercase();
    SAID.iter()
        .filter_map(|said| message.split_once(said))
        .filter_map(|(_, behind)| {
            let start = behind.find(|c: char| c.is_ascii_digit())?;
            let digits: String = behind[start..]
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == ',')
                .filter(char::is_ascii_digit)
                .collect();
            (start <= NEAR).then_some(digits.parse().ok()?)
        })
        .min()
}

fn is_content_filter(report: &ErrorReport) -> bool {
    matches!(
        report.code.as_str(),
        "content_filter" | "content_policy_violation"
    ) || report.kind == "content_filter"
}

fn is_out_of_credit(report: &ErrorReport) -> bool {
    [&report.code, &report.kind].into_iter().any(|word| {
        matches!(
            word.as_str(),
            "insufficient_quota" | "billing_hard_limit_reached"
        )
    })
}

/// Errors inside a stream often have no status.
fn implied_status(report: &ErrorReport) -> StatusCode {
    let says = |word| report.code.contains(word) || report.kind.contains(word);
    if says("rate_limit") || says("RateLimit") {
        StatusCode::TOO_MANY_REQUESTS
    } else if says("authentication") || says("api_key") {
        StatusCode::UNAUTHORIZED
    } else if says("invalid_request") || says("BadRequest") {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::BAD_GATEWAY
    }
}

#[cfg(test)]
mod tests;
