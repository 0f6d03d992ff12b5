//! What replies and titles have cost.

use std::collections::HashMap;

use uuid::Uuid;

use super::{AdminTx, DbError, ViewerTx, error::during};
use crate::model::{MessageId, TimeRange, TokenUsage, Usage, UserId};

// A sum of integers is of a wider type, so it cannot overflow before it is one again.
macro_rules! sums {
    () => {
        "count(*) filter (where kind = 'REPLY') as replies, coalesce(sum(prompt_tokens), 0)::bigint as prompt_tokens, \
         coalesce(sum(completion_tokens), 0)::bigint as completion_tokens, \
         coalesce(sum(total_tokens), 0)::bigint as total_tokens"
    };
}

// An open end is written so that the index is of use with one plan for all.
macro_rules! within {
    ($since:literal, $until:literal) => {
        concat!(
            "occurred_at >= coalesce(",
            $since,
            "::timestamptz, '-infinity') and occurred_at < coalesce(",
            $until,
            "::timestamptz, 'infinity')"
        )
    };
}

impl ViewerTx {
    /// Counts a reply that is about to end, if the provider was asked for it. Its run is locked
    /// before.
    pub(super) async fn count_usage(
        &mut self,
        message_id: MessageId,
        usage: Option<TokenUsage>,
    ) -> Result<(), DbError> {
        // What nobody knows is null, of which the greatest is taken no notice.
        sqlx::query(
            "insert into chat.usage (user_id, id, prompt_tokens, completion_tokens, total_tokens) \
             select user_id, id, greatest($3, 0), greatest($4, 0), greatest($5, 0) from chat.messages \
             where user_id = $1 and id = $2 and status = 'STREAMING'",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .bind(usage.map(|usage| usage.prompt_tokens))
        .bind(usage.map(|usage| usage.completion_tokens))
        .bind(usage.map(|usage| usage.total_tokens))
        .execute(&mut *self.tx)
        .await
        .map_err(during("count what a reply has cost"))?;
        Ok(())
    }

    /// Counts a reply that is gone, unless that is done.
    pub async fn count_deleted_usage(
        &mut self,
        message_id: MessageId,
        usage: Option<TokenUsage>,
    ) -> Result<(), DbError> {
        let result = sqlx::query(
            "insert into chat.usage (user_id, id, prompt_tokens, completion_tokens, total_tokens) \
             values ($1, $2, greatest($3, 0), greatest($4, 0), greatest($5, 0)) on conflict do nothing",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .bind(usage.map(|usage| usage.prompt_tokens))
        .bind(usage.map(|usage| usage.completion_tokens))
        .bind(usage.map(|usage| usage.total_tokens))
        .execute(&mut *self.tx)
        .await;
        match result.map_err(during("count what a deleted reply has cost")) {
            // What a deleted user has used is forgotten.
            Err(DbError::UserGone { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Counts a title that a model wrote, whatever becomes of it.
    pub(super) async fn count_title_usage(&mut self, usage: TokenUsage) -> Result<(), DbError> {
        sqlx::query(
            "insert into chat.usage (user_id, id, kind, prompt_tokens, completion_tokens, total_tokens) \
             values ($1, $2, 'TITLE', greatest($3, 0), greatest($4, 0), greatest($5, 0))",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(Uuid::now_v7())
        .bind(usage.prompt_tokens)
        .bind(usage.completion_tokens)
        .bind(usage.total_tokens)
        .execute(&mut *self.tx)
        .await
        .map_err(during("count what a title has cost"))?;
        Ok(())
    }

    /// The viewer's own.
    pub async fn usage(&mut self, range: TimeRange) -> Result<Usage, DbError> {
        let row: UsageRow = sqlx::query_as(concat!(
            "select ",
            sums!(),
            " from chat.usage where user_id = $1 and ",
            within!("$2", "$3")
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(range.since)
        .bind(range.until)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("sum up the viewer's usage"))?;
        Ok(row.into())
    }
}

impl AdminTx {
    /// That of all users together.
    pub async fn total_usage(&mut self, range: TimeRange) -> Result<Usage, DbError> {
        let row: UsageRow = sqlx::query_as(concat!(
            "select ",
            sums!(),
            " from chat.usage where ",
            within!("$1", "$2")
        ))
        .bind(range.since)
        .bind(range.until)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("sum up the usage of all users"))?;
        Ok(row.into())
    }

    /// That of each of these users; one who has none is left out.
    pub async fn usage_of(
        &mut self,
        users: &[UserId],
        range: TimeRange,
    ) -> Result<HashMap<UserId, Usage>, DbError> {
        let rows: Vec<UserUsageRow> = sqlx::query_as(concat!(
            "select user_id, ",
            sums!(),
            " from chat.usage where user_id = any($1) and ",
            within!("$2", "$3"),
            " group by user_id"
        ))
        .bind(users.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind(range.since)
        .bind(range.until)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("sum up the usage of users"))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.user_id.into(), row.usage.into()))
            .collect())
    }
}

#[derive(sqlx::FromRow)]
struct UsageRow {
    replies: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    total_tokens: i64,
}

#[derive(sqlx::FromRow)]
struct UserUsageRow {
    user_id: Uuid,
    #[sqlx(flatten)]
    usage: UsageRow,
}

impl From<UsageRow> for Usage {
    fn from(row: UsageRow) -> Self {
        Self {
            replies: row.replies,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens,
        }
    }
}
