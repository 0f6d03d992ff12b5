use super::{Chat, ChatError, reply::Replies};
use crate::{
    db::{PathChange, Viewer},
    model::{Message, MessageId, MessageRole},
};

impl Chat {
    /// Ends a reply with the text that it has so far; one that had not begun has none. A message
    /// that is finished stays as it is.
    pub async fn stop_reply(&self, viewer: &Viewer, id: MessageId) -> Result<Message, ChatError> {
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move {
            let mut asked = false;
            loop {
                if let Some(message) = chat.try_stop(&viewer, id, asked).await? {
                    return Ok(message);
                }
                chat.replies.request_stops(&viewer, &[id]).await?;
                asked = true;
            }
        })
        .await
    }

    /// `None`: its process has to be asked first, since it may have text that nobody else has.
    async fn try_stop(
        &self,
        viewer: &Viewer,
        id: MessageId,
        asked: bool,
    ) -> Result<Option<Message>, ChatError> {
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
            return Ok(Some(message));
        }
        let conversation = tx.lock_conversation(message.conversation_id).await?;
        let conversation = conversation.ok_or(MESSAGE)?;
        let mut unfinished = tx.lock_unfinished(conversation.id).await?;
        unfinished.retain(|reply| reply.message_id == id);
        if !asked && !Replies::being_written(&unfinished).is_empty() {
            return Ok(None);
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
        Ok(Some(message))
    }
}
