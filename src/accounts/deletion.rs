//! Deleting users: acknowledged in one transaction, then carried out, by whichever process lives.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Accounts, AccountsError, Session, check_text};
use crate::{
    db::{DbError, DeletedUser, OwnDeletion},
    lifecycle::Lifecycle,
    model::{AuditAction, UserId},
};

/// The clocks of deletions.
#[derive(Clone, Copy, Debug)]
pub struct DeletionTiming {
    /// How long whoever asked for a deletion waits for everything to be gone. What is left then is
    /// taken up where it stands.
    pub patience: Duration,
    /// How often deletions are looked for that nobody is at work on.
    pub pace: Duration,
}

impl Default for DeletionTiming {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            pace: Duration::from_secs(5),
        }
    }
}

/// The longest id that an issuer may give a user, in characters.
const EXTERNAL_ID: usize = 255;

/// How many unfinished deletions are taken up at a time.
const BATCH: u32 = 100;

impl Accounts {
    /// Deletes the viewer with all that they had. Done when it returns, and irrevocable; what is
    /// left of their data then, if it is much, goes soon after.
    pub async fn delete_viewer(
        &self,
        session: &Session,
        confirm_external_id: &str,
    ) -> Result<(), AccountsError> {
        if !session.viewer.access().in_person {
            self.note_denied(session, AuditAction::UserDeleted);
            return Err(AccountsError::Forbidden(
                "An API key cannot delete its user: sign in with a token.",
            ));
        }
        check_text("confirmExternalId", confirm_external_id, EXTERNAL_ID)?;
        let deletion = self
            .database
            .delete_viewer(
                &session.viewer,
                confirm_external_id,
                &session.did(AuditAction::UserDeleted, session.viewer.user_id()),
            )
            .await?;
        match deletion {
            OwnDeletion::Acknowledged(user) => {
                self.erase_in_time(&user).await;
                Ok(())
            }
            OwnDeletion::Unconfirmed => Err(AccountsError::Invalid {
                argument: "confirmExternalId",
                problem: "must be the externalId of the viewer, letter by letter".to_owned(),
            }),
            OwnDeletion::Suspended => Err(AccountsError::Forbidden("This user is suspended.")),
            OwnDeletion::Gone => Err(AccountsError::NotFound("viewer")),
        }
    }

    /// The same for another user, by an admin.
    pub async fn delete_user(
        &self,
        session: &Session,
        user_id: UserId,
    ) -> Result<(), AccountsError> {
        let admin = self.admin_over(session, user_id, "use deleteViewer")?;
        let event = session.did(AuditAction::UserDeleted, user_id);
        let deletion = async {
            let deleted = self.database.delete_user(&admin, user_id, &event).await?;
            deleted.ok_or(AccountsError::NotFound("user"))
        };
        let user = self
            .attempt(session, AuditAction::UserDeleted, user_id, deletion)
            .await?;
        self.sessions.end_user(user_id);
        self.erase_in_time(&user).await;
        Ok(())
    }

    /// The deletion stands, whatever becomes of this.
    async fn erase_in_time(&self, user: &DeletedUser) {
        tracing::info!(user.id = %user.user_id(), "a user was deleted");
        match timeout(self.timing.patience, self.database.erase(user)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => not_finished(user, &error),
            Err(_) => tracing::info!(
                user.id = %user.user_id(),
                "a deletion takes its time and is carried on behind the scenes"
            ),
        }
    }

    /// Carries on deletions that did not come to their end: their process was lost, or they take
    /// longer than anybody waits.
    pub(super) async fn finish_deletions(self, lifecycle: Lifecycle) {
        let mut clock = interval(self.timing.pace);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let work = async {
                clock.tick().await;
                self.finish_some().await
            };
            let finished = tokio::select! {
                finished = work => finished,
                () = lifecycle.hard_stop().cancelled() => return,
            };
            match finished {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "unfinished deletions could not be looked for"
                    );
                }
                Err(_) => {}
            }
        }
    }

    async fn finish_some(&self) -> Result<(), DbError> {
        let unfinished = self
            .database
            .unfinished_deletions(self.timing.patience, BATCH)
            .await?;
        for user in unfinished {
            // One that cannot be finished does not keep the others from their end.
            match self.database.erase(&user).await {
                Ok(()) => tracing::info!(user.id = %user.user_id(), "a deletion was finished"),
                Err(error) => not_finished(&user, &error),
            }
        }
        Ok(())
    }
}

fn not_finished(user: &DeletedUser, error: &DbError) {
    tracing::warn!(
        user.id = %user.user_id(),
        error = error as &dyn std::error::Error,
        "a deletion could not be finished, and is taken up again"
    );
}
