use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{DbError, ViewerTx, error::during};
use crate::model::{
    ConversationId, Feedback, Message, MessageId, MessageRole, MessageStatus, Page, PageRequest,
    Place, Rating, ReplyError, ReplyErrorCode, Slice, TokenUsage,
};

/// A message to be stored at the end of the active path, as the one of its alternatives that is
/// active.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub place: Place,
    /// The revision that its conversation gets in the same transaction.
    pub revision: i64,
    pub role: MessageRole,
    pub content: String,
    pub status: MessageStatus,
    pub model: Option<String>,
    pub idempotency_key: Option<String>,
}

/// One page of one conversation's active path.
#[derive(Clone, Debug)]
pub struct PathPage {
    pub conversation_id: ConversationId,
    pub page: Page<Message>,
}

/// Where the text of an unfinished message is read: the chunks of its current attempt, which begins
/// anew. One statement sees one moment, so a reply that ends meanwhile is never seen empty.
macro_rules! message_columns {
    () => {
        message_columns!("m.content")
    };
    ($stored:literal) => {
        concat!(
            "m.id, m.conversation_id, m.parent_id, m.active, m.position, m.version_number, m.revision, m.role, \
         case when m.completed_at is null then coalesce((\
           select string_agg(c.text, '' order by c.\"offset\") from chat.replies r \
           join chat.reply_chunks c \
             on c.user_id = r.user_id and c.message_id = r.message_id and c.attempt = r.attempt \
           where r.user_id = m.user_id and r.message_id = m.id), '') \
         else ",
            $stored,
            " end as content, \
         m.status, m.error_code, m.error_message, m.truncated, m.model, \
         m.prompt_tokens, m.completion_tokens, m.total_tokens, m.rating, m.feedback_comment, \
         m.idempotency_key, m.created_at, m.completed_at"
        )
    };
}
pub(super) use message_columns;

/// The conversations $2, each looked up by its key. As a join it might be planned as a reading of all
/// conversations of the user.
macro_rules! asked_conversations {
    () => {
        "unnest($2::uuid[]) as asked (id) cross join lateral (\
           select id, path_length from chat.conversations \
           where user_id = $1 and id = asked.id limit 1) c"
    };
}

/// Pages whose texts are known to be few enough before one of them is read.
///
/// Positions have no gaps, so a page is a range of them that is known from both ends. A range with an
/// open end would run over all that the index still holds of a path that was longer before.
macro_rules! bounded_pages {
    ($range:literal, $direction:literal) => {
        concat!(
            "with page as materialized (\
               select m.* from ",
            asked_conversations!(),
            " cross join lateral (\
                 select * from chat.messages \
                 where user_id = $1 and conversation_id = c.id and active and ", $range,
                 " order by position ", $direction, " limit $5) m), \
             size as materialized (select coalesce(sum(octet_length(content)), 0) as bytes from page) \
             select ",
            message_columns!("case when size.bytes <= $6 then m.content end"),
            " from page m cross join size"
        )
    };
}

impl ViewerTx {
    pub async fn insert_message(&mut self, new: &NewMessage) -> Result<Message, DbError> {
        let row: MessageRow = sqlx::query_as(concat!(
            "insert into chat.messages as m \
               (user_id, id, conversation_id, parent_id, active, position, role, content, status, \
                model, idempotency_key, revision, version_number, preferred, created_at, completed_at) \
             values ($1, $2, $3, $4, true, $5, $6, $7, $8, $9, $10, $11, $12, true, statement_timestamp(), \
               case when $8 in ('PENDING', 'STREAMING') then null else statement_timestamp() end) \
             returning ",
            message_columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(new.id.uuid())
        .bind(new.conversation_id.uuid())
        .bind(new.place.parent_id.map(MessageId::uuid))
        .bind(new.place.position)
        .bind(new.role.as_str())
        .bind(&new.content)
        .bind(new.status.as_str())
        .bind(&new.model)
        .bind(&new.idempotency_key)
        .bind(new.revision)
        .bind(new.place.version_number)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("store a message"))?;
        row.try_into()
    }

    pub async fn message(&mut self, id: MessageId) -> Result<Option<Message>, DbError> {
        Ok(self.messages(&[id]).await?.pop())
    }

    /// Those of the ids that are the viewer's, in no order.
    pub async fn messages(&mut self, ids: &[MessageId]) -> Result<Vec<Message>, DbError> {
        let statement = concat!(
            "select ",
            message_columns!(),
            " from chat.messages m where m.user_id = $1 and m.id = any($2)"
        );
        self.read_messages(
            "load messages",
            statement,
            ids.iter().map(|id| id.uuid()).collect::<Vec<_>>(),
        )
        .await
    }

    /// Runs a statement whose $1 is the viewer and whose $2 is a list of ids.
    async fn read_messages(
        &mut self,
        operation: &'static str,
        statement: &'static str,
        ids: Vec<Uuid>,
    ) -> Result<Vec<Message>, DbError> {
        let rows: Vec<MessageRow> = sqlx::query_as(statement)
            .bind(self.viewer.user_id().uuid())
            .bind(ids)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during(operation))?;
        rows.into_iter().map(Message::try_from).collect()
    }

