use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Database, DbError, SystemReason, SystemTx, Viewer, ViewerTx, error::during};
use crate::{
    auth::{Identity, Issued},
    model::{Access, AuditAction, NewAuditEvent, Provenance, UserId},
};

/// A user as they see themselves, and as admins see them.
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
    pub suspended_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    () => {
        "user_id, issuer, external_id, email, display_name, created_at, last_active_at, suspended_at"
    };
}
pub(super) use columns;

/// What became of a proof of who somebody is.
#[derive(Clone, Debug)]
pub enum SignIn {
    Viewer {
        viewer: Viewer,
        /// Never seen before, or deleted since.
        is_new: bool,
    },
    /// An admin has suspended the user, whatever they prove.
    Suspended(UserId),
    /// The proof is from before the user's deletion, or does not say from when it is: it must not
    /// bring them back.
    Deleted,
}

impl Database {
    /// The viewer that stands for a verified identity; made on first sight. Writes only when a
    /// claim changed or the user was last seen more than a minute ago. A claim that the token
    /// does not carry leaves what an earlier one said. `tolerance`: how far the issuer's clock may
    /// differ from the database's.
    pub async fn sign_in(
        &self,
        identity: &Identity,
        tolerance: Duration,
        provenance: &Provenance,
    ) -> Result<SignIn, DbError> {
        let mut tx = self.system_tx(SystemReason::SignIn).await?;
        let outcome = tx.sign_in(identity, tolerance, provenance).await?;
        if let SignIn::Viewer { .. } = outcome {
            tx.commit().await?;
        }
        Ok(outcome)
    }

    /// What a sign-in would come to, for somebody who only asks: it leaves no trace.
    pub async fn rehearse_sign_in(
        &self,
        identity: &Identity,
        tolerance: Duration,
        provenance: &Provenance,
    ) -> Result<SignIn, DbError> {
        let mut tx = self.system_tx(SystemReason::SignIn).await?;
        tx.sign_in(identity, tolerance, provenance).await
    }
}

/// Whether the user was vouched for after a moment, for certain.
fn is_younger(issued: Issued, moment: DateTime<Utc>, tolerance: Duration) -> bool {
    match issued {
        Issued::Now => true,
        Issued::At(time) => time > SystemTime::from(moment) + tolerance,
        Issued::Unsaid => false,
    }
}

#[derive(sqlx::FromRow)]
struct FoundUser {
    user_id: Uuid,
    is_current: bool,
    is_suspended: bool,
    tokens_valid_from: Option<DateTime<Utc>>,
}

impl SystemTx {
    /// The caller commits it, or lets it be undone.
    async fn sign_in(
        &mut self,
        identity: &Identity,
        tolerance: Duration,
        provenance: &Provenance,
    ) -> Result<SignIn, DbError> {
        // Once, unless the same user is made or deleted at this very moment.
        let (user_id, is_new) = loop {
            let Some(found) = self.find_user(identity).await? else {
                let Some(user_id) = self.insert_user(identity).await? else {
                    continue;
                };
                // After the row is there: a deletion of the same person has then either been
                // committed, and is seen, or waits for this transaction.
                let subject = self
                    .subject_hash(&identity.issuer, &identity.external_id)
                    .await?;
                if let Some(deleted_at) = self.last_deletion(subject).await? {
                    if !is_younger(identity.issued, deleted_at, tolerance) {
                        return Ok(SignIn::Deleted);
                    }
                    self.refuse_older_tokens(user_id, deleted_at).await?;
                }
                break (user_id, true);
            };
            if found.is_suspended {
                return Ok(SignIn::Suspended(found.user_id.into()));
            }
            if found
                .tokens_valid_from
                .is_some_and(|deleted_at| !is_younger(identity.issued, deleted_at, tolerance))
            {
                return Ok(SignIn::Deleted);
            }
            let user_id = found.user_id.into();
            if found.is_current || self.refresh_user(user_id, identity).await? {
                break (user_id, false);
            }
        };
        if is_new {
            let event = NewAuditEvent::succeeded(AuditAction::UserCreated, provenance);
            self.record(Some(user_id), &event).await?;
        }
        Ok(SignIn::Viewer {
            viewer: Viewer::new(
                user_id,
                identity.claims.clone(),
                Access::of_user(identity.is_admin),
            ),
            is_new,
        })
    }

    async fn find_user(&mut self, identity: &Identity) -> Result<Option<FoundUser>, DbError> {
        sqlx::query_as(
            "select user_id, suspended_at is not null as is_suspended, tokens_valid_from, \
               email is not distinct from coalesce($3, email) \
               and display_name is not distinct from coalesce($4, display_name) \
               and is_admin = $5 \
               and last_active_at > now() - interval '1 minute' as is_current \
             from chat.users where issuer = $1 and external_id = $2 and deleted_at is null",
        )
        .bind(&identity.issuer)
        .bind(&identity.external_id)
        .bind(&identity.email)
        .bind(&identity.display_name)
        .bind(identity.is_admin)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("look up a user"))
    }

    /// Whether the user was still there, and welcome.
    async fn refresh_user(
        &mut self,
        user_id: UserId,
        identity: &Identity,
    ) -> Result<bool, DbError> {
        let refreshed = sqlx::query(
            "update chat.users set email = coalesce($2, email), \
               display_name = coalesce($3, display_name), is_admin = $4, \
               last_active_at = clock_timestamp() \
             where user_id = $1 and deleted_at is null and suspended_at is null",
        )
        .bind(user_id.uuid())
        .bind(&identity.email)
        .bind(&identity.display_name)
        .bind(identity.is_admin)
        .execute(&mut *self.tx)
        .await
        .map_err(during("refresh a user"))?;
        Ok(refreshed.rows_affected() > 0)
    }

    /// `None`: another request made them first.
    async fn insert_user(&mut self, identity: &Identity) -> Result<Option<UserId>, DbError> {
        let inserted: Option<Uuid> = sqlx::query_scalar(
            "insert into chat.users (user_id, issuer, external_id, email, display_name, is_admin) \
             values ($1, $2, $3, $4, $5, $6) \
             on conflict (issuer, external_id) do nothing returning user_id",
        )
        .bind(UserId::new().uuid())
        .bind(&identity.issuer)
        .bind(&identity.external_id)
        .bind(&identity.email)
        .bind(&identity.display_name)
        .bind(identity.is_admin)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("make a user"))?;
        Ok(inserted.map(UserId::from_uuid))
    }

    async fn refuse_older_tokens(
        &mut self,
        user_id: UserId,
        deleted_at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        sqlx::query("update chat.users set tokens_valid_from = $2 where user_id = $1")
            .bind(user_id.uuid())
            .bind(deleted_at)
            .execute(&mut *self.tx)
            .await
            .map_err(during("note that older tokens are refused"))?;
        Ok(())
    }
}

impl ViewerTx {
    /// The viewer's own row; `None` once the user is gone.
    pub async fn user(&mut self) -> Result<Option<User>, DbError> {
        sqlx::query_as(concat!(
            "select ",
            columns!(),
            " from chat.users where user_id = $1 and deleted_at is null"
        ))
        .bind(self.viewer.user_id().uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("load the viewer"))
    }
}
