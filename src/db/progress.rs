use uuid::Uuid;

use super::{DbError, RunKey, SystemTx, error::during, messages::status};
use crate::model::MessageStatus;

/// How far a reply is, in the database's eyes. Holds nothing of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyProgress {
    pub run: RunKey,
    pub status: MessageStatus,
    /// The newest attempt that has text, and its length in UTF-16 code units; 0 before the first.
    pub attempt: i32,
    pub length: i64,
}

impl SystemTx {
    /// How far these replies are; a deleted one is left out.
    pub async fn reply_progress(&mut self, runs: &[RunKey]) -> Result<Vec<ReplyProgress>, DbError> {
        let rows: Vec<(Uuid, Uuid, String, i32, i64)> = sqlx::query_as(
            "select m.user_id, m.id, m.status, coalesce(c.attempt, 0), coalesce(c.length, 0) \
             from unnest($1::uuid[], $2::uuid[]) as asked (user_id, message_id) \
             join chat.messages m on m.user_id = asked.user_id and m.id = asked.message_id \
             left join lateral (\
               select attempt, sum(length) as length from chat.reply_chunks \
               where user_id = m.user_id and message_id = m.id \
               group by attempt order by attempt desc limit 1) c on true",
        )
        .bind(
            runs.iter()
                .map(|key| key.user_id.uuid())
                .collect::<Vec<_>>(),
        )
        .bind(
            runs.iter()
                .map(|key| key.message_id.uuid())
                .collect::<Vec<_>>(),
        )
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("ask how far replies are"))?;
        rows.into_iter()
            .map(|(user_id, message_id, word, attempt, length)| {
                Ok(ReplyProgress {
                    run: RunKey {
                        user_id: user_id.into(),
                        message_id: message_id.into(),
                    },
                    status: status(&word)?,
                    attempt,
                    length,
                })
            })
            .collect()
    }
}
