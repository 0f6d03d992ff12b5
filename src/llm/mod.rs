//! Where replies come from: an OpenAI-compatible server, or the built-in demo assistant.
//!
//! A provider turns one prompt into one stream of text. It knows nothing of users,
//! conversations or storage. Invariant: a stream ends with exactly one [`ReplyEvent::Finished`]
//! or one error; a connection that ends otherwise is an error. Dropping the stream hangs up.

pub mod demo;
mod known;
pub mod openai;
pub mod title;
mod tokens;

use std::sync::Arc;

use futures_util::stream::BoxStream;

pub use known::Known;
pub use title::Untitled;
pub use tokens::{AROUND_A_TURN, BEFORE_THE_ANSWER, Tokenizer};

use crate::model::{ReplyErrorCode, TokenUsage};

/// Writes replies.
pub trait Provider: Send + Sync + 'static {
    /// Starts one reply. Nothing happens until the stream is polled.
    fn reply(&self, prompt: Prompt) -> BoxStream<'static, Result<ReplyEvent, ProviderError>>;

    /// The same for the title of a conversation, which [`title::tidy`] finds in what is written.
    fn title(&self, untitled: Untitled) -> BoxStream<'static, Result<ReplyEvent, ProviderError>> {
        self.reply(untitled.into_prompt())
    }
}

/// What the model is asked to continue, oldest turn first.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub model: String,
    /// Shared: what was asked is counted afterwards where the provider does not say.
    pub turns: Arc<[Turn]>,
    /// The longest answer, in the model's tokens; `None`: what the provider allows.
    pub max_tokens: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub role: TurnRole,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnRole {
    System,
    User,
    Assistant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyEvent {
    /// More text. Never empty, free of U+0000, and never half of a surrogate pair.
    Delta(String),
    Finished {
        reason: FinishReason,
        usage: Option<TokenUsage>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model had said everything.
    Complete,
    /// The provider's length limit cut the text.
    Length,
}

/// What a user reads whose message does not fit, whoever finds out.
pub const CONTEXT_TOO_LONG: &str = "This is more than the model can read. Shorten the message, \
    begin a new conversation, or choose a model that reads more.";

/// Why a reply could not be written, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("the provider failed ({}): {message}", code.as_str())]
pub struct ProviderError {
    pub code: ReplyErrorCode,
    /// The model's context in tokens, where the provider says that it is too small for the prompt.
    pub context: Option<u32>,
    /// For the chat's user: no addresses, no keys, nothing of the provider's own text that could
    /// hold either.
    pub message: String,
    /// For the log.
    #[source]
    pub source: Option<anyhow::Error>,
}
