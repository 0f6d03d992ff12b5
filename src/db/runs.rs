//! The runs of replies across users: what one process holds, ticks and gives up.

use std::{collections::HashMap, time::Duration};

use uuid::Uuid;

use super::{DbError, SystemTx, error::during};
use crate::model::{MessageId, ProcessId, UserId};

/// One reply of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey {
    pub user_id: UserId,
    pub message_id: MessageId,
}

impl From<(Uuid, Uuid)> for RunKey {
    fn from((user_id, message_id): (Uuid, Uuid)) -> Self {
        Self {
            user_id: user_id.into(),
            message_id: message_id.into(),
        }
    }
}

/// What became of a run that a process believes to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It is this process's, and this transaction has locked its row.
    Held,
    /// Another transaction is at work on its row: ask again at the next tick.
    Busy,
    /// It has ended, was deleted, or another process has taken it over.
    Lost,
}

/// Text that a run wrote since the tick before. Offset and length are UTF-16 code units.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub run: RunKey,
    pub attempt: i32,
    pub offset: u32,
    pub length: u32,
    pub text: String,
}

impl SystemTx {
    /// Locks the rows of those runs that are still held under the given fences. Never waits: a
    /// row that another transaction holds is `Busy`.
    pub async fn lock_runs(
        &mut self,
        process_id: ProcessId,
        runs: &[(RunKey, i64)],
    ) -> Result<HashMap<RunKey, RunState>, DbError> {
        let users: Vec<Uuid> = runs.iter().map(|(key, _)| key.user_id.uuid()).collect();
        let messages: Vec<Uuid> = runs.iter().map(|(key, _)| key.message_id.uuid()).collect();
        let fences: Vec<i64> = runs.iter().map(|(_, fence)| *fence).collect();
        let mut states: HashMap<RunKey, RunState> =
            runs.iter().map(|(key, _)| (*key, RunState::Lost)).collect();
        // First which are held at all, then which can be locked: a row that appears in the first
        // answer and not in the second is busy, or was lost between the two, which the next tick
        // finds.
        for (statement, state) in [
            (
                "select r.user_id, r.message_id from chat.replies r \
                 join unnest($1::uuid[], $2::uuid[], $3::bigint[]) as asked (user_id, message_id, fence) \
                   using (user_id, message_id, fence) \
                 where r.process_id = $4",
                RunState::Busy,
            ),
            (
                "select r.user_id, r.message_id from chat.replies r \
                 join unnest($1::uuid[], $2::uuid[], $3::bigint[]) as asked (user_id, message_id, fence) \
                   using (user_id, message_id, fence) \
                 where r.process_id = $4 order by r.user_id, r.message_id \
                 for update of r skip locked",
                RunState::Held,
            ),
        ] {
            let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(statement)
                .bind(&users)
                .bind(&messages)
                .bind(&fences)
                .bind(process_id.uuid())
                .fetch_all(&mut *self.tx)
                .await
                .map_err(during("lock runs"))?;
            states.extend(rows.into_iter().map(|row| (RunKey::from(row), state)));
        }
        Ok(states)
    }

    /// Extends the leases of runs of a process that this transaction has locked, counted from now on
    /// the database's clock.
    pub async fn renew_leases(
        &mut self,
        process_id: ProcessId,
        runs: &[RunKey],
        lease: Duration,
    ) -> Result<(), DbError> {
        let (users, messages) = columns_of(runs);
        sqlx::query(
            "update chat.replies r set lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond' \
             from unnest($1::uuid[], $2::uuid[]) as asked (user_id, message_id) \
             where r.user_id = asked.user_id and r.message_id = asked.message_id and r.process_id = $4",
        )
        .bind(users)
        .bind(messages)
        .bind(lease.as_millis() as f64)
        .bind(process_id.uuid())
        .execute(&mut *self.tx)
        .await
        .map_err(during("renew leases"))?;
        Ok(())
    }

    /// Stores what runs wrote whose rows this transaction has locked. A chunk that was stored
    /// already, by a tick that did not learn of its success, is replaced by its longer self.
    pub async fn write_chunks(&mut self, chunks: &[Chunk]) -> Result<(), DbError> {
        let count = chunks.len();
        let (mut users, mut messages) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut attempts, mut offsets) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut lengths, mut texts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for chunk in chunks {
            users.push(chunk.run.user_id.uuid());
            messages.push(chunk.run.message_id.uuid());
            attempts.push(chunk.attempt);
            offsets.push(stored(chunk.offset));
            lengths.push(stored(chunk.length));
            texts.push(chunk.text.as_str());
        }
        sqlx::query(
            "delete from chat.reply_chunks c \
             using unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) \
               as newer (user_id, message_id, attempt, \"offset\") \
             where c.user_id = newer.user_id and c.message_id = newer.message_id \
               and c.attempt = newer.attempt and c.\"offset\" >= newer.\"offset\"",
        )
        .bind(&users)
        .bind(&messages)
        .bind(&attempts)
        .bind(&offsets)
        .execute(&mut *self.tx)
        .await
        .map_err(during("make room for chunks"))?;
        sqlx::query(
            "insert into chat.reply_chunks (user_id, message_id, attempt, \"offset\", length, text) \
             select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::int[], $6::text[])",
        )
        .bind(users)
        .bind(messages)
        .bind(attempts)
        .bind(offsets)
        .bind(lengths)
        .bind(texts)
        .execute(&mut *self.tx)
        .await
        .map_err(during("write chunks"))?;
        Ok(())
    }

    /// Gives up runs of a process whose rows this transaction has locked, for any process to go on
    /// with: whoever held them can write nothing more.
    pub async fn release_runs(
        &mut self,
        process_id: ProcessId,
        runs: &[RunKey],
    ) -> Result<(), DbError> {
        let (users, messages) = columns_of(runs);
        sqlx::query(
            "update chat.replies r set process_id = null, lease_expires_at = null, fence = fence + 1 \
             from unnest($1::uuid[], $2::uuid[]) as asked (user_id, message_id) \
             where r.user_id = asked.user_id and r.message_id = asked.message_id and r.process_id = $3",
        )
        .bind(users)
        .bind(messages)
        .bind(process_id.uuid())
        .execute(&mut *self.tx)
        .await
        .map_err(during("give runs up"))?;
        Ok(())
    }

    /// Deletes the idempotency keys whose messages were deleted a day ago or earlier.
    pub async fn delete_retired_keys(&mut self) -> Result<u64, DbError> {
        let deleted = sqlx::query(
            "delete from chat.idempotency_keys where deleted_at < now() - interval '24 hours'",
        )
        .execute(&mut *self.tx)
        .await
        .map_err(during("delete retired idempotency keys"))?;
        Ok(deleted.rows_affected())
    }
}

fn columns_of(runs: &[RunKey]) -> (Vec<Uuid>, Vec<Uuid>) {
    runs.iter()
        .map(|key| (key.user_id.uuid(), key.message_id.uuid()))
        .unzip()
}

/// Replies are cut long before they have so many code units.
fn stored(units: u32) -> i32 {
    i32::try_from(units).unwrap_or(i32::MAX)
}
