//! What an admin may see and do: users and sums, never what somebody wrote.

use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::{
    AdminTx, DbError, User, Viewer, error::during, statements::Connection, users::columns,
};
use crate::model::{Page, PageRequest, Slice, UserId};

/// An admin: the key that opens a transaction on what admins may see. Made here alone, from a
/// viewer whose credential allows it.
#[derive(Clone, Debug)]
pub struct Admin {
    user_id: UserId,
    /// A key does not prove that its user is still an admin.
    in_person: bool,
}

impl Viewer {
    /// `None`: the credential is not an admin's.
    pub fn admin(&self) -> Option<Admin> {
        self.access().admin.then_some(Admin {
            user_id: self.user_id(),
            in_person: self.access().in_person,
        })
    }
}

impl Admin {
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// Refuses one who was suspended or deleted since they signed in, and a key whose user their
    /// issuer's tokens call an admin no more: sockets live long.
    pub(super) async fn check(&self, connection: &mut Connection) -> Result<(), DbError> {
        let stands: Option<bool> = sqlx::query_scalar(
            "select suspended_at is null and (is_admin or $2) from chat.users \
             where user_id = $1 and deleted_at is null",
        )
        .bind(self.user_id.uuid())
        .bind(self.in_person)
        .fetch_optional(connection)
        .await
        .map_err(during("look whether an admin is one still"))?;
        if stands == Some(true) {
            Ok(())
        } else {
            Err(DbError::AdminGone)
        }
    }
}

/// Where a user stands in the list of all: when they were first seen, then their id.
pub type UserKey = (DateTime<Utc>, UserId);

/// Which users are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSearch {
    /// What the issuer's id, the e-mail address or the name holds, letters in either case, taken
    /// literally.
    pub text: String,
    /// Whoever has this id is found, too.
    pub id: Option<UserId>,
}

impl AdminTx {
    /// Those of the ids that are users', in no order.
    pub async fn users(&mut self, ids: &[UserId]) -> Result<Vec<User>, DbError> {
        sqlx::query_as(concat!(
            "select ",
            columns!(),
            " from chat.users where user_id = any($1) and deleted_at is null"
        ))
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("load users"))
    }

    /// One page of all users, those first seen last at its start.
    pub async fn user_page(
        &mut self,
        search: Option<&UserSearch>,
        request: PageRequest<UserKey>,
    ) -> Result<Page<User>, DbError> {
        // A page from the end is read backwards and turned round.
        let (limit, direction) = match request.slice {
            Slice::First(limit) => (limit, "desc"),
            Slice::Last(limit) => (limit, "asc"),
        };
        let mut query = QueryBuilder::new(concat!(
            "select ",
            columns!(),
            " from chat.users where deleted_at is null"
        ));
        if let Some(UserSearch { text, id }) = search {
            query.push(" and (");
            for column in ["external_id", "email", "display_name"] {
                query.push(format!("strpos(lower({column}), lower("));
                query.push_bind(text.clone()).push(")) > 0 or ");
            }
            query.push("user_id = ");
            query.push_bind(id.map(UserId::uuid)).push(")");
        }
        for (key, comparison) in [(request.after, "<"), (request.before, ">")] {
            if let Some((time, id)) = key {
                query.push(format!(" and (created_at, user_id) {comparison} ("));
                query.push_bind(time).push(", ").push_bind(id.uuid());
                query.push(")");
            }
        }
        query.push(format!(
            " order by created_at {direction}, user_id {direction} limit "
        ));
        query.push_bind(i64::from(limit) + 1);
        let rows = query
            .build_query_as()
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during("load a page of users"))?;
        Ok(Page::from_overfull(rows, &request))
    }

    /// Suspends a user, or lets them in again; one who is so already stays as they were. `None`:
    /// there is no such user, or it is the admin.
    pub async fn set_suspended(
        &mut self,
        user_id: UserId,
        suspended: bool,
    ) -> Result<Option<User>, DbError> {
        sqlx::query_as(concat!(
            "update chat.users set suspended_at = \
               case when $2 then coalesce(suspended_at, clock_timestamp()) end \
             where user_id = $1 and deleted_at is null and user_id <> $3 returning ",
            columns!()
        ))
        .bind(user_id.uuid())
        .bind(suspended)
        .bind(self.admin.user_id().uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("suspend or restore a user"))
    }
}
