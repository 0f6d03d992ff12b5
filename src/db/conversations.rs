use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{DbError, ViewerTx, error::during};
use crate::model::{
    Conversation, ConversationFilter, ConversationId, ConversationOrder, ConversationOrderField,
    Direction, Message, MessageId, Page, PageRequest, Slice,
};

/// Where a conversation stands in a list: the time that the list is ordered by, then its id.
pub type ConversationKey = (DateTime<Utc>, ConversationId);

#[derive(Clone, Debug)]
pub struct NewConversation {
    pub id: ConversationId,
    pub title: Option<String>,
    pub system_prompt: Option<String>,
    pub model: Option<String>,
}

/// `None`: unchanged; `Some(None)`: cleared.
#[derive(Clone, Debug, Default)]
pub struct ConversationChanges {
    pub title: Option<Option<String>>,
    pub system_prompt: Option<Option<String>>,
    pub model: Option<String>,
    pub archived: Option<bool>,
    pub pinned: Option<bool>,
}

macro_rules! conversation_columns {
    () => {
        "id, title, model, archived, pinned, revision, path_revision, path_length, list_revision, \
         added_revision, created_at, updated_at, last_active_at"
    };
}

/// What a transaction does to the messages of a conversation's active path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// None comes and none goes, though one of them or the conversation itself may change.
    None,
    /// Messages were stored at its end, the last one at this time, and it is so long now.
    Appended { at: DateTime<Utc>, length: i32 },
    /// It is another one, so long; the last message that was stored for it, if any, was stored then.
    Rewritten {
        at: Option<DateTime<Utc>>,
        length: i32,
    },
}

impl PathChange {
    /// Messages were stored at its end, this one last.
    pub fn appended(last: &Message) -> Self {
        Self::Appended {
            at: last.created_at,
            length: last.position + 1,
        }
    }

    /// It is another one, for which messages were stored, this one last. `None`: it is empty.
    pub fn rewritten(last: Option<&Message>) -> Self {
        Self::Rewritten {
            at: last.map(|last| last.created_at),
            length: last.map_or(0, |last| last.position + 1),
        }
    }
}
pub(super) use conversation_columns;

/// The conversation with the id $2, locked. Its lock comes before that of its user's list, always.
macro_rules! locked_conversation {
    ($($if:literal)?) => {
        concat!(
            "locked as materialized (select user_id, id from chat.conversations \
               where user_id = $1 and id = $2 ",
            $($if,)?
            " for update)"
        )
    };
}

/// The next revision of the user's list, which keeps other writers of it waiting until the end of
/// the transaction: so whoever has seen a revision has seen all before it.
macro_rules! next_list_revision {
    ($source:literal) => {
        concat!(
            "list (next) as (insert into chat.list_revisions as l (user_id, revision) \
               select user_id, 1 from ",
            $source,
            " on conflict (user_id) do update set revision = l.revision + 1 returning l.revision)"
        )
    };
}

pub(super) use {locked_conversation, next_list_revision};

