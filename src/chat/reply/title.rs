//! What a conversation is called that its user has not named: the model says it once, after the
//! first replies.
//!
//! Nobody waits for a title: not the reply, whose end is stored before, not a process that stops,
//! and no other reply's room. One that does not come, for whatever reason, is asked for again after
//! the next reply.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{sync::Semaphore, time::timeout};

use super::{Engine, ask::count, registry::Run};
use crate::{
    config::TitleSettings,
    db::{Beginning, DbError, Viewer},
    llm::{ProviderError, ReplyEvent, Tokenizer, Untitled, title},
    model::{ConversationId, TokenUsage},
};

/// Replies after this place on the path bring no further try: about three of them come before.
const LAST_TRY: i32 = 6;

/// How many titles one process writes at once. More than that are left to the next replies.
const AT_ONCE: usize = 16;

/// How long a title may take, its retries and the database included.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// How much the model reads of the first question and of its answer, in characters each.
const SHOWN: i32 = 1_000;

/// The room for titles of one process.
#[derive(Clone)]
pub(super) struct Titles(Arc<Semaphore>);

impl Default for Titles {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

#[derive(Debug, thiserror::Error)]
enum TitleError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl Engine {
    /// A reply of this run's conversation is stored whole, and was written by this model.
    pub(super) fn title_soon(self: &Arc<Self>, run: &Run, model: String) {
        let model = match &self.settings.titles {
            TitleSettings::Nobody => return,
            TitleSettings::TheModel => model,
            TitleSettings::Model(model) => model.clone(),
        };
        if run.position > LAST_TRY || self.lifecycle.is_draining() {
            return;
        }
        let Ok(place) = Arc::clone(&self.titles.0).try_acquire_owned() else {
            return;
        };
        let (engine, viewer, id) = (Arc::clone(self), run.viewer.clone(), run.conversation_id);
        self.lifecycle.spawn(async move {
            let _place = place;
            let title = timeout(TIME_LIMIT, engine.title(&viewer, id, model));
            tokio::select! {
                () = engine.lifecycle.hard_stop().cancelled() => {}
                titled = title => match titled {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(
                        conversation.id = %id,
                        error = &error as &dyn std::error::Error,
                        "a conversation could not be titled"
                    ),
                    Err(_) => tracing::warn!(
                        conversation.id = %id,
                        "a conversation could not be titled in time"
                    ),
                }
            }
        });
    }

    async fn title(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        model: String,
    ) -> Result<(), TitleError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let beginning = tx.untitled_beginning(id, SHOWN).await?;
        tx.commit().await?;
        let Some(Beginning { question, answer }) = beginning else {
            return Ok(());
        };
        let untitled = Untitled {
            model,
            question,
            answer,
        };
        let (answer, usage) = self.ask_title(untitled).await?;
        let mut tx = self.database.viewer_tx(viewer).await?;
        tx.settle_title(id, title::tidy(&answer).as_deref(), usage)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// What the model says, as far as it is of use, and what that cost.
    async fn ask_title(&self, untitled: Untitled) -> Result<(String, TokenUsage), ProviderError> {
        let mut events = self.provider.title(untitled.clone());
        let mut answer = String::new();
        let mut told = None;
        while let Some(event) = events.next().await {
            match event? {
                ReplyEvent::Delta(text) => answer.push_str(&text),
                ReplyEvent::Finished { usage, .. } => told = usage,
            }
            if title::is_enough(&answer) {
                break;
            }
        }
        // Hangs up.
        drop(events);
        let usage = match told {
            Some(usage) => usage,
            None => {
                let prompt = untitled.into_prompt();
                let counted = count(Tokenizer::of(&prompt.model), prompt, answer.clone()).await;
                let (prompt, completion) = counted.unwrap_or_default();
                TokenUsage::of(prompt, completion)
            }
        };
        Ok((answer, usage))
    }
}
