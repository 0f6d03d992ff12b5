use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Database, DbError, SystemReason, SystemTx, Viewer, ViewerTx, error::during};
use crate::{
    auth::Identity,
    model::{Access, UserId},
};

/// A user as they see themselves.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct User {
    #[sqlx(try_from = "Uuid")]
    pub user_id: UserId,
    pub issuer: String,
    pub external_id: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_active_at: DateTime<Utc>,
}

impl Database {
    /// The viewer that stands for a verified identity; made on first sight. Writes only when a
    /// claim changed or the user was last seen more than a minute ago. A claim that the token
    /// does not carry leaves what an earlier one said.
    pub async fn sign_in(&self, identity: &Identity) -> Result<Viewer, DbError> {
        let mut tx = self.system_tx(SystemReason::SignIn).await?;
        let user_id = match tx.find_user(identity).await? {
            Some(found) if found.is_current => found.user_id,
            Some(found) => {
                tx.refresh_user(found.user_id, identity).await?;
                found.user_id
            }
            None => tx.insert_user(identity).await?,
        };
        tx.commit().await?;
        Ok(Viewer::new(
            user_id,
            identity.claims.clone(),
            Access::of_user(identity.is_admin),
        ))
    }
}

struct FoundUser {
    user_id: UserId,
    is_current: bool,
}

impl SystemTx {
    async fn find_user(&mut self, identity: &Identity) -> Result<Option<FoundUser>, DbError> {
        let row: Option<(Uuid, bool)> = sqlx::query_as(
            "select user_id, \
               email is not distinct from coalesce($3, email) \
               and display_name is not distinct from coalesce($4, display_name) \
               and last_active_at > now() - interval '1 minute' \
             from chat.users where issuer = $1 and external_id = $2",
        )
        .bind(&identity.issuer)
        .bind(&identity.external_id)
        .bind(&identity.email)
        .bind(&identity.display_name)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("look up a user"))?;
        Ok(row.map(|(user_id, is_current)| FoundUser {
            user_id: UserId::from_uuid(user_id),
            is_current,
        }))
    }

    async fn refresh_user(&mut self, user_id: UserId, identity: &Identity) -> Result<(), DbError> {
        sqlx::query(
            "update chat.users set email = coalesce($2, email), \
               display_name = coalesce($3, display_name), last_active_at = clock_timestamp() \
             where user_id = $1",
        )
        .bind(user_id.uuid())
        .bind(&identity.email)
        .bind(&identity.display_name)
        .execute(&mut *self.tx)
        .await
        .map_err(during("refresh a user"))?;
        Ok(())
    }

    /// Two first requests at once make one user.
    async fn insert_user(&mut self, identity: &Identity) -> Result<UserId, DbError> {
        sqlx::query_scalar(
            "insert into chat.users (user_id, issuer, external_id, email, display_name) \
             values ($1, $2, $3, $4, $5) \
             on conflict (issuer, external_id) do update set last_active_at = clock_timestamp() \
             returning user_id",
        )
        .bind(UserId::new().uuid())
        .bind(&identity.issuer)
        .bind(&identity.external_id)
        .bind(&identity.email)
        .bind(&identity.display_name)
        .fetch_one(&mut *self.tx)
        .await
        .map(UserId::from_uuid)
        .map_err(during("make a user"))
    }
}

impl ViewerTx {
    /// The viewer's own row; `None` once the user is gone.
    pub async fn user(&mut self) -> Result<Option<User>, DbError> {
        sqlx::query_as(
            "select user_id, issuer, external_id, email, display_name, created_at, last_active_at \
             from chat.users where user_id = $1",
        )
        .bind(self.viewer.user_id().uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("load the viewer"))
    }
}
