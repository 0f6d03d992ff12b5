//! How far conversations and lists of them are, across users: what subscribers follow.

use std::collections::HashMap;

use uuid::Uuid;

use super::{DbError, SystemTx, error::during};
use crate::model::{ConversationId, UserId};

/// What has a revision that grows with every change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Conversation(UserId, ConversationId),
    /// A user's list of conversations.
    List(UserId),
}

impl Subject {
    pub const fn user_id(&self) -> UserId {
        match self {
            Self::Conversation(user_id, _) | Self::List(user_id) => *user_id,
        }
    }
}

impl SystemTx {
    /// The revisions of these; a conversation that is gone is left out.
    pub async fn revisions(
        &mut self,
        subjects: &[Subject],
    ) -> Result<HashMap<Subject, i64>, DbError> {
        let (mut owners, mut conversations, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for subject in subjects {
            match subject {
                Subject::Conversation(user_id, id) => {
                    owners.push(user_id.uuid());
                    conversations.push(id.uuid());
                }
                Subject::List(user_id) => lists.push(user_id.uuid()),
            }
        }
        let rows: Vec<(Uuid, Option<Uuid>, i64)> = sqlx::query_as(
            "select c.user_id, c.id, c.revision \
             from unnest($1::uuid[], $2::uuid[]) as asked (user_id, id) \
             join chat.conversations c on c.user_id = asked.user_id and c.id = asked.id \
             union all \
             select asked.user_id, null, coalesce(l.revision, 0) \
             from unnest($3::uuid[]) as asked (user_id) \
             left join chat.list_revisions l on l.user_id = asked.user_id",
        )
        .bind(owners)
        .bind(conversations)
        .bind(lists)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("ask how far conversations are"))?;
        Ok(rows
            .into_iter()
            .map(|(user_id, id, revision)| {
                let user_id = user_id.into();
                let subject = match id {
                    Some(id) => Subject::Conversation(user_id, id.into()),
                    None => Subject::List(user_id),
                };
                (subject, revision)
            })
            .collect())
    }
}
