//! Another version of what was said: a question asked in other words, a reply written anew, and
//! the way back to those before.
//!
//! Invariant: nothing that was said is lost. A new version becomes the active one at its place, and
//! what followed the others stays with them.

use serde::Serialize;
use uuid::Uuid;

use super::{
    Chat, ChatError, Sent,
    idempotency::{claim, complete, fingerprint, message_of},
    input::{check_filled, check_key, check_optional, limits},
};
use crate::{
    db::{KeyResult, NewMessage, Operation, PathChange, Versions, Viewer, ViewerTx},
    model::{Conversation, Fork, Message, MessageId, MessageRole, MessageStatus, Place},
};

#[derive(Clone, Debug)]
pub struct EditMessage {
    /// A message of the user's.
    pub message_id: MessageId,
    pub content: String,
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug)]
pub struct RegenerateReply {
    /// A reply to a message of the user's.
    pub message_id: MessageId,
    /// For this reply alone; `None`: the conversation's.
    pub model: Option<String>,
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Regenerated {
    pub conversation: Conversation,
    pub reply: Message,
}

#[derive(Serialize)]
struct EditFingerprint<'a> {
    message_id: Uuid,
    content: &'a str,
}

#[derive(Serialize)]
struct RegenerateFingerprint<'a> {
    message_id: Uuid,
    model: Option<&'a str>,
}

impl Chat {
    /// How many alternatives there are at each fork.
    pub async fn version_counts(
        &self,
        viewer: &Viewer,
        forks: &[Fork],
    ) -> Result<Vec<(Fork, i32)>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let counts = tx.version_counts(forks).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// For each fork and number the newest alternatives or, where the number is not among them,
    /// those that begin with it; each such stretch once. Refused where their texts have more
    /// than `most_bytes`.
    pub async fn versions(
        &self,
        viewer: &Viewer,
        asked: &[(Fork, i32)],
        most_bytes: usize,
    ) -> Result<Vec<Versions>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let mut versions = tx
            .versions(asked, most_bytes)
            .await?
            .ok_or(ChatError::TooMuchText)?;
        tx.commit().await?;
        for stretch in &mut versions {
            self.replies.fill_in(viewer, &mut stretch.messages);
        }
        Ok(versions)
    }

    /// Stores the user's message in other words, beside the one before, and starts the reply to
    /// it. Refused while a reply of the conversation is unfinished.
    pub async fn edit_message(
        &self,
        viewer: &Viewer,
        input: EditMessage,
    ) -> Result<Sent, ChatError> {
        check_filled("content", &input.content, limits::CONTENT)?;
        check_key(input.idempotency_key.as_deref())?;
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move { chat.edit(&viewer, input).await })
            .await
    }

    /// Starts another reply to the same message, beside the one before. Refused while a reply of
    /// the conversation is unfinished.
    pub async fn regenerate_reply(
        &self,
        viewer: &Viewer,
        input: RegenerateReply,
    ) -> Result<Regenerated, ChatError> {
        check_optional("model", input.model.as_deref(), limits::MODEL)?;
        check_key(input.idempotency_key.as_deref())?;
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move { chat.regenerate(&viewer, input).await })
            .await
    }

    /// Goes back to a version: the active path leads to it, and goes on as it last did after it.
    /// Refused while a reply of the conversation is unfinished.
    pub async fn select_version(
        &self,
        viewer: &Viewer,
        message_id: MessageId,
    ) -> Result<Conversation, ChatError> {
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move { chat.select(&viewer, message_id).await })
            .await
    }

    async fn edit(&self, viewer: &Viewer, input: EditMessage) -> Result<Sent, ChatError> {
        let key = input.idempotency_key.as_deref();
        let fingerprint = fingerprint(&EditFingerprint {
            message_id: input.message_id.uuid(),
            content: &input.content,
        });
        let mut tx = self.database.viewer_tx(viewer).await?;
        // Before the busy check: a retry in mid-reply is answered as the first call was.
        if let Some(made) = claim(&mut tx, Operation::EditMessage, key, &fingerprint).await? {
            return self.sent_before(viewer, tx, made).await;
        }
        if self.lifecycle.is_draining() {
            return Err(ChatError::Draining);
        }
        let (conversation, message) = lock_message(&mut tx, input.message_id).await?;
        if message.role != MessageRole::User {
            return Err(not_this_message(
                "is a message of the assistant, and only the user's can be edited",
            ));
        }
        let place = new_version(&mut tx, &conversation, &message).await?;
        let model = self.models.of(&conversation).to_owned();
        let exchange = self
            .store_exchange(
                viewer,
                &mut tx,
                &conversation,
                place,
                input.content,
                model,
                input.idempotency_key.clone(),
            )
            .await?;
        let conversation = tx
            .touch_conversation(
                conversation.id,
                PathChange::rewritten(Some(&exchange.reply)),
            )
            .await?
            .ok_or(ChatError::NotFound("message"))?;
        let made = exchange.made();
        complete(&mut tx, Operation::EditMessage, key, made).await?;
        tx.commit().await?;
        exchange.run.start();
        Ok(Sent {
            conversation,
            user_message: exchange.user_message,
            reply: exchange.reply,
        })
    }

    async fn regenerate(
        &self,
        viewer: &Viewer,
        input: RegenerateReply,
    ) -> Result<Regenerated, ChatError> {
        let key = input.idempotency_key.as_deref();
        let fingerprint = fingerprint(&RegenerateFingerprint {
            message_id: input.message_id.uuid(),
            model: input.model.as_deref(),
        });
        let mut tx = self.database.viewer_tx(viewer).await?;
        if let Some(made) = claim(&mut tx, Operation::RegenerateReply, key, &fingerprint).await? {
            return self.regenerated_before(viewer, tx, made).await;
        }
        // After the key: what is offered may have changed since the first call.
        self.models.check(input.model.as_deref())?;
        if self.lifecycle.is_draining() {
            return Err(ChatError::Draining);
        }
        let (conversation, message) = lock_message(&mut tx, input.message_id).await?;
        if message.role != MessageRole::Assistant {
            return Err(not_this_message(
                "is a message of the user, and only replies can be written anew",
            ));
        }
        if message.parent_id.is_none() {
            return Err(not_this_message(
                "is a greeting, and only replies can be written anew",
            ));
        }
        let place = new_version(&mut tx, &conversation, &message).await?;
        let model = match input.model {
            Some(model) => model,
            None => self.models.of(&conversation).to_owned(),
        };
        let reply = tx
            .insert_message(&NewMessage {
                id: MessageId::new(),
                conversation_id: conversation.id,
                place,
                revision: conversation.revision + 1,
                role: MessageRole::Assistant,
                content: String::new(),
                status: MessageStatus::Pending,
                model: Some(model),
                idempotency_key: input.idempotency_key.clone(),
            })
            .await?;
        let run = self.replies.prepare(viewer, &mut tx, &reply).await?;
        let conversation = tx
            .touch_conversation(conversation.id, PathChange::rewritten(Some(&reply)))
            .await?
            .ok_or(ChatError::NotFound("message"))?;
        let made = KeyResult {
            conversation_id: conversation.id,
            greeting_id: None,
            user_message_id: None,
            reply_id: Some(reply.id),
        };
        complete(&mut tx, Operation::RegenerateReply, key, made).await?;
        tx.commit().await?;
        run.start();
        Ok(Regenerated {
            conversation,
            reply,
        })
    }

    async fn regenerated_before(
        &self,
        viewer: &Viewer,
        mut tx: ViewerTx,
        made: KeyResult,
    ) -> Result<Regenerated, ChatError> {
        let conversation = tx.conversation(made.conversation_id).await?;
        let reply = message_of(&mut tx, made.reply_id).await?;
        tx.commit().await?;
        let (Some(conversation), Some(mut reply)) = (conversation, reply) else {
            return Err(ChatError::KeyResultDeleted);
        };
        self.replies
            .fill_in(viewer, std::slice::from_mut(&mut reply));
        Ok(Regenerated {
            conversation,
            reply,
        })
    }

    async fn select(
        &self,
        viewer: &Viewer,
        message_id: MessageId,
    ) -> Result<Conversation, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let (conversation, message) = lock_message(&mut tx, message_id).await?;
        refuse_if_busy(&mut tx, &conversation).await?;
        if message.active {
            return Ok(conversation);
        }
        let length = tx.select_path(&message, &conversation).await?;
        // No message was stored: the conversation stays where it is in the list.
        let conversation = tx
            .touch_conversation(conversation.id, PathChange::Rewritten { at: None, length })
            .await?
            .ok_or(ChatError::NotFound("message"))?;
        tx.commit().await?;
        Ok(conversation)
    }
}