    /// The end of each conversation's active path.
    pub async fn last_messages(
        &mut self,
        conversations: &[ConversationId],
    ) -> Result<Vec<Message>, DbError> {
        let statement = concat!(
            "select ",
            message_columns!(),
            " from ",
            asked_conversations!(),
            " cross join lateral (\
               select * from chat.messages where user_id = $1 and conversation_id = c.id and active \
                 and position = c.path_length - 1 limit 1) m"
        );
        self.read_messages("load last messages", statement, uuids(conversations))
            .await
    }

    /// The oldest unfinished reply of each conversation that has one.
    pub async fn active_replies(
        &mut self,
        conversations: &[ConversationId],
    ) -> Result<Vec<Message>, DbError> {
        let statement = concat!(
            "select ",
            message_columns!(),
            " from unnest($2::uuid[]) as asked (id) cross join lateral (\
               select * from chat.messages \
               where user_id = $1 and conversation_id = asked.id \
                 and status in ('PENDING', 'STREAMING') \
               order by position limit 1) m"
        );
        self.read_messages("load active replies", statement, uuids(conversations))
            .await
    }

    /// The same page of several active paths, in one query; `None`: their texts have more than
    /// `most_bytes`. Keys are positions on the path.
    pub async fn path_pages(
        &mut self,
        conversations: &[ConversationId],
        request: PageRequest<i32>,
        most_bytes: usize,
    ) -> Result<Option<Vec<PathPage>>, DbError> {
        let (limit, statement) = match request.slice {
            Slice::First(limit) => (
                limit,
                bounded_pages!(
                    "position > $3 and position < least($4, $3::bigint + 1 + $5)",
                    "asc"
                ),
            ),
            Slice::Last(limit) => (
                limit,
                bounded_pages!(
                    "position > $3 and position < least($4, c.path_length) \
                     and position >= least($4, c.path_length) - $5",
                    "desc"
                ),
            ),
        };
        let rows: Vec<MessageRow> = sqlx::query_as(statement)
            .bind(self.viewer.user_id().uuid())
            .bind(uuids(conversations))
            .bind(request.after.unwrap_or(-1))
            .bind(request.before.unwrap_or(i32::MAX))
            .bind(i64::from(limit) + 1)
            .bind(i64::try_from(most_bytes).unwrap_or(i64::MAX))
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during("load pages of messages"))?;
        if rows.iter().any(MessageRow::is_unread) {
            return Ok(None);
        }
        let mut pages: Vec<(ConversationId, Vec<Message>)> =
            conversations.iter().map(|id| (*id, Vec::new())).collect();
        pages.sort_unstable_by_key(|(id, _)| *id);
        for row in rows {
            let message = Message::try_from(row)?;
            if let Ok(index) = pages
                .binary_search_by_key(&message.conversation_id, |(conversation, _)| *conversation)
            {
                pages[index].1.push(message);
            }
        }
        // Here and not there: the database would sort what comes out of its index in this order.
        let pages = pages.into_iter().map(|(conversation_id, mut messages)| {
            match request.slice {
                Slice::First(_) => messages.sort_unstable_by_key(|message| message.position),
                Slice::Last(_) => {
                    messages.sort_unstable_by_key(|message| Reverse(message.position))
                }
            }
            PathPage {
                conversation_id,
                page: Page::from_overfull(messages, &request),
            }
        });
        Ok(Some(pages.collect()))
    }

    /// How many messages each active path has; an empty one is left out.
    pub async fn count_paths(
        &mut self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, i64)>, DbError> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "select id, path_length::bigint from chat.conversations \
             where user_id = $1 and id = any($2) and path_length > 0",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(uuids(conversations))
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("count messages"))?;
        Ok(rows
            .into_iter()
            .map(|(id, count)| (ConversationId::from_uuid(id), count))
            .collect())
    }

    /// The end of the active path up to and without `before`, oldest first: what a reply at that
    /// position answers. Older messages are left out once the newer ones have `most_bytes`; the
    /// last is always there.
    pub async fn path_before(
        &mut self,
        conversation_id: ConversationId,
        before: i32,
        most_bytes: i64,
    ) -> Result<Vec<Message>, DbError> {
        // Back from the last one, so that what is left out is not looked at. The limit keeps the step
        // from being planned as a join, which would read the whole table each time.
        let rows: Vec<MessageRow> = sqlx::query_as(concat!(
            "with recursive back as (\
               select id, position, octet_length(content)::bigint as bytes from chat.messages \
               where user_id = $1 and conversation_id = $2 and active and position = $3 - 1 \
               union all \
               select m.id, m.position, back.bytes + m.bytes from back cross join lateral (\
                 select id, position, octet_length(content) as bytes from chat.messages \
                 where user_id = $1 and conversation_id = $2 and active \
                   and position = back.position - 1 limit 1) m \
               where back.bytes + m.bytes <= $4) \
             select ",
            message_columns!(),
            " from back join chat.messages m on m.user_id = $1 and m.id = back.id order by m.position"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(conversation_id.uuid())
        .bind(before)
        .bind(most_bytes)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load the path before a reply"))?;
        rows.into_iter().map(Message::try_from).collect()
    }

    /// Deletes every message of a conversation, and their runs.
    pub async fn delete_messages(
        &mut self,
        conversation_id: ConversationId,
    ) -> Result<(), DbError> {
        sqlx::query("delete from chat.messages where user_id = $1 and conversation_id = $2")
            .bind(self.viewer.user_id().uuid())
            .bind(conversation_id.uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("delete messages"))?;
        Ok(())
    }
}

fn uuids(conversations: &[ConversationId]) -> Vec<Uuid> {
    conversations.iter().map(|id| id.uuid()).collect()
}

#[derive(sqlx::FromRow)]
pub(super) struct MessageRow {
    id: Uuid,
    conversation_id: Uuid,
    parent_id: Option<Uuid>,
    active: bool,
    position: i32,
    version_number: i32,
    revision: i64,
    role: String,
    /// `None`: left unread, because there was too much of it.
    content: Option<String>,
    status: String,
    error_code: Option<String>,
    error_message: Option<String>,
    truncated: bool,
    model: Option<String>,
    prompt_tokens: Option<i32>,
    completion_tokens: Option<i32>,
    total_tokens: Option<i32>,
    rating: Option<String>,
    feedback_comment: Option<String>,
    idempotency_key: Option<String>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

impl MessageRow {
    /// Whether its text was left unread, because there was too much of it.
    pub(super) fn is_unread(&self) -> bool {
        self.content.is_none()
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = DbError;

    fn try_from(row: MessageRow) -> Result<Self, DbError> {
        let role = MessageRole::ALL
            .into_iter()
            .find(|role| role.as_str() == row.role)
            .ok_or(DbError::Corrupt {
                column: "messages.role",
            })?;
        let error = match (row.error_code, row.error_message) {
            (Some(code), Some(message)) => Some(ReplyError {
                code: ReplyErrorCode::ALL
                    .into_iter()
                    .find(|known| known.as_str() == code)
                    .ok_or(DbError::Corrupt {
                        column: "messages.error_code",
                    })?,
                message,
            }),
            _ => None,
        };
        let usage = match (row.prompt_tokens, row.completion_tokens, row.total_tokens) {
            (Some(prompt_tokens), Some(completion_tokens), Some(total_tokens)) => {
                Some(TokenUsage {
                    prompt_tokens,
                    completion_tokens,
                    total_tokens,
                })
            }
            _ => None,
        };
        let feedback = match row.rating {
            Some(word) => Some(Feedback {
                rating: rating(&word)?,
                comment: row.feedback_comment,
            }),
            None => None,
        };
        Ok(Self {
            id: MessageId::from_uuid(row.id),
            conversation_id: ConversationId::from_uuid(row.conversation_id),
            parent_id: row.parent_id.map(MessageId::from_uuid),
            active: row.active,
            position: row.position,
            version_number: row.version_number,
            revision: row.revision,
            role,
            content: row.content.unwrap_or_default(),
            status: status(&row.status)?,
            error,
            truncated: row.truncated,
            model: row.model,
            usage,
            feedback,
            idempotency_key: row.idempotency_key,
            created_at: row.created_at,
            completed_at: row.completed_at,
        })
    }
}

pub(super) fn status(word: &str) -> Result<MessageStatus, DbError> {
    MessageStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == word)
        .ok_or(DbError::Corrupt {
            column: "messages.status",
        })
}

fn rating(word: &str) -> Result<Rating, DbError> {
    Rating::ALL
        .into_iter()
        .find(|rating| rating.as_str() == word)
        .ok_or(DbError::Corrupt {
            column: "messages.rating",
        })
}
