use super::{Chat, ChatError, FollowEvent};
use crate::{
    db::{PathPage, Viewer},
    model::{ConversationId, Message, MessageId, PageRequest},
};
use futures_util::stream::BoxStream;

impl Chat {
    pub async fn messages(
        &self,
        viewer: &Viewer,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let mut messages = tx.messages(ids).await?;
        tx.commit().await?;
        self.replies.fill_in(viewer, &mut messages);
        Ok(messages)
    }

    pub async fn last_messages(
        &self,
        viewer: &Viewer,
        conversations: &[ConversationId],
    ) -> Result<Vec<Message>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let mut messages = tx.last_messages(conversations).await?;
        tx.commit().await?;
        self.replies.fill_in(viewer, &mut messages);
        Ok(messages)
    }

    /// The oldest unfinished reply of each conversation that has one.
    pub async fn active_replies(
        &self,
        viewer: &Viewer,
        conversations: &[ConversationId],
    ) -> Result<Vec<Message>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let mut messages = tx.active_replies(conversations).await?;
        tx.commit().await?;
        self.replies.fill_in(viewer, &mut messages);
        Ok(messages)
    }

    /// The same page of several conversations' active paths; refused where their texts have more
    /// than `most_bytes`. Keys are positions on the path.
    pub async fn path_pages(
        &self,
        viewer: &Viewer,
        conversations: &[ConversationId],
        request: PageRequest<i32>,
        most_bytes: usize,
    ) -> Result<Vec<PathPage>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let mut pages = tx
            .path_pages(conversations, request, most_bytes)
            .await?
            .ok_or(ChatError::TooMuchText)?;
        tx.commit().await?;
        for path in &mut pages {
            self.replies.fill_in(viewer, &mut path.page.items);
        }
        Ok(pages)
    }

    /// How many messages each active path has; a conversation without any is left out.
    pub async fn count_paths(
        &self,
        viewer: &Viewer,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, i64)>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let counts = tx.count_paths(conversations).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// One message as it is written; see [`FollowEvent`] for the order of events.
    pub async fn follow(
        &self,
        viewer: &Viewer,
        message_id: MessageId,
    ) -> Result<BoxStream<'static, Result<FollowEvent, ChatError>>, ChatError> {
        self.replies.follow(viewer, message_id).await
    }
}
