//! A user's life: from a credential to a signed-in viewer, the keys that they make for their
//! programs, what ends a session before its time, what they have used, suspension, and the end.
//!
//! `auth` proves who somebody is, `db` keeps the row that stands for them; this is where the two
//! meet. Invariant: what a call returns as done is committed. It must not know GraphQL or HTTP.

mod admin;
mod api_keys;
mod deletion;
mod error;
mod refusals;
mod usage;
mod watch;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    audit::Audit,
    auth::{AuthError, Authenticator, Credential},
    db::{Database, DbError, KeyRefusal, SignIn, Viewer},
    lifecycle::Lifecycle,
    model::{AuditAction, AuditTarget, NewAuditEvent, Provenance, UserId, text_problem},
};

pub use api_keys::{CreateApiKey, CreatedApiKey, rehearse_sign_in_by_key};
pub use deletion::DeletionTiming;
pub use error::AccountsError;
pub use watch::{Ended, Ending};

use self::watch::Sessions;

/// Signs users in, and keeps what is theirs as users. Clones are handles to the same.
#[derive(Clone)]
pub struct Accounts {
    authenticator: Authenticator,
    database: Database,
    audit: Audit,
    /// How far an issuer's clock may differ from the database's.
    tolerance: Duration,
    sessions: Arc<Sessions>,
    timing: DeletionTiming,
}

/// A signed-in user, for as long as the credential holds.
#[derive(Clone, Debug)]
pub struct Session {
    pub viewer: Viewer,
    /// When the credential runs out, leeway included; `None`: never.
    pub expires_at: Option<SystemTime>,
    /// How the user proved who they are, as the audit log names it (see [`Provenance`]).
    pub credential: Arc<str>,
    /// Where the request came from, as far as that is known.
    pub address: Option<IpAddr>,
    /// Whoever serves the session for longer than one answer stops when this tells.
    pub ended: Ended,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("the credential was refused")]
    Refused(#[source] AuthError),
    #[error("the API key was refused")]
    KeyRefused(KeyRefusal),
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

impl From<DbError> for SignInError {
    fn from(error: DbError) -> Self {
        if error.is_unavailable() {
            Self::Unavailable {
                retry_after: RETRY_AFTER,
                source: Some(error),
            }
        } else {
            Self::Database(error)
        }
    }
}

/// When to come back after the database was not there.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Accounts {
    /// Looks for credentials that end before their time, and carries deletions on, as tasks of the
    /// lifecycle. Must be called inside a Tokio runtime.
    pub fn start(
        authenticator: Authenticator,
        database: Database,
        audit: Audit,
        tolerance: Duration,
        timing: DeletionTiming,
        lifecycle: &Lifecycle,
    ) -> Self {
        let accounts = Self {
            authenticator,
            database,
            audit,
            tolerance,
            sessions: Arc::default(),
            timing,
        };
        lifecycle.spawn(watch::watch_on(
            accounts.database.clone(),
            accounts.sessions.clone(),
            lifecycle.clone(),
        ));
        lifecycle.spawn(accounts.clone().finish_deletions(lifecycle.clone()));
        accounts
    }

    /// What happened, and who did it.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Believes or refuses the credential; makes the user on first sight. A refusal is noted.
    pub async fn sign_in(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
    ) -> Result<Session, SignInError> {
        let judged = self.judge(credential, address).await;
        if let Err(error) = &judged {
            self.note_refusal(credential, address, error);
        }
        judged
    }

    async fn judge(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
    ) -> Result<Session, SignInError> {
        if let Credential::ApiKey(secret) = credential {
            return self.sign_in_by_key(secret, address).await;
        }
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
        let provenance = Provenance {
            credential: match credential {
                Credential::DevelopmentUser(_) => "development".into(),
                Credential::Gateway { .. } => "gateway".into(),
                Credential::Bearer(_) | Credential::ApiKey(_) => {
                    format!("token:{}", identity.issuer).into()
                }
            },
            address,
        };
        let signed_in = self
            .database
            .sign_in(&identity, self.tolerance, &provenance)
            .await?;
        let viewer = match signed_in {
            SignIn::Viewer { viewer, .. } => viewer,
            SignIn::Suspended(user_id) => return Err(SignInError::Suspended(user_id)),
            SignIn::Deleted => return Err(SignInError::Deleted),
        };
        Ok(Session {
            ended: self.sessions.register(viewer.user_id(), None),
            viewer,
            expires_at: identity.expires_at,
            credential: provenance.credential,
            address,
        })
    }
}

impl Session {
    /// What is noted of something that its bearer does, in the transaction that does it.
    pub(crate) fn did(&self, action: AuditAction, target: impl Into<AuditTarget>) -> NewAuditEvent {
        NewAuditEvent::succeeded(action, &self.provenance()).on(target)
    }

    /// How it came about.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            credential: self.credential.clone(),
            address: self.address,
        }
    }
}

/// A text of at most `limit` characters that can be stored.
fn check_text(argument: &'static str, text: &str, limit: usize) -> Result<(), AccountsError> {
    match text_problem(text, limit) {
        Some(problem) => Err(AccountsError::Invalid { argument, problem }),
        None => Ok(()),
    }
}
