//! What replies have cost whom.

use std::collections::HashMap;

use super::{Accounts, AccountsError};
use crate::{
    db::Viewer,
    model::{TimeRange, Usage, UserId},
};

impl Accounts {
    /// The viewer's own.
    pub async fn usage(&self, viewer: &Viewer, range: TimeRange) -> Result<Usage, AccountsError> {
        check(range)?;
        let mut tx = self.database.viewer_tx(viewer).await?;
        let usage = tx.usage(range).await?;
        tx.commit().await?;
        Ok(usage)
    }

    /// That of all users together, for an admin.
    pub async fn total_usage(
        &self,
        viewer: &Viewer,
        range: TimeRange,
    ) -> Result<Usage, AccountsError> {
        check(range)?;
        let mut tx = self.admin_tx(viewer).await?;
        let usage = tx.total_usage(range).await?;
        tx.commit().await?;
        Ok(usage)
    }

    /// That of each of these users, for an admin; one who has none is left out.
    pub async fn usage_of(
        &self,
        viewer: &Viewer,
        users: &[UserId],
        range: TimeRange,
    ) -> Result<HashMap<UserId, Usage>, AccountsError> {
        check(range)?;
        let mut tx = self.admin_tx(viewer).await?;
        let usage = tx.usage_of(users, range).await?;
        tx.commit().await?;
        Ok(usage)
    }
}

fn check(range: TimeRange) -> Result<(), AccountsError> {
    match (range.since, range.until) {
        (Some(since), Some(until)) if since > until => Err(AccountsError::Invalid {
            argument: "until",
            problem: "must not be before since".to_owned(),
        }),
        _ => Ok(()),
    }
}
