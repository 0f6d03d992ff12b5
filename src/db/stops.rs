//! What a user who wants replies stopped asks of their runs, and what their owners hear of it.

use uuid::Uuid;

use super::{DbError, RunKey, SystemTx, ViewerTx, error::during, messages::status};
use crate::model::{ConversationId, MessageId, MessageStatus, ProcessId};

/// A reply that is waiting or being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfinishedReply {
    pub message_id: MessageId,
    pub status: MessageStatus,
    pub fence: i64,
    /// Whether a process holds its run, under a lease that has not run out.
    pub held: bool,
}

impl ViewerTx {
    /// The unfinished replies of a conversation, oldest first. The conversation is locked before;
    /// now their runs are, too.
    pub async fn lock_unfinished(
        &mut self,
        conversation_id: ConversationId,
    ) -> Result<Vec<UnfinishedReply>, DbError> {
        let rows: Vec<(Uuid, String, i64, bool)> = sqlx::query_as(
            "select m.id, m.status, r.fence, \
               r.process_id is not null and r.lease_expires_at > clock_timestamp() as held \
             from chat.messages m \
             join chat.replies r on r.user_id = m.user_id and r.message_id = m.id \
             where m.user_id = $1 and m.conversation_id = $2 and m.status in ('PENDING', 'STREAMING') \
             order by m.position for update of r",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(conversation_id.uuid())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("lock unfinished replies"))?;
        rows.into_iter()
            .map(|(id, word, fence, held)| {
                Ok(UnfinishedReply {
                    message_id: MessageId::from_uuid(id),
                    status: status(&word)?,
                    fence,
                    held,
                })
            })
            .collect()
    }

    /// Asks whoever writes these replies to end them. They are locked in the order in which those
    /// lock them who hold their conversation.
    pub async fn request_stops(&mut self, replies: &[MessageId]) -> Result<(), DbError> {
        sqlx::query(
            "with asked as (\
               select user_id, message_id from chat.replies \
               where user_id = $1 and message_id = any($2) order by position for update) \
             update chat.replies r set stop_requested_at = coalesce(stop_requested_at, clock_timestamp()) \
             from asked where r.user_id = asked.user_id and r.message_id = asked.message_id",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(uuids(replies))
        .execute(&mut *self.tx)
        .await
        .map_err(during("ask for replies to be stopped"))?;
        Ok(())
    }

    /// Whether one of these replies is waiting or being written.
    pub async fn is_any_unfinished(&mut self, replies: &[MessageId]) -> Result<bool, DbError> {
        sqlx::query_scalar(
            "select exists (select from chat.replies where user_id = $1 and message_id = any($2))",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(uuids(replies))
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("ask whether replies are unfinished"))
    }
}

impl SystemTx {
    /// The runs of a process that their users want stopped.
    pub async fn runs_to_stop(&mut self, process_id: ProcessId) -> Result<Vec<RunKey>, DbError> {
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "select user_id, message_id from chat.replies \
             where process_id = $1 and stop_requested_at is not null",
        )
        .bind(process_id.uuid())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("look for runs to stop"))?;
        Ok(rows.into_iter().map(RunKey::from).collect())
    }
}

fn uuids(replies: &[MessageId]) -> Vec<Uuid> {
    replies.iter().map(|id| id.uuid()).collect()
}
