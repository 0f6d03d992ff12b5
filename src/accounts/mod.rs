//! A user's life: today, from a credential to a signed-in viewer.
//!
//! `auth` proves who somebody is, `db` keeps the row that stands for them; this is where the two
//! meet. It must not know GraphQL or HTTP.

mod error;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    auth::{AuthError, Authenticator, Credential},
    db::{Database, DbError, SignIn, Viewer},
    model::UserId,
};

pub use error::AccountsError;

/// Signs users in. Clones are handles to the same.
#[derive(Clone)]
pub struct Accounts {
    authenticator: Authenticator,
    database: Database,
    /// How far an issuer's clock may differ from the database's.
    tolerance: Duration,
}

/// A signed-in user, for as long as the credential holds.
#[derive(Clone, Debug)]
pub struct Session {
    pub viewer: Viewer,
    /// When the credential runs out, leeway included; `None`: never.
    pub expires_at: Option<SystemTime>,
    /// How the user proved who they are, as the audit log names it: `token:` and the issuer's
    /// name.
    pub credential: Arc<str>,
    /// Where the request came from, as far as that is known.
    pub address: Option<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("the credential was refused")]
    Refused(#[source] AuthError),
    #[error("the credential is from before the deletion of its user")]
    Deleted,
    #[error("the user is suspended")]
    Suspended(UserId),
    /// Nobody can be signed in just now.
    #[error("signing in is not available")]
    Unavailable {
        retry_after: Duration,
        #[source]
        source: Option<DbError>,
    },
    #[error(transparent)]
    Database(DbError),
}

/// When to come back after the database was not there.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Accounts {
    pub fn new(authenticator: Authenticator, database: Database, tolerance: Duration) -> Self {
        Self {
            authenticator,
            database,
            tolerance,
        }
    }

    /// Believes or refuses the credential; makes the user on first sight.
    pub async fn sign_in(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
    ) -> Result<Session, SignInError> {
        let identity = match self.authenticator.authenticate(credential).await {
            Ok(identity) => identity,
            Err(AuthError::Unavailable { retry_after }) => {
                return Err(SignInError::Unavailable {
                    retry_after,
                    source: None,
                });
            }
            Err(refused) => return Err(SignInError::Refused(refused)),
        };
        let viewer = match self.database.sign_in(&identity, self.tolerance).await {
            Ok(SignIn::Viewer { viewer, .. }) => viewer,
            Ok(SignIn::Suspended(user_id)) => return Err(SignInError::Suspended(user_id)),
            Ok(SignIn::Deleted) => return Err(SignInError::Deleted),
            Err(error) if error.is_unavailable() => {
                return Err(SignInError::Unavailable {
                    retry_after: RETRY_AFTER,
                    source: Some(error),
                });
            }
            Err(error) => return Err(SignInError::Database(error)),
        };
        Ok(Session {
            viewer,
            expires_at: identity.expires_at,
            credential: format!("token:{}", identity.issuer).into(),
            address,
        })
    }
}
