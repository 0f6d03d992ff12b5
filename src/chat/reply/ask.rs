//! What a run asks the provider, what comes of it, and what it cost.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::task::spawn_blocking;

use super::{
    Engine,
    registry::Run,
    run::{Stop, failed},
};
use crate::{
    chat::{
        lock,
        prompt::{Material, TooLong, Window},
    },
    db::Outcome,
    llm::{CONTEXT_TOO_LONG, FinishReason, Prompt, ProviderError, ReplyEvent, Tokenizer},
    model::{ReplyErrorCode, TokenUsage},
};

/// The longest reply that is kept, in bytes. A provider that never ends must not fill the memory.
pub(super) const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// What the provider was asked last and says that it cost. It outlives the asking, so that a reply
/// that is stopped in the middle has its price too.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Asking>);

#[derive(Debug, Default)]
struct Asking {
    prompt: Option<Prompt>,
    told: Option<TokenUsage>,
}

impl Asked {
    /// Which model, if one was asked.
    pub fn model(&self) -> Option<String> {
        let asking = lock(&self.0);
        asking.prompt.as_ref().map(|prompt| prompt.model.clone())
    }
}

impl Engine {
    /// A model that refuses the prompt as too long is asked again with less, to the size that it
    /// says or by halves, until nothing is left but what is never left out.
    pub(super) async fn ask(&self, run: &Run, material: Material, asked: &Asked) -> Stop {
        let mut window = Window::of(&material.model, &self.settings);
        let mut material = Some(Arc::new(material));
        let mut sent_before = None;
        while let Some(shown) = material.clone() {
            let prompt = match assemble(shown, window).await {
                Ok(prompt) if sent_before == Some(prompt.turns.len()) => break,
                Ok(prompt) => prompt,
                Err(TooLong) => break,
            };
            lock(&asked.0).prompt = Some(prompt.clone());
            let error = match self.write(run, &prompt, &mut material, asked).await {
                Ok(stop) => return stop,
                Err(error) => error,
            };
            tracing::warn!(
                message.id = %run.message_id(),
                reply.error = error.code.as_str(),
                error = &error as &dyn std::error::Error,
                "the provider failed to write a reply"
            );
            if error.code != ReplyErrorCode::ContextTooLong || material.is_none() {
                return Stop::Ended(failed(error.code, error.message));
            }
            sent_before = Some(prompt.turns.len());
            let sent = count(window.tokenizer, prompt, String::new()).await;
            window = window.after_refusal(sent.map_or(0, |(prompt, _)| prompt), error.context);
        }
        Stop::Ended(failed(ReplyErrorCode::ContextTooLong, CONTEXT_TOO_LONG))
    }

    /// Takes what the provider writes into the log. The material goes with the first word: nothing
    /// is asked for again after it.
    async fn write(
        &self,
        run: &Run,
        prompt: &Prompt,
        material: &mut Option<Arc<Material>>,
        asked: &Asked,
    ) -> Result<Stop, ProviderError> {
        let mut events = self.provider.reply(prompt.clone());
        while let Some(event) = events.next().await {
            match event? {
                ReplyEvent::Delta(text) => {
                    *material = None;
                    if run.lost.is_cancelled() || !run.holds_lease() {
                        return Ok(Stop::Lost);
                    }
                    let text = text.replace('\0', "\u{FFFD}");
                    let fits = beginning(&text, MAX_REPLY_BYTES - run.log.size());
                    run.log.append(fits);
                    if fits.len() < text.len() {
                        return Ok(Stop::Ended(failed(
                            ReplyErrorCode::ProviderRejected,
                            "The reply grew longer than the server keeps, and was cut.",
                        )));
                    }
                }
                ReplyEvent::Finished { reason, usage } => {
                    lock(&asked.0).told = usage;
                    return Ok(Stop::Ended(Outcome::Completed {
                        truncated: reason == FinishReason::Length,
                    }));
                }
            }
        }
        Ok(Stop::Ended(failed(
            ReplyErrorCode::ProviderUnavailable,
            "The model's answer broke off. Send the message again.",
        )))
    }

    pub(super) fn took_too_long(&self, run: &Run) -> Stop {
        tracing::warn!(
            message.id = %run.message_id(),
            "a reply was not finished within {} s",
            self.settings.reply_timeout.as_secs()
        );
        Stop::Ended(failed(
            ReplyErrorCode::ProviderTimeout,
            "The model did not finish its answer in the time that it is given. Send the message \
             again.",
        ))
    }

    /// What the provider says that the reply cost; where it says nothing, what was counted here. A
    /// reply without text is not known to have cost anything.
    pub(super) async fn cost(&self, run: &Run, asked: Asked) -> Option<TokenUsage> {
        let Asking { prompt, told } = asked.0.into_inner().unwrap_or_default();
        if told.is_some() {
            return told;
        }
        let (prompt, text) = (prompt?, run.log.text());
        if text.is_empty() {
            return None;
        }
        let counted = count(Tokenizer::of(&prompt.model), prompt, text).await;
        counted.map(|(prompt, completion)| TokenUsage::of(prompt, completion))
    }
}

/// As much of a text as so many bytes hold.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Counting takes its time: a second for what a slow machine is shown at most.
async fn assemble(material: Arc<Material>, window: Window) -> Result<Prompt, TooLong> {
    if !material.needs_counting(window) {
        return material.assemble(window);
    }
    spawn_blocking(move || material.assemble(window))
        .await
        .expect("counting does not panic")
}

/// The tokens of a prompt and of an answer; `None` when they could not be counted, which must not
/// keep the answer from being stored.
pub(super) async fn count(
    tokenizer: Tokenizer,
    prompt: Prompt,
    answer: String,
) -> Option<(usize, usize)> {
    let counting = spawn_blocking(move || {
        (
            tokenizer.count_prompt(&prompt.turns),
            tokenizer.count(&answer),
        )
    });
    let counted = counting.await;
    if counted.is_err() {
        tracing::error!("what a reply has cost could not be counted");
    }
    counted.ok()
}
