use super::{
    Chat, ChatError,
    input::{check_optional, limits},
};
use crate::{
    db::{ConversationChanges, ConversationKey, PathChange, User, Viewer},
    model::{
        Conversation, ConversationFilter, ConversationId, ConversationOrder, Page, PageRequest,
    },
};

impl Chat {
    /// The viewer's own account.
    pub async fn user(&self, viewer: &Viewer) -> Result<User, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let user = tx.user().await?.ok_or(ChatError::NotFound("viewer"))?;
        tx.commit().await?;
        Ok(user)
    }

    pub async fn conversations(
        &self,
        viewer: &Viewer,
        ids: &[ConversationId],
    ) -> Result<Vec<Conversation>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let conversations = tx.conversations(ids).await?;
        tx.commit().await?;
        Ok(conversations)
    }

    /// The system prompts of those of the conversations that have one.
    pub async fn system_prompts(
        &self,
        viewer: &Viewer,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, String)>, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let prompts = tx.system_prompts(ids).await?;
        tx.commit().await?;
        Ok(prompts)
    }

    pub async fn conversation_page(
        &self,
        viewer: &Viewer,
        filter: &ConversationFilter,
        order: ConversationOrder,
        request: PageRequest<ConversationKey>,
    ) -> Result<Page<Conversation>, ChatError> {
        check_filter(filter)?;
        let mut tx = self.database.viewer_tx(viewer).await?;
        let page = tx.conversation_page(filter, order, request).await?;
        tx.commit().await?;
        Ok(page)
    }

    pub async fn count_conversations(
        &self,
        viewer: &Viewer,
        filter: &ConversationFilter,
    ) -> Result<i64, ChatError> {
        check_filter(filter)?;
        let mut tx = self.database.viewer_tx(viewer).await?;
        let count = tx.count_conversations(filter).await?;
        tx.commit().await?;
        Ok(count)
    }

    pub async fn update_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        changes: ConversationChanges,
    ) -> Result<Conversation, ChatError> {
        check_optional(
            "title",
            changes.title.as_ref().and_then(Option::as_deref),
            limits::TITLE,
        )?;
        check_optional(
            "systemPrompt",
            changes.system_prompt.as_ref().and_then(Option::as_deref),
            limits::SYSTEM_PROMPT,
        )?;
        self.models.check(changes.model.as_deref())?;
        let mut tx = self.database.viewer_tx(viewer).await?;
        let conversation = tx
            .update_conversation(id, &changes)
            .await?
            .ok_or(ChatError::NotFound("conversation"))?;
        tx.commit().await?;
        Ok(conversation)
    }

    /// Stops what is being written, deletes every message, and starts again: with the greeting,
    /// where there is one.
    pub async fn reset_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<Conversation, ChatError> {
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move {
            let mut tx = chat.database.viewer_tx(&viewer).await?;
            let conversation = tx
                .lock_conversation(id)
                .await?
                .ok_or(ChatError::NotFound("conversation"))?;
            let unfinished = tx.lock_unfinished(id).await?;
            let ended = chat.replies.ended_runs(&viewer, &unfinished);
            tx.retire_keys(id, false).await?;
            tx.delete_messages(id).await?;
            let greeting = chat.insert_greeting(&mut tx, &conversation).await?;
            let conversation = tx
                .touch_conversation(id, PathChange::rewritten(greeting.as_ref()))
                .await?
                .ok_or(ChatError::NotFound("conversation"))?;
            tx.commit().await?;
            ended.announce();
            Ok(conversation)
        })
        .await
    }

    /// Stops what is being written and deletes the conversation with all that is in it.
    pub async fn delete_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<(), ChatError> {
        let (chat, viewer) = (self.clone(), viewer.clone());
        self.owned(async move {
            let mut tx = chat.database.viewer_tx(&viewer).await?;
            tx.lock_conversation(id)
                .await?
                .ok_or(ChatError::NotFound("conversation"))?;
            let unfinished = tx.lock_unfinished(id).await?;
            let ended = chat.replies.ended_runs(&viewer, &unfinished);
            tx.retire_keys(id, true).await?;
            tx.delete_conversation(id).await?;
            tx.commit().await?;
            ended.announce();
            Ok(())
        })
        .await
    }
}

fn check_filter(filter: &ConversationFilter) -> Result<(), ChatError> {
    check_optional(
        "titleContains",
        filter.title_contains.as_deref(),
        limits::FILTER,
    )
}
