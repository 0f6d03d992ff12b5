use futures_util::{StreamExt, stream::BoxStream};
use loquat::{
    llm::{FinishReason, Prompt, Provider, ProviderError, ReplyEvent},
    model::{ReplyErrorCode, TokenUsage},
};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::within;

/// A provider whose every word the test says itself.
pub struct Model {
    asked: mpsc::UnboundedSender<Writing>,
}

/// The test's side of it: the replies that were asked for, in order.
pub struct Desk {
    waiting: Mutex<mpsc::UnboundedReceiver<Writing>>,
}

/// One reply that the test writes.
pub struct Writing {
    pub prompt: Prompt,
    words: mpsc::UnboundedSender<Result<ReplyEvent, ProviderError>>,
}

pub fn model() -> (Model, Desk) {
    let (asked, waiting) = mpsc::unbounded_channel();
    (
        Model { asked },
        Desk {
            waiting: Mutex::new(waiting),
        },
    )
}

impl Provider for Model {
    fn reply(&self, prompt: Prompt) -> BoxStream<'static, Result<ReplyEvent, ProviderError>> {
        assert!(
            prompt.turns.last().is_none_or(|turn| turn.text != "panic!"),
            "on purpose"
        );
        let (words, stream) = mpsc::unbounded_channel();
        self.asked.send(Writing { prompt, words }).ok();
        UnboundedReceiverStream::new(stream).boxed()
    }
}

impl Desk {
    /// Waits until a reply is asked for.
    pub async fn next(&self) -> Writing {
        let mut waiting = self.waiting.lock().await;
        within("a reply is asked for", waiting.recv())
            .await
            .expect("the model lives")
    }

    /// The same without a limit, for who waits while others act. `None`: the process is gone.
    pub async fn asked(&self) -> Option<Writing> {
        self.waiting.lock().await.recv().await
    }

    /// How many replies have been asked for that no test has taken up.
    pub async fn unanswered(&self) -> usize {
        self.waiting.lock().await.len()
    }
}

impl Writing {
    pub fn say(&self, text: &str) {
        self.words.send(Ok(ReplyEvent::Delta(text.to_owned()))).ok();
    }

    pub fn finish(self) {
        let finished = ReplyEvent::Finished {
            reason: FinishReason::Complete,
            usage: Some(TokenUsage {
                prompt_tokens: 3,
                completion_tokens: 4,
                total_tokens: 7,
            }),
        };
        self.words.send(Ok(finished)).ok();
    }

    pub fn cut_at_its_limit(self) {
        let finished = ReplyEvent::Finished {
            reason: FinishReason::Length,
            usage: None,
        };
        self.words.send(Ok(finished)).ok();
    }

    pub fn fail(self, code: ReplyErrorCode, message: &str) {
        let error = ProviderError {
            code,
            context: None,
            message: message.to_owned(),
            source: None,
        };
        self.words.send(Err(error)).ok();
    }

    pub fn is_hung_up(&self) -> bool {
        self.words.is_closed()
    }

    /// Waits until the server hangs up.
    pub async fn hung_up(&self) {
        within("the server hangs up", self.words.closed()).await;
    }
}
