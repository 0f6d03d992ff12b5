use serde::Serialize;
use uuid::Uuid;

use super::{
    Chat, ChatError,
    idempotency::{claim, complete, fingerprint, message_of},
    input::{check_filled, check_key, check_optional, limits},
    reply::{PreparedRun, Replies},
};
use crate::{
    db::{KeyResult, NewMessage, Operation, PathChange, UnfinishedReply, Viewer, ViewerTx},
    model::{Conversation, ConversationId, Message, MessageId, MessageRole, MessageStatus, Place},
};

#[derive(Clone, Debug)]
pub struct SendMessage {
    pub conversation_id: ConversationId,
    pub content: String,
    /// For this reply alone; `None`: the conversation's.
    pub model: Option<String>,
    pub idempotency_key: Option<String>,
    pub when_busy: BusyPolicy,
}

/// What a message does while replies are unfinished in its conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum BusyPolicy {
    /// It is refused.
    #[default]
    Reject,
    /// Its reply waits until those before it have ended.
    Enqueue,
    /// They are stopped.
    Stop,
}

impl BusyPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub conversation: Conversation,
    pub user_message: Message,
    pub reply: Message,
}

/// What a key stands for, besides itself: the other input fields.
#[derive(Serialize)]
struct SendFingerprint<'a> {
    conversation_id: Uuid,
    content: &'a str,
    model: Option<&'a str>,
    // Not where it is the default: a key that a process without the others has stored stays good.
    #[serde(skip_serializing_if = "BusyPolicy::is_default")]
    when_busy: BusyPolicy,
}

/// What one try at storing a message came to.
enum Tried {
    Sent(Box<Sent>),
    /// The processes that write some of these replies have to be asked to end them first. Nothing
    /// is stored.
    InTheWay(Vec<UnfinishedReply>),
}

