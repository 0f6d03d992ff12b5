use super::{Chat, ChatError, reply::Replies};
use crate::{
    db::{PathChange, UnfinishedReply, Viewer},
    model::{Message, MessageId, MessageRole},
};

/// What one try at stopping a reply came to.
enum Tried {
    Ended(Box<Message>),
    /// Its process has to be asked first, since it may have text that nobody else has.
    InTheWay(Vec<UnfinishedReply>),
}

impl Chat {
    /// Ends a reply with the text that it has so far; one that had not begun has none. A message
    /// that is finished stays as it is.
    pub async fn stop_reply(&self, viewer: &Viewer, id: MessageId) -> Result<Message, ChatError> {
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move {
            let mut asked = false;
            loop {
                match chat.try_stop(&viewer, id, asked).await? {
                    Tried::Ended(message) => return Ok(*message),
                    Tried::InTheWay(reply) => {
                        chat.replies.request_stops(&viewer, &reply).await?;
                        asked = true;
                    }
                }
            }
        })
        .await
    }

    async fn try_stop(
        &self,
        viewer: &Viewer,
        id: MessageId,
        asked: bool,
    ) -> Result<Tried, ChatError> {
        const MESSAGE: ChatError = ChatError::NotFound("message");
        let mut tx = self.database.viewer_tx(viewer).await?;
        let message = tx.message(id).await?.ok_or(MESSAGE)?;
        if message.role == MessageRole::User {
            return Err(ChatError::Invalid {
                argument: "messageId",
                problem: "names a message that you wrote; only replies can be stopped".to_owned(),
            });
        }
        if message.status.is_terminal() {
            tx.commit().await?;
            return Ok(Tried::Ended(Box::new(message)));
        }
        let conversation = tx.lock_conversation(message.conversation_id).await?;
        let conversation = conversation.ok_or(MESSAGE)?;
        let mut unfinished = tx.lock_unfinished(conversation.id).await?;
        unfinished.retain(|reply| reply.message_id == id);
        if !asked && Replies::are_written(&unfinished) {
            return Ok(Tried::InTheWay(unfinished));
        }
        let ended = self
            .replies
            .end_stopped(viewer, &mut tx, &conversation, &unfinished)
            .await?;
        // Empty, where somebody else was faster.
        if !unfinished.is_empty() {
            tx.touch_conversation(conversation.id, PathChange::None)
                .await?;
        }
        let message = tx.message(id).await?.ok_or(MESSAGE)?;
        tx.commit().await?;
        ended.announce();
        Ok(Tried::Ended(Box::new(message)))
    }
}
