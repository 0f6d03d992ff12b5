//! How a user is deleted, in two phases.
//!
//! The first is one transaction, and the deletion's acknowledgement: who the user was is left only
//! as a tombstone, nobody can sign in as them, and no admin sees them. The second takes away what
//! they had, in steps that are small enough for any amount, and can be repeated from anywhere:
//! it ends with the row of the user, and until then that row says that there is more to do. What a
//! transaction that was under way has stored meanwhile goes with that row.

use std::time::Duration;

use uuid::Uuid;

use super::{Admin, Database, DbError, SystemReason, SystemTx, Viewer, ViewerTx, error::during};
use crate::{
    auth::PolicyClaims,
    model::{Access, NewAuditEvent, UserId},
};

/// How many rows one transaction takes away of what may be much.
const BATCH: i64 = 1000;

/// How many conversations one transaction takes away.
const CONVERSATIONS: i64 = 50;

/// A user who is deleted, with something of theirs perhaps left to take away.
#[derive(Clone, Debug)]
pub struct DeletedUser {
    viewer: Viewer,
}

impl DeletedUser {
    fn new(user_id: UserId) -> Self {
        // Nobody's claims: the user cannot be asked for any.
        let access = Access {
            read: true,
            write: true,
            admin: false,
            in_person: false,
        };
        Self {
            viewer: Viewer::new(user_id, PolicyClaims::default(), access),
        }
    }

    pub fn user_id(&self) -> UserId {
        self.viewer.user_id()
    }
}

/// What became of the wish to be deleted.
#[derive(Clone, Debug)]
pub enum OwnDeletion {
    Acknowledged(DeletedUser),
    /// The issuer's id of the user is another.
    Unconfirmed,
    /// An admin has suspended the user since they signed in: what they have may be needed.
    Suspended,
    /// Somebody was faster.
    Gone,
}

impl Database {
    /// Deletes the viewer, as far as that is one transaction; [`Database::erase`] must follow.
    pub async fn delete_viewer(
        &self,
        viewer: &Viewer,
        external_id: &str,
        event: &NewAuditEvent,
    ) -> Result<OwnDeletion, DbError> {
        let mut tx = self.system_tx(SystemReason::Deletion).await?;
        let Some(name) = tx.lock_name(viewer.user_id()).await? else {
            return Ok(OwnDeletion::Gone);
        };
        if name.is_suspended {
            return Ok(OwnDeletion::Suspended);
        }
        if name.external_id != external_id {
            return Ok(OwnDeletion::Unconfirmed);
        }
        let deleted = tx.acknowledge_deletion(viewer.user_id(), &name).await?;
        tx.record(Some(viewer.user_id()), event).await?;
        tx.commit().await?;
        Ok(OwnDeletion::Acknowledged(deleted))
    }

    /// The same for another user, by an admin. `None`: there is no such user.
    pub async fn delete_user(
        &self,
        admin: &Admin,
        user_id: UserId,
        event: &NewAuditEvent,
    ) -> Result<Option<DeletedUser>, DbError> {
        let mut tx = self.system_tx(SystemReason::Deletion).await?;
        admin.check(&mut tx.tx).await?;
        let Some(name) = tx.lock_name(user_id).await? else {
            return Ok(None);
        };
        let deleted = tx.acknowledge_deletion(user_id, &name).await?;
        tx.record(Some(admin.user_id()), event).await?;
        tx.commit().await?;
        Ok(Some(deleted))
    }

    /// Users who were deleted at least so long ago and are not gone, oldest first.
    pub async fn unfinished_deletions(
        &self,
        age: Duration,
        limit: u32,
    ) -> Result<Vec<DeletedUser>, DbError> {
        let mut tx = self.system_tx(SystemReason::Deletion).await?;
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "select user_id from chat.users \
             where deleted_at <= now() - $1 * interval '1 second' order by deleted_at limit $2",
        )
        .bind(age.as_secs_f64())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.tx)
        .await
        .map_err(during("look for unfinished deletions"))?;
        tx.commit().await?;
        Ok(ids
            .into_iter()
            .map(|id| DeletedUser::new(id.into()))
            .collect())
    }

    /// Takes away everything that a deleted user had, and at last the user. Whoever is at the same
    /// work shares it; whoever takes it up after a crash goes on where it stopped.
    pub async fn erase(&self, user: &DeletedUser) -> Result<(), DbError> {
        // First of all whoever writes a reply hangs up, at the next tick.
        let mut tx = self.viewer_tx(&user.viewer).await?;
        tx.erase_runs().await?;
        tx.commit().await?;
        loop {
            let mut tx = self.viewer_tx(&user.viewer).await?;
            let more = tx.erase_conversations().await?;
            tx.commit().await?;
            if !more {
                break;
            }
        }
        // Anything else that one user may have much of goes in batches, too; what is few goes with
        // the user.
        for statement in [
            "delete from chat.idempotency_keys where user_id = $1 and ctid = any (array( \
               select ctid from chat.idempotency_keys where user_id = $1 limit $2))",
            "delete from chat.usage where user_id = $1 and ctid = any (array( \
               select ctid from chat.usage where user_id = $1 limit $2))",
        ] {
            loop {
                let mut tx = self.viewer_tx(&user.viewer).await?;
                let erased = tx.erase_batch(statement).await?;
                tx.commit().await?;
                if erased == 0 {
                    break;
                }
            }
        }
        let mut tx = self.system_tx(SystemReason::Deletion).await?;
        tx.delete_user_row(user.user_id()).await?;
        tx.commit().await
    }
}

