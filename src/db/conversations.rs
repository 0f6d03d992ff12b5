use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{DbError, ViewerTx, error::during};
use crate::model::{
    Conversation, ConversationFilter, ConversationId, ConversationOrder, ConversationOrderField,
    Direction, Page, PageRequest, Slice,
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

macro_rules! columns {
    () => {
        "id, title, model, archived, pinned, revision, created_at, updated_at, last_active_at"
    };
}

impl ViewerTx {
    pub async fn insert_conversation(
        &mut self,
        new: &NewConversation,
    ) -> Result<Conversation, DbError> {
        let row: ConversationRow = sqlx::query_as(concat!(
            "insert into chat.conversations \
               (user_id, id, title, system_prompt, model, created_at, updated_at, last_active_at) \
             values ($1, $2, $3, $4, $5, statement_timestamp(), statement_timestamp(), statement_timestamp()) \
             returning ",
            columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(new.id.uuid())
        .bind(&new.title)
        .bind(&new.system_prompt)
        .bind(&new.model)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("store a conversation"))?;
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
            columns!(),
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
            columns!(),
            " from chat.conversations where user_id = $1 and id = $2 for update"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("lock a conversation"))?;
        Ok(row.map(Conversation::from))
    }

    pub async fn update_conversation(
        &mut self,
        id: ConversationId,
        changes: &ConversationChanges,
    ) -> Result<Option<Conversation>, DbError> {
        let row: Option<ConversationRow> = sqlx::query_as(concat!(
            "update chat.conversations set \
               title = case when $3 then $4 else title end, \
               system_prompt = case when $5 then $6 else system_prompt end, \
               model = coalesce($7, model), \
               archived = coalesce($8, archived), \
               pinned = coalesce($9, pinned), \
               revision = revision + 1, \
               updated_at = greatest(updated_at, clock_timestamp()) \
             where user_id = $1 and id = $2 returning ",
            columns!()
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
        Ok(row.map(Conversation::from))
    }

    /// Notes that something in the conversation changed; with `active_at`, that a message was
    /// stored then.
    pub async fn touch_conversation(
        &mut self,
        id: ConversationId,
        active_at: Option<DateTime<Utc>>,
    ) -> Result<Option<Conversation>, DbError> {
        let row: Option<ConversationRow> = sqlx::query_as(concat!(
            "update chat.conversations set revision = revision + 1, \
               updated_at = greatest(updated_at, clock_timestamp()), \
               last_active_at = coalesce($3, last_active_at) \
             where user_id = $1 and id = $2 returning ",
            columns!()
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(active_at)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("touch a conversation"))?;
        Ok(row.map(Conversation::from))
    }

    /// Deletes the conversation, its messages and their runs. Whether it was there.
    pub async fn delete_conversation(&mut self, id: ConversationId) -> Result<bool, DbError> {
        let deleted = sqlx::query("delete from chat.conversations where user_id = $1 and id = $2")
            .bind(self.viewer.user_id().uuid())
            .bind(id.uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("delete a conversation"))?;
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

        let mut query = QueryBuilder::new(concat!("select ", columns!()));
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
struct ConversationRow {
    id: Uuid,
    title: Option<String>,
    model: Option<String>,
    archived: bool,
    pinned: bool,
    revision: i64,
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
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_active_at: row.last_active_at,
        }
    }
}
