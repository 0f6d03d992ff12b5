//! The tree of a conversation's messages: which alternatives there are at a place, and which way
//! through them is the active path.
//!
//! Invariant, at the end of every transaction: at each fork exactly one message is `preferred`,
//! the one that was last active, and the active path is what follows those from the root to the
//! end. So a message that is active is preferred, and so are all that lead to it.

use std::collections::HashMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::{
    DbError, ViewerTx,
    error::during,
    messages::{MessageRow, message_columns},
};
use crate::model::{Conversation, ConversationId, Feedback, Fork, Message, MessageId};

/// How many alternatives are told at most.
pub const MOST_VERSIONS: usize = 50;

/// Alternatives at one fork: all of them, or so many that follow each other.
#[derive(Clone, Debug)]
pub struct Versions {
    pub fork: Fork,
    /// Oldest first, never empty.
    pub messages: Vec<Message>,
}

/// The rows of one fork. A comparison that holds for null too would use no index.
macro_rules! alternatives {
    ($columns:literal, $where:literal, $order:literal) => {
        concat!(
            "((select ",
            $columns,
            " from chat.messages \
               where user_id = $1 and conversation_id = asked.conversation_id \
                 and parent_id = asked.parent_id",
            $where,
            " order by ",
            $order,
            ") \
             union all \
             (select ",
            $columns,
            " from chat.messages \
               where user_id = $1 and conversation_id = asked.conversation_id \
                 and asked.parent_id is null and parent_id is null",
            $where,
            " order by ",
            $order,
            "))"
        )
    };
}

/// How many alternatives a fork has: none ever goes alone, so it is the number of the newest.
macro_rules! newest {
    () => {
        alternatives!("version_number", "", "version_number desc limit 1")
    };
}

/// The message $3 and those before it that are not active: what has to become active for it.
///
/// Here and below each step of a way is a look-up by an index; the limit keeps it from being planned
/// as a join, which might read the whole table at each step.
macro_rules! way_up {
    () => {
        "recursive up as (\
           select id, parent_id, position from chat.messages where user_id = $1 and id = $3 \
           union all \
           select m.* from up cross join lateral (\
             select id, parent_id, position from chat.messages \
             where user_id = $1 and id = up.parent_id and not active limit 1) m)"
    };
}

