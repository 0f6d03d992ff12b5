use uuid::Uuid;

use super::{DbError, RunKey, SystemTx, ViewerTx, error::during, messages::status};
use crate::model::{ConversationId, MessageId, MessageStatus};

/// How far a reply is, in the database's eyes. Holds nothing of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyProgress {
    pub run: RunKey,
    pub status: MessageStatus,
    /// The attempt under way, 0 if the reply has ended, and the length of its text in UTF-16 code
    /// units.
    pub attempt: i32,
    pub length: i64,
}

/// The end of the text of the attempt under way. `offset` is where it begins, in UTF-16 code units.
#[derive(Clone, Debug)]
pub struct WrittenReply {
    pub conversation_id: ConversationId,
    pub status: MessageStatus,
    pub attempt: i32,
    pub offset: u32,
    pub text: String,
}

impl ViewerTx {
    /// What is written down of a reply that has a run: all of its attempt's text, or, if the attempt
    /// is `known`, at least what comes after `length`.
    pub async fn written_reply(
        &mut self,
        id: MessageId,
        known: i32,
        length: u32,
    ) -> Result<Option<WrittenReply>, DbError> {
        let row: Option<(Uuid, String, i32, i32, String)> = sqlx::query_as(
            "select r.conversation_id, m.status, r.attempt, coalesce(c.\"offset\", 0), coalesce(c.text, '') \
             from chat.replies r \
             join chat.messages m on m.user_id = r.user_id and m.id = r.message_id \
             left join lateral (\
               select min(\"offset\") as \"offset\", string_agg(text, '' order by \"offset\") as text \
               from chat.reply_chunks \
               where user_id = r.user_id and message_id = r.message_id and attempt = r.attempt \
                 and (attempt <> $3 or \"offset\" + length > $4)) c on true \
             where r.user_id = $1 and r.message_id = $2",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(known)
        .bind(i32::try_from(length).unwrap_or(i32::MAX))
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("load what is written of a reply"))?;
        row.map(|(conversation_id, word, attempt, offset, text)| {
            Ok(WrittenReply {
                conversation_id: conversation_id.into(),
                status: status(&word)?,
                attempt,
                offset: u32::try_from(offset).map_err(|_| DbError::Corrupt {
                    column: "reply_chunks.offset",
                })?,
                text,
            })
        })
        .transpose()
    }
}

impl SystemTx {
    /// How far these replies are; a deleted one is left out.
    pub async fn reply_progress(&mut self, runs: &[RunKey]) -> Result<Vec<ReplyProgress>, DbError> {
        let rows: Vec<(Uuid, Uuid, String, i32, i64)> = sqlx::query_as(
            "select m.user_id, m.id, m.status, coalesce(r.attempt, 0), coalesce(c.length, 0) \
             from unnest($1::uuid[], $2::uuid[]) as asked (user_id, message_id) \
             join chat.messages m on m.user_id = asked.user_id and m.id = asked.message_id \
             left join chat.replies r on r.user_id = m.user_id and r.message_id = m.id \
             left join lateral (\
               select sum(length) as length from chat.reply_chunks \
               where user_id = r.user_id and message_id = r.message_id and attempt = r.attempt\
             ) c on true",
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
