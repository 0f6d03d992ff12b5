use serde::Serialize;

use super::{
    Chat, ChatError,
    idempotency::{claim, complete, fingerprint, message_of},
    input::{check_filled, check_key, check_optional, limits},
};
use crate::{
    db::{KeyResult, NewConversation, NewMessage, Operation, PathChange, Viewer, ViewerTx},
    model::{Conversation, ConversationId, Message, MessageId, MessageRole, MessageStatus, Place},
};

#[derive(Clone, Debug, Default)]
pub struct StartChat {
    pub title: Option<String>,
    pub system_prompt: Option<String>,
    pub model: Option<String>,
    /// The user's first message.
    pub message: Option<String>,
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Started {
    pub conversation: Conversation,
    pub greeting: Option<Message>,
    pub user_message: Option<Message>,
    pub reply: Option<Message>,
}

#[derive(Serialize)]
struct StartFingerprint<'a> {
    title: Option<&'a str>,
    system_prompt: Option<&'a str>,
    model: Option<&'a str>,
    message: Option<&'a str>,
}

impl Chat {
    /// Makes a conversation, with the configured greeting and, where there is a message, the
    /// reply to it.
    pub async fn start_chat(
        &self,
        viewer: &Viewer,
        input: StartChat,
    ) -> Result<Started, ChatError> {
        check_optional("title", input.title.as_deref(), limits::TITLE)?;
        check_optional(
            "systemPrompt",
            input.system_prompt.as_deref(),
            limits::SYSTEM_PROMPT,
        )?;
        check_optional("model", input.model.as_deref(), limits::MODEL)?;
        if let Some(message) = &input.message {
            check_filled("message", message, limits::CONTENT)?;
        }
        check_key(input.idempotency_key.as_deref())?;
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move { chat.start_conversation(&viewer, input).await })
            .await
    }

    async fn start_conversation(
        &self,
        viewer: &Viewer,
        input: StartChat,
    ) -> Result<Started, ChatError> {
        let key = input.idempotency_key.as_deref();
        let fingerprint = fingerprint(&StartFingerprint {
            title: input.title.as_deref(),
            system_prompt: input.system_prompt.as_deref(),
            model: input.model.as_deref(),
            message: input.message.as_deref(),
        });
        let mut tx = self.database.viewer_tx(viewer).await?;
        if let Some(made) = claim(&mut tx, Operation::StartChat, key, &fingerprint).await? {
            return self.started_before(viewer, tx, made).await;
        }
        self.models.check(input.model.as_deref())?;
        if self.lifecycle.is_draining() {
            return Err(ChatError::Draining);
        }
        if input.message.is_some() {
            // Before the list, which the new conversation locks.
            tx.lock_places().await?;
        }
        let mut conversation = tx
            .insert_conversation(&NewConversation {
                id: ConversationId::new(),
                title: input.title,
                system_prompt: input.system_prompt,
                model: input.model,
            })
            .await?;
        let greeting = self.insert_greeting(&mut tx, &conversation).await?;
        let exchange = match input.message {
            Some(message) => {
                let model = self.models.of(&conversation).to_owned();
                Some(
                    self.store_exchange(
                        viewer,
                        &mut tx,
                        &conversation,
                        Place::after(greeting.as_ref()),
                        message,
                        model,
                        input.idempotency_key.clone(),
                    )
                    .await?,
                )
            }
            None => None,
        };
        let last = exchange.as_ref().map(|exchange| &exchange.reply);
        if let Some(last) = last.or(greeting.as_ref()) {
            conversation = tx
                .touch_conversation(conversation.id, PathChange::appended(last))
                .await?
                .ok_or(ChatError::NotFound("conversation"))?;
        }
        let made = KeyResult {
            conversation_id: conversation.id,
            greeting_id: greeting.as_ref().map(|greeting| greeting.id),
            user_message_id: exchange.as_ref().map(|exchange| exchange.user_message.id),
            reply_id: exchange.as_ref().map(|exchange| exchange.reply.id),
        };
        complete(&mut tx, Operation::StartChat, key, made).await?;
        tx.commit().await?;
        let (user_message, reply) = match exchange {
            Some(exchange) => {
                exchange.run.start();
                (Some(exchange.user_message), Some(exchange.reply))
            }
            None => (None, None),
        };
        Ok(Started {
            conversation,
            greeting,
            user_message,
            reply,
        })
    }

    async fn started_before(
        &self,
        viewer: &Viewer,
        mut tx: ViewerTx,
        made: KeyResult,
    ) -> Result<Started, ChatError> {
        let conversation = tx
            .conversation(made.conversation_id)
            .await?
            .ok_or(ChatError::KeyResultDeleted)?;
        let greeting = message_of(&mut tx, made.greeting_id).await?;
        let user_message = message_of(&mut tx, made.user_message_id).await?;
        let mut reply = message_of(&mut tx, made.reply_id).await?;
        tx.commit().await?;
        let lost = |id: Option<MessageId>, found: &Option<Message>| id.is_some() && found.is_none();
        if lost(made.greeting_id, &greeting)
            || lost(made.user_message_id, &user_message)
            || lost(made.reply_id, &reply)
        {
            return Err(ChatError::KeyResultDeleted);
        }
        self.replies.fill_in(viewer, reply.as_mut_slice());
        Ok(Started {
            conversation,
            greeting,
            user_message,
            reply,
        })
    }

    /// The configured greeting as the first message of an empty conversation, which is touched
    /// afterwards.
    pub(super) async fn insert_greeting(
        &self,
        tx: &mut ViewerTx,
        conversation: &Conversation,
    ) -> Result<Option<Message>, ChatError> {
        let Some(greeting) = &self.settings.greeting else {
            return Ok(None);
        };
        let message = tx
            .insert_message(&NewMessage {
                id: MessageId::new(),
                conversation_id: conversation.id,
                place: Place::after(None),
                revision: conversation.revision + 1,
                role: MessageRole::Assistant,
                content: greeting.clone(),
                status: MessageStatus::Completed,
                model: None,
                idempotency_key: None,
            })
            .await?;
        Ok(Some(message))
    }
}