impl ViewerTx {
    /// How many alternatives there are at each fork.
    pub async fn version_counts(&mut self, forks: &[Fork]) -> Result<Vec<(Fork, i32)>, DbError> {
        let (conversations, parents) = columns_of(forks.iter());
        let rows: Vec<(Uuid, Option<Uuid>, i32)> = sqlx::query_as(concat!(
            "select asked.conversation_id, asked.parent_id, newest.version_number \
             from unnest($2::uuid[], $3::uuid[]) as asked (conversation_id, parent_id) \
             cross join lateral ",
            newest!(),
            " as newest"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(conversations)
        .bind(parents)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("count versions"))?;
        Ok(rows
            .into_iter()
            .map(|(conversation_id, parent_id, count)| (fork(conversation_id, parent_id), count))
            .collect())
    }

    /// How many alternatives this message has, itself included.
    pub async fn version_count(&mut self, message: &Message) -> Result<i32, DbError> {
        let counts = self.version_counts(&[message.fork()]).await?;
        Ok(counts.first().map_or(0, |(_, count)| *count))
    }

    /// For each fork and number the newest [`MOST_VERSIONS`] alternatives or, where the number is
    /// not among them, those that begin with it; each such stretch once. `None`: their texts
    /// have more than `most_bytes`.
    pub async fn versions(
        &mut self,
        asked: &[(Fork, i32)],
        most_bytes: usize,
    ) -> Result<Option<Vec<Versions>>, DbError> {
        let (conversations, parents) = columns_of(asked.iter().map(|(fork, _)| fork));
        let rows: Vec<VersionRow> = sqlx::query_as(concat!(
            "with asked as materialized (\
               select distinct asked.conversation_id, asked.parent_id, \
                 least(asked.version_number, greatest(newest.version_number - $5 + 1, 1)) as first \
               from unnest($2::uuid[], $3::uuid[], $4::int[]) \
                 as asked (conversation_id, parent_id, version_number) \
               cross join lateral ",
            newest!(),
            " as newest), \
             page as materialized (\
               select asked.first, m.* from asked cross join lateral ",
            alternatives!("*", " and version_number >= asked.first", "version_number limit $5"),
            " as m), \
             size as materialized (select coalesce(sum(octet_length(content)), 0) as bytes from page) \
             select m.first, ",
            message_columns!("case when size.bytes <= $6 then m.content end"),
            " from page m cross join size"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(conversations)
        .bind(parents)
        .bind(asked.iter().map(|(_, number)| *number).collect::<Vec<_>>())
        .bind(i32::try_from(MOST_VERSIONS).unwrap_or(i32::MAX))
        .bind(i64::try_from(most_bytes).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load versions"))?;
        if rows.iter().any(|row| row.message.is_unread()) {
            return Ok(None);
        }
        let mut stretches: HashMap<(Fork, i32), Vec<Message>> = HashMap::new();
        for row in rows {
            let message = Message::try_from(row.message)?;
            let stretch = stretches.entry((message.fork(), row.first)).or_default();
            stretch.push(message);
        }
        let versions = stretches.into_iter().map(|((fork, _), mut messages)| {
            messages.sort_unstable_by_key(|message| message.version_number);
            Versions { fork, messages }
        });
        Ok(Some(versions.collect()))
    }

    /// Makes the path that leads to the place of `message` the active one, and ends it there, so
    /// that another alternative to it can be stored. The conversation is locked, and touched
    /// afterwards.
    pub async fn branch_at(
        &mut self,
        message: &Message,
        conversation: &Conversation,
    ) -> Result<(), DbError> {
        self.leave_path(message, conversation).await?;
        if !message.active {
            self.take_path(message, conversation, false).await?;
        }
        Ok(())
    }

    /// Makes the path that leads to `message`, and goes on as it last did, the active one. The
    /// conversation is locked, and touched afterwards. How long the path is then.
    pub async fn select_path(
        &mut self,
        message: &Message,
        conversation: &Conversation,
    ) -> Result<i32, DbError> {
        self.leave_path(message, conversation).await?;
        self.take_path(message, conversation, true).await
    }

    /// Takes from the active path what does not lead to the place of `message`, and prefers no
    /// alternative any more to it and to those before it that are not active.
    async fn leave_path(
        &mut self,
        message: &Message,
        conversation: &Conversation,
    ) -> Result<(), DbError> {
        // A message may be both on the path and an alternative that is outdone, and one statement
        // changes a row but once.
        sqlx::query(concat!(
            "with ",
            way_up!(),
            ", found (id, outdone) as (\
               select m.id, false from (select min(position) as position from up) as parting \
                 join chat.messages m on m.user_id = $1 and m.conversation_id = $2 \
                   and m.active and m.position >= parting.position and m.position < $5 \
               union all select m.id, true from up cross join lateral (\
                 select id from chat.messages where user_id = $1 and conversation_id = $2 \
                   and parent_id = up.parent_id and preferred limit 1) m \
               union all select m.id, true from up cross join lateral (\
                 select id from chat.messages where user_id = $1 and conversation_id = $2 \
                   and up.parent_id is null and parent_id is null and preferred limit 1) m), \
             left_behind as (select id, bool_or(outdone) as outdone from found group by id) \
             update chat.messages m set active = false, \
               preferred = m.preferred and not left_behind.outdone, \
               revision = case when m.active then $4 else m.revision end \
             from left_behind where m.user_id = $1 and m.id = left_behind.id"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(message.conversation_id.uuid())
        .bind(message.id.uuid())
        .bind(conversation.revision + 1)
        .bind(conversation.path_length)
        .execute(&mut *self.tx)
        .await
        .map_err(during("leave a path"))?;
        Ok(())
    }

    /// Activates and prefers those before `message` that are not active and, with `and_on`, itself
    /// and what was last active after it. A statement of its own, after the one that leaves: unique
    /// indexes allow no two active messages at one position for a moment.
    async fn take_path(
        &mut self,
        message: &Message,
        conversation: &Conversation,
        and_on: bool,
    ) -> Result<i32, DbError> {
        sqlx::query_scalar(concat!(
            "with ",
            way_up!(),
            ", down (id) as (\
               select $3::uuid where $5 \
               union all \
               select m.id from down cross join lateral (\
                 select id from chat.messages where user_id = $1 and conversation_id = $2 \
                   and parent_id = down.id and preferred limit 1) m), \
             way (id) as (select id from up where id <> $3 union all select id from down), \
             taken as (\
               update chat.messages m set active = true, preferred = true, revision = $4 \
               from way where m.user_id = $1 and m.id = way.id returning m.position) \
             select coalesce(max(position) + 1, 0) from taken"
        ))
        .bind(self.viewer.user_id().uuid())
        .bind(message.conversation_id.uuid())
        .bind(message.id.uuid())
        .bind(conversation.revision + 1)
        .bind(and_on)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("take a path"))
    }

    /// `None` takes the feedback back. The conversation has been touched, and has this revision.
    pub async fn rate_message(
        &mut self,
        id: MessageId,
        feedback: Option<&Feedback>,
        revision: i64,
    ) -> Result<(), DbError> {
        sqlx::query(
            "update chat.messages set rating = $3, feedback_comment = $4, revision = $5 \
             where user_id = $1 and id = $2 and role = 'ASSISTANT'",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(id.uuid())
        .bind(feedback.map(|feedback| feedback.rating.as_str()))
        .bind(feedback.and_then(|feedback| feedback.comment.as_deref()))
        .bind(revision)
        .execute(&mut *self.tx)
        .await
        .map_err(during("rate a message"))?;
        Ok(())
    }
}

fn columns_of<'a>(forks: impl Iterator<Item = &'a Fork>) -> (Vec<Uuid>, Vec<Option<Uuid>>) {
    forks
        .map(|fork| {
            (
                fork.conversation_id.uuid(),
                fork.parent_id.map(MessageId::uuid),
            )
        })
        .unzip()
}

fn fork(conversation_id: Uuid, parent_id: Option<Uuid>) -> Fork {
    Fork {
        conversation_id: ConversationId::from_uuid(conversation_id),
        parent_id: parent_id.map(MessageId::from_uuid),
    }
}

#[derive(FromRow)]
struct VersionRow {
    /// The number with which its stretch begins.
    first: i32,
    #[sqlx(flatten)]
    message: MessageRow,
}
