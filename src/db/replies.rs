//! The run of one reply, as its owner's transaction sees it.

use std::time::Duration;

use super::{DbError, ViewerTx, error::during};
use crate::model::{ConversationId, MessageId, ProcessId, ReplyError, TokenUsage};

/// A run that starts with the message that it writes.
#[derive(Clone, Copy, Debug)]
pub struct NewRun {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub position: i32,
    pub process_id: ProcessId,
    pub lease: Duration,
}

/// How a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completed {
        truncated: bool,
        usage: Option<TokenUsage>,
    },
    /// By its user, who keeps the text so far.
    Stopped,
    Failed(ReplyError),
}

impl ViewerTx {
    /// Stores the run of a pending reply, with the first fence.
    pub async fn insert_run(&mut self, run: NewRun) -> Result<i64, DbError> {
        let claims =
            serde_json::to_string(self.viewer.claims()).expect("three strings always become JSON");
        sqlx::query_scalar(
            "insert into chat.replies \
               (user_id, message_id, conversation_id, claims, process_id, lease_expires_at, fence, attempt, \
                position) \
             values ($1, $2, $3, $4::jsonb, $5, clock_timestamp() + $6 * interval '1 millisecond', 1, 1, $7) \
             returning fence",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(run.message_id.uuid())
        .bind(run.conversation_id.uuid())
        .bind(claims)
        .bind(run.process_id.uuid())
        .bind(run.lease.as_millis() as f64)
        .bind(run.position)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("store a run"))
    }

    /// Locks the run's row. Whether the run is still held under this fence.
    pub async fn lock_run(&mut self, message_id: MessageId, fence: i64) -> Result<bool, DbError> {
        let locked = sqlx::query(
            "select from chat.replies where user_id = $1 and message_id = $2 and fence = $3 for update",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .bind(fence)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("lock a run"))?;
        Ok(locked.is_some())
    }

    /// From pending to streaming; one that streams already goes on. Its run is locked before.
    pub async fn begin_reply(
        &mut self,
        message_id: MessageId,
        revision: i64,
    ) -> Result<(), DbError> {
        sqlx::query(
            "update chat.messages set status = 'STREAMING', revision = $3 \
             where user_id = $1 and id = $2 and status = 'PENDING'",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .bind(revision)
        .execute(&mut *self.tx)
        .await
        .map_err(during("begin a reply"))?;
        Ok(())
    }

    /// Writes how a reply ended and what it cost, and ends its run, chunks and all. Its run is
    /// locked before. With no `content`, the text is what its chunks hold.
    pub async fn finish_reply(
        &mut self,
        message_id: MessageId,
        revision: i64,
        content: Option<&str>,
        outcome: &Outcome,
    ) -> Result<(), DbError> {
        let (status, truncated, usage, error) = match outcome {
            Outcome::Completed { truncated, usage } => ("COMPLETED", *truncated, *usage, None),
            Outcome::Stopped => ("STOPPED", false, None, None),
            Outcome::Failed(error) => ("FAILED", false, None, Some(error)),
        };
        self.count_usage(message_id, usage).await?;
        sqlx::query(
            "update chat.messages m set status = $3, \
               content = coalesce($4, (\
                 select string_agg(c.text, '' order by c.\"offset\") from chat.reply_chunks c \
                 where c.user_id = m.user_id and c.message_id = m.id and c.attempt = (\
                   select max(n.attempt) from chat.reply_chunks n \
                   where n.user_id = m.user_id and n.message_id = m.id)), ''), \
               truncated = $5, prompt_tokens = $6, completion_tokens = $7, total_tokens = $8, \
               error_code = $9, error_message = $10, revision = $11, \
               completed_at = clock_timestamp() \
             where m.user_id = $1 and m.id = $2 and m.status in ('PENDING', 'STREAMING')",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .bind(status)
        .bind(content)
        .bind(truncated)
        .bind(usage.map(|usage| usage.prompt_tokens))
        .bind(usage.map(|usage| usage.completion_tokens))
        .bind(usage.map(|usage| usage.total_tokens))
        .bind(error.map(|error| error.code.as_str()))
        .bind(error.map(|error| error.message.as_str()))
        .bind(revision)
        .execute(&mut *self.tx)
        .await
        .map_err(during("finish a reply"))?;
        sqlx::query("delete from chat.replies where user_id = $1 and message_id = $2")
            .bind(self.viewer.user_id().uuid())
            .bind(message_id.uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a run"))?;
        Ok(())
    }
}