/// Who a user is to their issuer.
#[derive(sqlx::FromRow)]
struct Name {
    issuer: String,
    external_id: String,
    is_suspended: bool,
}

impl SystemTx {
    /// Waits for whoever is storing something of the user's at this moment.
    async fn lock_name(&mut self, user_id: UserId) -> Result<Option<Name>, DbError> {
        sqlx::query_as(
            "select issuer, external_id, suspended_at is not null as is_suspended from chat.users \
             where user_id = $1 and deleted_at is null for update",
        )
        .bind(user_id.uuid())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("lock a user"))
    }

    /// The first phase, on a user whose row is locked.
    async fn acknowledge_deletion(
        &mut self,
        user_id: UserId,
        name: &Name,
    ) -> Result<DeletedUser, DbError> {
        let deleted_at = sqlx::query_scalar(
            "update chat.users set issuer = null, external_id = null, email = null, \
               display_name = null, is_admin = false, deleted_at = clock_timestamp() \
             where user_id = $1 returning deleted_at",
        )
        .bind(user_id.uuid())
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("take a user's name away"))?;
        let subject = self.subject_hash(&name.issuer, &name.external_id).await?;
        self.insert_tombstone(user_id, subject, deleted_at).await?;
        Ok(DeletedUser::new(user_id))
    }

    /// The end of the second phase. What the audit log says of the user stays, under a name that
    /// says nothing.
    async fn delete_user_row(&mut self, user_id: UserId) -> Result<(), DbError> {
        sqlx::query("delete from chat.users where user_id = $1 and deleted_at is not null")
            .bind(user_id.uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("delete a user"))?;
        self.forget_in_audit_log(user_id).await
    }
}

impl ViewerTx {
    async fn erase_runs(&mut self) -> Result<(), DbError> {
        sqlx::query("delete from chat.replies where user_id = $1")
            .bind(self.viewer.user_id().uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a deleted user's runs"))?;
        Ok(())
    }

    /// Takes away some conversations, or some messages of them. Whether there is more.
    async fn erase_conversations(&mut self) -> Result<bool, DbError> {
        let user_id = self.viewer.user_id().uuid();
        let conversations: Vec<Uuid> = sqlx::query_scalar(
            "select id from chat.conversations where user_id = $1 order by id limit $2 \
             for update skip locked",
        )
        .bind(user_id)
        .bind(CONVERSATIONS)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("lock a deleted user's conversations"))?;
        if conversations.is_empty() {
            return self.await_conversations().await;
        }
        // The newest first: a message takes along those that follow it, one inside the other, as
        // deep as the conversation is long.
        let erased = sqlx::query(
            "delete from chat.messages where user_id = $1 and id = any (array( \
               select id from chat.messages where user_id = $1 and conversation_id = any($2) \
               order by id desc limit $3))",
        )
        .bind(user_id)
        .bind(&conversations)
        .bind(BATCH)
        .execute(&mut *self.tx)
        .await
        .map_err(during("delete a deleted user's messages"))?;
        if erased.rows_affected() < BATCH.unsigned_abs() {
            sqlx::query("delete from chat.conversations where user_id = $1 and id = any($2)")
                .bind(user_id)
                .bind(&conversations)
                .execute(&mut *self.tx)
                .await
                .map_err(during("delete a deleted user's conversations"))?;
            for id in &conversations {
                self.changes.note((*id).into());
            }
        }
        Ok(true)
    }

    /// Waits for somebody else who is at work on a conversation. Whether any is left.
    async fn await_conversations(&mut self) -> Result<bool, DbError> {
        sqlx::query("select from chat.conversations where user_id = $1 limit 1 for update")
            .bind(self.viewer.user_id().uuid())
            .execute(&mut *self.tx)
            .await
            .map_err(during("wait for a deleted user's conversation"))?;
        sqlx::query_scalar("select exists (select from chat.conversations where user_id = $1)")
            .bind(self.viewer.user_id().uuid())
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("look for a deleted user's conversations"))
    }

    /// How many rows went.
    async fn erase_batch(&mut self, statement: &'static str) -> Result<u64, DbError> {
        let erased = sqlx::query(statement)
            .bind(self.viewer.user_id().uuid())
            .bind(BATCH)
            .execute(&mut *self.tx)
            .await
            .map_err(during("delete what a deleted user had"))?;
        Ok(erased.rows_affected())
    }
}