/// The message as it is while its conversation is locked, and that conversation.
pub(super) async fn lock_message(
    tx: &mut ViewerTx,
    id: MessageId,
) -> Result<(Conversation, Message), ChatError> {
    let gone = || ChatError::NotFound("message");
    let conversation = tx.lock_conversation_of(id).await?.ok_or_else(gone)?;
    // Again: it may have been deleted, and the path may be another, since the lock was asked for.
    let message = tx.message(id).await?.ok_or_else(gone)?;
    Ok((conversation, message))
}

/// Makes room on the active path for another version of `message`.
async fn new_version(
    tx: &mut ViewerTx,
    conversation: &Conversation,
    message: &Message,
) -> Result<Place, ChatError> {
    refuse_if_busy(tx, conversation).await?;
    let count = tx.version_count(message).await?;
    tx.branch_at(message, conversation).await?;
    Ok(Place::beside(message, count))
}

async fn refuse_if_busy(tx: &mut ViewerTx, conversation: &Conversation) -> Result<(), ChatError> {
    match tx.active_replies(&[conversation.id]).await?.pop() {
        Some(running) => Err(ChatError::ReplyInProgress {
            message_id: running.id,
        }),
        None => Ok(()),
    }
}

/// Refuses what `messageId` names. `problem` goes on from the argument's name.
pub(super) fn not_this_message(problem: &str) -> ChatError {
    ChatError::Invalid {
        argument: "messageId",
        problem: problem.to_owned(),
    }
}
