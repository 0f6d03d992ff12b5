//! What admins see of users and do to them.

use super::{Accounts, AccountsError, Session, check_text};
use crate::{
    db::{Admin, AdminTx, AuditEventKey, User, UserKey, UserSearch, Viewer},
    model::{AuditAction, AuditEvent, Page, PageRequest, UserId},
};

/// The longest text that users are searched by, in characters.
const SEARCH: usize = 255;

impl Accounts {
    /// Those of the ids that are users'.
    pub async fn users(&self, viewer: &Viewer, ids: &[UserId]) -> Result<Vec<User>, AccountsError> {
        let mut tx = self.admin_tx(viewer).await?;
        let users = tx.users(ids).await?;
        tx.commit().await?;
        Ok(users)
    }

    pub async fn user_page(
        &self,
        viewer: &Viewer,
        search: Option<&UserSearch>,
        request: PageRequest<UserKey>,
    ) -> Result<Page<User>, AccountsError> {
        if let Some(search) = search {
            check_text("query", &search.text, SEARCH)?;
        }
        let mut tx = self.admin_tx(viewer).await?;
        let page = tx.user_page(search, request).await?;
        tx.commit().await?;
        Ok(page)
    }

    /// Shuts a user out, or lets them in again. One who is so already stays as they were.
    pub async fn set_suspended(
        &self,
        session: &Session,
        user_id: UserId,
        suspended: bool,
    ) -> Result<User, AccountsError> {
        let admin = self.admin_over(session, user_id, "ask another admin")?;
        let action = if suspended {
            AuditAction::UserSuspended
        } else {
            AuditAction::UserRestored
        };
        let change = async {
            let mut tx = self.database.admin_tx(&admin).await?;
            let user = tx
                .set_suspended(user_id, suspended)
                .await?
                .ok_or(AccountsError::NotFound("user"))?;
            tx.record(&session.did(action, user_id)).await?;
            tx.commit().await?;
            Ok(user)
        };
        let user = self.attempt(session, action, user_id, change).await?;
        if suspended {
            self.sessions.end_user(user_id);
        }
        Ok(user)
    }

    /// What anybody has done, newest first; with `about`, what that user has done and what was
    /// done to them.
    pub async fn audit_page(
        &self,
        viewer: &Viewer,
        about: Option<UserId>,
        request: PageRequest<AuditEventKey>,
    ) -> Result<Page<AuditEvent>, AccountsError> {
        let mut tx = self.admin_tx(viewer).await?;
        let page = tx.audit_page(about, request).await?;
        tx.commit().await?;
        Ok(page)
    }

    pub(super) async fn admin_tx(&self, viewer: &Viewer) -> Result<AdminTx, AccountsError> {
        Ok(self.database.admin_tx(&admin(viewer)?).await?)
    }

    /// An admin, about to do something to another user. `instead`: what to do for oneself.
    pub(super) fn admin_over(
        &self,
        session: &Session,
        user_id: UserId,
        instead: &str,
    ) -> Result<Admin, AccountsError> {
        let admin = admin(&session.viewer)?;
        if user_id == admin.user_id() {
            return Err(AccountsError::Invalid {
                argument: "userId",
                problem: format!("is your own: {instead}"),
            });
        }
        Ok(admin)
    }
}

fn admin(viewer: &Viewer) -> Result<Admin, AccountsError> {
    viewer
        .admin()
        .ok_or(AccountsError::Forbidden("This is for admins."))
}
