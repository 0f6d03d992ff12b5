use super::{
    Chat, ChatError,
    input::{check_optional, limits},
    versions::{lock_message, not_this_message},
};
use crate::{
    db::{PathChange, Viewer},
    model::{Feedback, Message, MessageId, MessageRole, Rating},
};

#[derive(Clone, Debug)]
pub struct RateMessage {
    /// A message of the assistant's.
    pub message_id: MessageId,
    /// `None`: the feedback is taken back.
    pub rating: Option<Rating>,
    /// Only beside a rating.
    pub comment: Option<String>,
}

impl Chat {
    /// Notes what the user thinks of a message of the assistant, in place of what they thought
    /// before.
    pub async fn rate_message(
        &self,
        viewer: &Viewer,
        input: RateMessage,
    ) -> Result<Message, ChatError> {
        check_optional("comment", input.comment.as_deref(), limits::COMMENT)?;
        let feedback = match (input.rating, input.comment) {
            (Some(rating), comment) => Some(Feedback { rating, comment }),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(ChatError::Invalid {
                    argument: "comment",
                    problem: "needs a rating beside it".to_owned(),
                });
            }
        };
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move {
            let mut tx = chat.database.viewer_tx(&viewer).await?;
            let (conversation, message) = lock_message(&mut tx, input.message_id).await?;
            if message.role != MessageRole::Assistant {
                return Err(not_this_message(
                    "is a message of the user, and only the assistant's are rated",
                ));
            }
            let conversation = tx
                .touch_conversation(conversation.id, PathChange::None)
                .await?
                .ok_or(ChatError::NotFound("message"))?;
            tx.rate_message(message.id, feedback.as_ref(), conversation.revision)
                .await?;
            tx.commit().await?;
            let mut message = Message {
                feedback,
                revision: conversation.revision,
                ..message
            };
            chat.replies
                .fill_in(&viewer, std::slice::from_mut(&mut message));
            Ok(message)
        })
        .await
    }
}
