//! What has happened since a revision: how subscribers find what they were not told yet.
//!
//! What is read of one subject stands in one moment, so the reading transaction is a
//! [`Database::viewer_snapshot`](super::Database::viewer_snapshot).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    DbError, SystemTx, ViewerTx,
    conversations::{ConversationRow, conversation_columns},
    error::during,
    messages::{MessageRow, message_columns, status},
};
use crate::model::{Conversation, ConversationId, Message, MessageId, MessageStatus};

/// A conversation, and what changed in it.
#[derive(Clone, Debug)]
pub struct ConversationNews {
    pub conversation: Conversation,
    /// Messages that changed or came, in the order of their places; `None`: too many.
    pub messages: Option<Vec<Message>>,
}

/// A reply that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub message_id: MessageId,
    pub position: i32,
    pub status: MessageStatus,
}

/// A user's list of conversations, and what changed in it.
#[derive(Clone, Debug)]
pub struct ListNews {
    pub revision: i64,
    /// When it was read, on the database's clock.
    pub read_at: DateTime<Utc>,
    /// Conversations that changed or came, those first that changed first; `None`: too many.
    pub conversations: Option<Vec<Conversation>>,
    /// Conversations that went, and when.
    pub deleted: Vec<(ConversationId, i64)>,
}

impl Unfinished {
    pub fn of(message: &Message) -> Self {
        Self {
            message_id: message.id,
            position: message.position,
            status: message.status,
        }
    }
}

impl ViewerTx {
    /// `None`: there is no such conversation. What happened up to the revision `since` is left out;
    /// `most` is how many messages are told of.
    pub async fn conversation_news(
        &mut self,
        id: ConversationId,
        since: i64,
        most: usize,
    ) -> Result<Option<ConversationNews>, DbError> {
        let Some(conversation) = self.conversation(id).await? else {
            return Ok(None);
        };
        let rows: Vec<MessageRow> = if conversation.revision > since {
            sqlx::query_as(concat!(
                "select ",
                message_columns!(),
                " from (select * from chat.messages \
                   where user_id = $1 and conversation_id = $2 and revision > $3 \
                   order by revision limit $4) m \
                 order by m.position, m.version_number"
            ))
            .bind(self.viewer.user_id().uuid())
            .bind(id.uuid())
            .bind(since)
            .bind(limit(most))
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during("load what changed in a conversation"))?
        } else {
            Vec::new()
        };
        let messages = (rows.len() <= most)
            .then(|| rows.into_iter().map(Message::try_from).collect())
            .transpose()?;
        Ok(Some(ConversationNews {
            conversation,
            messages,
        }))
    }

    /// The replies of a conversation that have not ended, the oldest first.
    pub async fn unfinished_replies(
        &mut self,
        id: ConversationId,
    ) -> Result<Vec<Unfinished>, DbError> {
        let rows: Vec<(Uuid, i32, String)> = sqlx::query_as(
            "select id, position, status from chat.messages \
             where user_id = $1 and conversation_id = $2 and status in ('PENDING', 'STREAMING') \
             order by position",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load unfinished replies"))?;
        rows.into_iter()
            .map(|(id, position, word)| {
                Ok(Unfinished {
                    message_id: MessageId::from_uuid(id),
                    position,
                    status: status(&word)?,
                })
            })
            .collect()
    }

    /// What happened to the viewer's list since a revision; `most` is how many conversations are
    /// told of.
    pub async fn list_news(&mut self, since: i64, most: usize) -> Result<ListNews, DbError> {
        let (revision, read_at): (i64, DateTime<Utc>) = sqlx::query_as(
            "select coalesce((select revision from chat.list_revisions where user_id = $1), 0), \
               statement_timestamp()",
        )
        .bind(self.viewer.user_id().uuid())
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("ask how far a list is"))?;
        let mut news = ListNews {
            revision,
            read_at,
            conversations: Some(Vec::new()),
            deleted: Vec::new(),
        };
        if revision <= since {
            return Ok(news);
        }
        let rows: Vec<ConversationRow> = sqlx::query_as(concat!(
            "select ",
            conversation_columns!(),
            " from chat.conversations where user_id = $1 and list_revision > $2 \
             order by list_revision limit $3"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(since)
        .bind(limit(most))
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load what changed in a list"))?;
        let deleted: Vec<(Uuid, i64)> = sqlx::query_as(
            "select id, list_revision from chat.deleted_conversations \
             where user_id = $1 and list_revision > $2 order by list_revision limit $3",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(since)
        .bind(limit(most))
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load what went from a list"))?;
        news.conversations = (rows.len() + deleted.len() <= most)
            .then(|| rows.into_iter().map(Conversation::from).collect());
        news.deleted = deleted
            .into_iter()
            .map(|(id, revision)| (ConversationId::from_uuid(id), revision))
            .collect();
        Ok(news)
    }
}

impl SystemTx {
    /// Forgets conversations that were deleted a day ago or earlier: whoever has not looked for so
    /// long is shown the whole list.
    pub async fn forget_deleted_conversations(&mut self) -> Result<u64, DbError> {
        let forgotten = sqlx::query(
            "delete from chat.deleted_conversations where deleted_at < now() - interval '24 hours'",
        )
        .execute(&mut *self.tx)
        .await
        .map_err(during("forget deleted conversations"))?;
        Ok(forgotten.rows_affected())
    }
}

/// One more than are told of: then there are too many.
fn limit(most: usize) -> i64 {
    i64::try_from(most).map_or(i64::MAX, |most| most.saturating_add(1))
}