impl ViewerTx {
    pub async fn insert_conversation(
        &mut self,
        new: &NewConversation,
    ) -> Result<Conversation, DbError> {
        let row: ConversationRow = sqlx::query_as(concat!(
            "with ",
            next_list_revision!("(select $1::uuid as user_id) as new"),
            " insert into chat.conversations \
               (user_id, id, title, system_prompt, model, title_settled, list_revision, added_revision, \
                created_at, updated_at, last_active_at) \
             select $1, $2, $3, $4, $5, $3::text is not null, list.next, list.next, \
               statement_timestamp(), statement_timestamp(), statement_timestamp() from list \
             returning ",
            conversation_columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(new.id.uuid())
        .bind(&new.title)
        .bind(&new.system_prompt)
        .bind(&new.model)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("store a conversation"))?;
        self.changes.note(new.id);
        Ok(row.into())
    }

    pub async fn conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<Option<Conversation>, DbError> {
        Ok(self.conversations(&[id]).await?.pop())
    }

    /// Those of the ids that are the viewer's, in no order.
    pub async fn conversations(
        &mut self,
        ids: &[ConversationId],
    ) -> Result<Vec<Conversation>, DbError> {
        let rows: Vec<ConversationRow> = sqlx::query_as(concat!(
            "select ",
            conversation_columns!(),
            " from chat.conversations where user_id = $1 and id = any($2)"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load conversations"))?;
        Ok(rows.into_iter().map(Conversation::from).collect())
    }

    /// The system prompts of those of the conversations that have one.
    pub async fn system_prompts(
        &mut self,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, String)>, DbError> {
        let rows: Vec<(Uuid, String)> = sqlx::query_as(
            "select id, system_prompt from chat.conversations \
             where user_id = $1 and id = any($2) and system_prompt is not null",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load system prompts"))?;
        Ok(rows
            .into_iter()
            .map(|(id, prompt)| (ConversationId::from_uuid(id), prompt))
            .collect())
    }

    /// Keeps every other writer of the conversation waiting until this transaction ends. Whoever
    /// changes anything in a conversation takes this lock first.
    pub async fn lock_conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<Option<Conversation>, DbError> {
        let row: Option<ConversationRow> = sqlx::query_as(concat!(
            "select ",
            conversation_columns!(),
            " from chat.conversations where user_id = $1 and id = $2 for update"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("lock a conversation"))?;
        Ok(row.map(Conversation::from))
    }

    /// The same for the conversation that a message belongs to.
    pub async fn lock_conversation_of(
        &mut self,
        message_id: MessageId,
    ) -> Result<Option<Conversation>, DbError> {
        let row: Option<ConversationRow> = sqlx::query_as(concat!(
            "select ",
            conversation_columns!(),
            " from chat.conversations where user_id = $1 and id = (\
               select conversation_id from chat.messages where user_id = $1 and id = $2) for update"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(message_id.uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("lock the conversation of a message"))?;
        Ok(row.map(Conversation::from))
    }

    pub async fn update_conversation(
        &mut self,
        id: ConversationId,
        changes: &ConversationChanges,
    ) -> Result<Option<Conversation>, DbError> {
        let row: Option<ConversationRow> = sqlx::query_as(concat!(
            "with ",
            locked_conversation!(),
            ", ",
            next_list_revision!("locked"),
            " update chat.conversations set \
               title = case when $3 then $4 else title end, \
               title_settled = title_settled or $3, \
               system_prompt = case when $5 then $6 else system_prompt end, \
               model = coalesce($7, model), \
               archived = coalesce($8, archived), \
               pinned = coalesce($9, pinned), \
               revision = revision + 1, list_revision = list.next, \
               updated_at = greatest(updated_at, clock_timestamp()) \
             from list where user_id = $1 and id = $2 returning ",
            conversation_columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(changes.title.is_some())
        .bind(changes.title.clone().flatten())
        .bind(changes.system_prompt.is_some())
        .bind(changes.system_prompt.clone().flatten())
        .bind(&changes.model)
        .bind(changes.archived)
        .bind(changes.pinned)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("change a conversation"))?;
        self.changes.note(id);
        Ok(row.map(Conversation::from))
    }

    /// Notes that something in the conversation has changed, and locks it. Its new revision is
    /// that of every message which the transaction changes.
    pub async fn touch_conversation(
        &mut self,
        id: ConversationId,
        change: PathChange,
    ) -> Result<Option<Conversation>, DbError> {
        let (active_at, length, rewritten) = match change {
            PathChange::None => (None, None, false),
            PathChange::Appended { at, length } => (Some(at), Some(length), false),
            PathChange::Rewritten { at, length } => (at, Some(length), true),
        };
        let row: Option<ConversationRow> = sqlx::query_as(concat!(
            "with ",
            locked_conversation!(),
            ", ",
            next_list_revision!("locked"),
            " update chat.conversations set revision = revision + 1, list_revision = list.next, \
               path_revision = case when $4 then revision + 1 else path_revision end, \
               path_length = coalesce($5, path_length), \
               updated_at = greatest(updated_at, clock_timestamp()), \
               last_active_at = coalesce($3, last_active_at) \
             from list where user_id = $1 and id = $2 returning ",
            conversation_columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(active_at)
        .bind(rewritten)
        .bind(length)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("touch a conversation"))?;
        self.changes.note(id);
        Ok(row.map(Conversation::from))
    }

    /// Deletes the conversation, its messages and their runs. Whether it was there.
    pub async fn delete_conversation(&mut self, id: ConversationId) -> Result<bool, DbError> {
        let deleted = sqlx::query(concat!(
            "with ",
            locked_conversation!(),
            ", ",
            next_list_revision!("locked"),
            ", gone as (delete from chat.conversations c using locked \
                 where c.user_id = locked.user_id and c.id = locked.id returning c.id) \
             insert into chat.deleted_conversations (user_id, id, list_revision) \
               select $1, gone.id, list.next from gone cross join list"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .execute(&mut *self.tx)
        .await
        .map_err(during("delete a conversation"))?;
        self.changes.note(id);
        Ok(deleted.rows_affected() > 0)
    }

    /// One page of the viewer's conversations, in the order asked for.
    pub async fn conversation_page(
        &mut self,
        filter: &ConversationFilter,
        order: ConversationOrder,
        request: PageRequest<ConversationKey>,
    ) -> Result<Page<Conversation>, DbError> {
        let column = match order.field {
            ConversationOrderField::LastActiveAt => "last_active_at",
            ConversationOrderField::CreatedAt => "created_at",
        };
        // A page from the end is read backwards and turned round.
        let (limit, backwards) = match request.slice {
            Slice::First(limit) => (limit, false),
            Slice::Last(limit) => (limit, true),
        };
        let ascending = (order.direction == Direction::Ascending) != backwards;

        let mut query = QueryBuilder::new(concat!("select ", conversation_columns!()));
        self.push_filter(&mut query, filter);
        // In ascending order the rows after a key are greater than it, in descending order less.
        let (after, before) = match order.direction {
            Direction::Ascending => (">", "<"),
            Direction::Descending => ("<", ">"),
        };
        for (key, comparison) in [(request.after, after), (request.before, before)] {
            if let Some((time, id)) = key {
                query.push(format!(" and ({column}, id) {comparison} ("));
                query.push_bind(time).push(", ").push_bind(id.uuid());
                query.push(")");
            }
        }
        let direction = if ascending { "asc" } else { "desc" };
        query.push(format!(
            " order by {column} {direction}, id {direction} limit "
        ));
        query.push_bind(i64::from(limit) + 1);
        let rows: Vec<ConversationRow> = query
            .build_query_as()
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during("load a page of conversations"))?;
        Ok(Page::from_overfull(
            rows.into_iter().map(Conversation::from).collect(),
            &request,
        ))
    }

    pub async fn count_conversations(
        &mut self,
        filter: &ConversationFilter,
    ) -> Result<i64, DbError> {
        let mut query = QueryBuilder::new("select count(*)");
        self.push_filter(&mut query, filter);
        query
            .build_query_scalar()
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("count conversations"))
    }

    fn push_filter(&self, query: &mut QueryBuilder<Postgres>, filter: &ConversationFilter) {
        query.push(" from chat.conversations where user_id = ");
        query.push_bind(self.viewer.user_id().uuid());
        if let Some(archived) = filter.archived {
            query.push(" and archived = ").push_bind(archived);
        }
        if let Some(pinned) = filter.pinned {
            query.push(" and pinned = ").push_bind(pinned);
        }
        if let Some(part) = &filter.title_contains {
            query.push(" and strpos(lower(title), lower(");
            query.push_bind(part.clone()).push(")) > 0");
        }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct ConversationRow {
    id: Uuid,
    title: Option<String>,
    model: Option<String>,
    archived: bool,
    pinned: bool,
    revision: i64,
    path_revision: i64,
    path_length: i32,
    list_revision: i64,
    added_revision: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    last_active_at: DateTime<Utc>,
}

impl From<ConversationRow> for Conversation {
    fn from(row: ConversationRow) -> Self {
        Self {
            id: ConversationId::from_uuid(row.id),
            title: row.title,
            model: row.model,
            archived: row.archived,
            pinned: row.pinned,
            revision: row.revision,
            path_revision: row.path_revision,
            path_length: row.path_length,
            list_revision: row.list_revision,
            added_revision: row.added_revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_active_at: row.last_active_at,
        }
    }
}
