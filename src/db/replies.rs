//! The run of one reply, as its owner's transaction sees it.

use std::time::Duration;

use super::{
    DbError, ViewerTx,
    claims::{is_first, is_free, places_lock},
    error::during,
};
use crate::model::{ConversationId, MessageId, ProcessId, ReplyError, TokenUsage};

/// A run that starts with the message that it writes.
#[derive(Clone, Copy, Debug)]
pub struct NewRun {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub position: i32,
    /// Who carries it out at once, if nothing stands in the way; `None`: it waits.
    pub process_id: Option<ProcessId>,
    pub lease: Duration,
    /// How many runs of the user may be carried out at once.
    pub most_at_once: u32,
    /// How many the user may have in all.
    pub most: u32,
}

/// What became of a new run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredRun {
    /// The process that was named holds it, under this fence and with this attempt.
    Claimed { fence: i64, attempt: i32 },
    /// It waits for a process, for an earlier run of its conversation, or for one of its user's.
    Waiting,
    /// Nothing was stored: its user has as many as anybody may.
    TooMany,
}

/// How a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completed {
        truncated: bool,
    },
    /// By its user, who keeps the text so far.
    Stopped,
    Failed(ReplyError),
}

/// What is written down of a message's newest attempt that has any text.
macro_rules! newest_text {
    ($user:literal, $message:literal) => {
        concat!(
            "coalesce((\
               select string_agg(c.text, '' order by c.\"offset\") from chat.reply_chunks c \
               where c.user_id = ",
            $user,
            " and c.message_id = ",
            $message,
            " and c.attempt = (select max(n.attempt) from chat.reply_chunks n where n.user_id = ",
            $user,
            " and n.message_id = ",
            $message,
            ")), '')"
        )
    };
}

impl Outcome {
    /// What becomes of the message: its status, whether it was cut, and its error.
    pub(super) fn parts(&self) -> (&'static str, bool, Option<&ReplyError>) {
        match self {
            Self::Completed { truncated } => ("COMPLETED", *truncated, None),
            Self::Stopped => ("STOPPED", false, None),
            Self::Failed(error) => ("FAILED", false, Some(error)),
        }
    }
}

impl ViewerTx {
    /// Locks the user's places until the end of the transaction. That comes after the lock on a
    /// conversation and before the one on the list of them, everywhere: otherwise two transactions
    /// of one user could wait for each other.
    pub async fn lock_places(&mut self) -> Result<(), DbError> {
        sqlx::query(concat!(
            "select pg_advisory_xact_lock(",
            places_lock!("user_id"),
            ") from chat.users where user_id = $1"
        ))
        .bind(self.viewer.user_id().uuid())
        .execute(&mut *self.tx)
        .await
        .map_err(during("lock a user's places"))?;
        Ok(())
    }

    /// Stores the run of a pending reply. It is carried out at once only if its user's older runs
    /// that could be have a place, too. The conversation is locked before, and touched afterwards.
    pub async fn insert_run(&mut self, run: NewRun) -> Result<StoredRun, DbError> {
        let claims =
            serde_json::to_string(self.viewer.claims()).expect("three strings always become JSON");
        // A statement of its own: what is counted afterwards must be newer than the lock.
        self.lock_places().await?;
        let stored: Option<(bool, i64, i32)> = sqlx::query_as(concat!(
            "with places as (\
               select count(*) as unfinished, \
                 count(*) filter (where r.lease_expires_at >= statement_timestamp()) as held, \
                 count(*) filter (where ",
            is_free!(),
            " and ",
            is_first!(),
            ") as ready, \
                 bool_or(r.conversation_id = $3 and r.position < $5) as is_behind \
               from chat.replies r where r.user_id = $1), \
             holder as (\
               select case when held + ready < $8 and is_behind is not true then $6::uuid end as id \
               from places where unfinished < $9) \
             insert into chat.replies \
               (user_id, message_id, conversation_id, claims, position, process_id, lease_expires_at, \
                fence, attempt) \
             select $1, $2, $3, $4::jsonb, $5, id, \
               case when id is not null then clock_timestamp() + $7 * interval '1 millisecond' end, \
               (id is not null)::int, (id is not null)::int from holder \
             returning process_id is not null, fence, attempt"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(run.message_id.uuid())
        .bind(run.conversation_id.uuid())
        .bind(claims)
        .bind(run.position)
        .bind(run.process_id.map(|id| id.uuid()))
        .bind(run.lease.as_millis() as f64)
        .bind(i64::from(run.most_at_once))
        .bind(i64::from(run.most))
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("store a run"))?;
        Ok(match stored {
            Some((true, fence, attempt)) => StoredRun::Claimed { fence, attempt },
            Some((false, ..)) => StoredRun::Waiting,
            None => StoredRun::TooMany,
        })
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

    /// From pending to streaming; one that streams already goes on. Its run is locked before. The
    /// model that is to write it; `None`: it is no reply that this viewer may write.
    pub async fn begin_reply(
        &mut self,
        message_id: MessageId,
        revision: i64,
    ) -> Result<Option<String>, DbError> {
        sqlx::query_scalar(
            "update chat.messages set status = 'STREAMING', \
               revision = case when status = 'PENDING' then $3 else revision end \
             where user_id = $1 and id = $2 and status in ('PENDING', 'STREAMING') \
             returning coalesce(model, '')",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .bind(revision)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("begin a reply"))
    }

    /// What is written down of a reply: of its newest attempt that has any text.
    pub async fn newest_text(&mut self, message_id: MessageId) -> Result<String, DbError> {
        sqlx::query_scalar(concat!("select ", newest_text!("$1", "$2")))
            .bind(self.viewer.user_id().uuid())
            .bind(message_id.uuid())
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("read what is written of a reply"))
    }

    /// Writes how a reply ended and what it cost, and ends its run, chunks and all. Its run is
    /// locked before. With no `content`, the text is what its chunks hold.
    pub async fn finish_reply(
        &mut self,
        message_id: MessageId,
        revision: i64,
        content: Option<&str>,
        outcome: &Outcome,
        usage: Option<TokenUsage>,
    ) -> Result<(), DbError> {
        let (status, truncated, error) = outcome.parts();
        self.count_usage(message_id, usage).await?;
        let finished = sqlx::query(concat!(
            "update chat.messages m set status = $3, content = coalesce($4, ",
            newest_text!("m.user_id", "m.id"),
            "), truncated = $5, prompt_tokens = $6, completion_tokens = $7, total_tokens = $8, \
               error_code = $9, error_message = $10, revision = $11, \
               completed_at = clock_timestamp() \
             where m.user_id = $1 and m.id = $2 and m.status in ('PENDING', 'STREAMING')"
        ))
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
        // Without its run, a message that is not finished would look alive for ever.
        if finished.rows_affected() == 0 {
            return Err(DbError::Withheld {
                operation: "finish a reply",
            });
        }
        sqlx::query("delete from chat.replies where user_id = $1 and message_id = $2")
            .bind(self.viewer.user_id().uuid())
            .bind(message_id.uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a run"))?;
        Ok(())
    }
}