impl Chat {
    /// Stores the user's message and the reply to it, and starts writing the reply, unless it has
    /// to wait for earlier ones.
    pub async fn send_message(
        &self,
        viewer: &Viewer,
        input: SendMessage,
    ) -> Result<Sent, ChatError> {
        check_filled("content", &input.content, limits::CONTENT)?;
        check_optional("model", input.model.as_deref(), limits::MODEL)?;
        check_key(input.idempotency_key.as_deref())?;
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move {
            let mut asked = false;
            loop {
                match chat.try_send(&viewer, &input, asked).await? {
                    Tried::Sent(sent) => return Ok(*sent),
                    Tried::InTheWay(replies) => {
                        chat.replies.request_stops(&viewer, &replies).await?;
                        asked = true;
                    }
                }
            }
        })
        .await
    }

    /// All of it in one transaction, the stopping of what is in its way included: nobody else's
    /// message comes in between. Once they have been `asked`, processes that still write are not
    /// waited for.
    async fn try_send(
        &self,
        viewer: &Viewer,
        input: &SendMessage,
        asked: bool,
    ) -> Result<Tried, ChatError> {
        let key = input.idempotency_key.as_deref();
        let fingerprint = fingerprint(&SendFingerprint {
            conversation_id: input.conversation_id.uuid(),
            content: &input.content,
            model: input.model.as_deref(),
            when_busy: input.when_busy,
        });
        let mut tx = self.database.viewer_tx(viewer).await?;
        // Before the busy check: a retry in mid-reply is answered as the first call was, and stops
        // nothing.
        if let Some(made) = claim(&mut tx, Operation::SendMessage, key, &fingerprint).await? {
            let sent = self.sent_before(viewer, tx, made).await?;
            return Ok(Tried::Sent(Box::new(sent)));
        }
        // After the key: what is offered may have changed since the first call.
        self.models.check(input.model.as_deref())?;
        if self.lifecycle.is_draining() {
            return Err(ChatError::Draining);
        }
        let conversation = tx
            .lock_conversation(input.conversation_id)
            .await?
            .ok_or(ChatError::NotFound("conversation"))?;
        let mut stopped = Vec::new();
        match input.when_busy {
            BusyPolicy::Reject => {
                if let Some(running) = tx.active_replies(&[conversation.id]).await?.pop() {
                    return Err(ChatError::ReplyInProgress {
                        message_id: running.id,
                    });
                }
            }
            BusyPolicy::Enqueue => {}
            BusyPolicy::Stop => {
                stopped = tx.lock_unfinished(conversation.id).await?;
                if !asked && Replies::are_written(&stopped) {
                    return Ok(Tried::InTheWay(stopped));
                }
            }
        }
        let stopped = self
            .replies
            .end_stopped(viewer, &mut tx, &conversation, &stopped)
            .await?;
        let model = match &input.model {
            Some(model) => model.clone(),
            None => self.models.of(&conversation).to_owned(),
        };
        let parent = tx.last_messages(&[conversation.id]).await?.pop();
        let exchange = self
            .store_exchange(
                viewer,
                &mut tx,
                &conversation,
                Place::after(parent.as_ref()),
                input.content.clone(),
                model,
                input.idempotency_key.clone(),
            )
            .await?;
        let conversation = tx
            .touch_conversation(conversation.id, PathChange::appended(&exchange.reply))
            .await?
            .ok_or(ChatError::NotFound("conversation"))?;
        let made = exchange.made();
        complete(&mut tx, Operation::SendMessage, key, made).await?;
        tx.commit().await?;
        stopped.announce();
        exchange.run.start();
        Ok(Tried::Sent(Box::new(Sent {
            conversation,
            user_message: exchange.user_message,
            reply: exchange.reply,
        })))
    }

    pub(super) async fn sent_before(
        &self,
        viewer: &Viewer,
        mut tx: ViewerTx,
        made: KeyResult,
    ) -> Result<Sent, ChatError> {
        let conversation = tx.conversation(made.conversation_id).await?;
        let user_message = message_of(&mut tx, made.user_message_id).await?;
        let reply = message_of(&mut tx, made.reply_id).await?;
        tx.commit().await?;
        match (conversation, user_message, reply) {
            (Some(conversation), Some(user_message), Some(mut reply)) => {
                self.replies
                    .fill_in(viewer, std::slice::from_mut(&mut reply));
                Ok(Sent {
                    conversation,
                    user_message,
                    reply,
                })
            }
            _ => Err(ChatError::KeyResultDeleted),
        }
    }

    /// Stores a question at its place, which is the end of the active path, and the pending reply to
    /// it with its run. The conversation is locked, and touched afterwards.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one column of what is stored"
    )]
    pub(super) async fn store_exchange(
        &self,
        viewer: &Viewer,
        tx: &mut ViewerTx,
        conversation: &Conversation,
        place: Place,
        content: String,
        model: String,
        idempotency_key: Option<String>,
    ) -> Result<Exchange, ChatError> {
        let user_message = tx
            .insert_message(&NewMessage {
                id: MessageId::new(),
                conversation_id: conversation.id,
                place,
                revision: conversation.revision + 1,
                role: MessageRole::User,
                content,
                status: MessageStatus::Completed,
                model: None,
                idempotency_key,
            })
            .await?;
        let reply = tx
            .insert_message(&NewMessage {
                id: MessageId::new(),
                conversation_id: conversation.id,
                place: Place::after(Some(&user_message)),
                revision: user_message.revision,
                role: MessageRole::Assistant,
                content: String::new(),
                status: MessageStatus::Pending,
                model: Some(model),
                idempotency_key: None,
            })
            .await?;
        let run = self.replies.prepare(viewer, tx, &reply).await?;
        Ok(Exchange {
            user_message,
            reply,
            run,
        })
    }
}

/// A question and the reply to it, not yet committed.
pub(super) struct Exchange {
    pub user_message: Message,
    pub reply: Message,
    /// To be started after the commit.
    pub run: PreparedRun,
}

impl Exchange {
    /// What its idempotency key stands for.
    pub fn made(&self) -> KeyResult {
        KeyResult {
            conversation_id: self.reply.conversation_id,
            greeting_id: None,
            user_message_id: Some(self.user_message.id),
            reply_id: Some(self.reply.id),
        }
    }
}
