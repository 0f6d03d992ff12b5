//! Titles that a model writes, as the conversation's owner sees them.

use super::{
    DbError, ViewerTx,
    conversations::{locked_conversation, next_list_revision},
    error::during,
};
use crate::model::{ConversationId, TokenUsage};

/// How a conversation begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The user's first words.
    pub question: String,
    /// The first that the model finished.
    pub answer: String,
}

impl ViewerTx {
    /// How a conversation begins of which nobody has said yet what it is called. Of each text no
    /// more than so many characters.
    pub async fn untitled_beginning(
        &mut self,
        id: ConversationId,
        most_characters: i32,
    ) -> Result<Option<Beginning>, DbError> {
        let row: Option<(String, String)> = sqlx::query_as(
            "select left(question.content, $3), left(answer.content, $3) \
             from chat.conversations c \
             cross join lateral (select m.content, m.position from chat.messages m \
               where m.user_id = c.user_id and m.conversation_id = c.id and m.active \
                 and m.role = 'USER' order by m.position limit 1) question \
             cross join lateral (select m.content from chat.messages m \
               where m.user_id = c.user_id and m.conversation_id = c.id and m.active \
                 and m.role = 'ASSISTANT' and m.position > question.position \
                 and m.status = 'COMPLETED' order by m.position limit 1) answer \
             where c.user_id = $1 and c.id = $2 and not c.title_settled",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(most_characters)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("load how a conversation begins"))?;
        Ok(row.map(|(question, answer)| Beginning { question, answer }))
    }

    /// Titles a conversation that nobody has titled meanwhile, and counts what that has cost.
    /// Without a title it only counts. Whether the title is the conversation's now.
    pub async fn settle_title(
        &mut self,
        id: ConversationId,
        title: Option<&str>,
        usage: TokenUsage,
    ) -> Result<bool, DbError> {
        self.count_title_usage(usage).await?;
        let Some(title) = title else { return Ok(false) };
        let settled = sqlx::query(concat!(
            "with ",
            locked_conversation!("and not title_settled"),
            ", ",
            next_list_revision!("locked"),
            " update chat.conversations set title = $3, title_settled = true, \
               revision = revision + 1, list_revision = list.next, \
               updated_at = greatest(updated_at, clock_timestamp()) \
             from list where user_id = $1 and id = $2"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(title)
        .execute(&mut *self.tx)
        .await
        .map_err(during("title a conversation"))?;
        self.changes.note(id);
        Ok(settled.rows_affected() > 0)
    }
}
