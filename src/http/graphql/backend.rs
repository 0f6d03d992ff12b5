//! What the transports stand on.

use std::{
    future::Future,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_graphql::{Executor, Request};

use crate::{
    accounts::{self, Accounts, Ending, Session},
    auth::{Credential, CredentialError},
    chat::Chat,
    graphql::{self, Schema, TextBudget},
    model::UserId,
};

/// Who may ask, and what answers. The server's own is made of accounts and the schema; the
/// transports' tests bring a small one.
pub trait Backend: Clone + Send + Sync + 'static {
    /// A user who has signed in.
    type Session: Clone + Send + Sync + 'static;
    type Executor: Executor;

    fn executor(&self) -> &Self::Executor;

    fn sign_in(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
    ) -> impl Future<Output = Result<Self::Session, SignInError>> + Send;

    /// Notes that something was offered which cannot be a credential.
    fn note_unusable(&self, _error: &CredentialError, _address: Option<IpAddr>) {}

    /// Who that is, whatever the credential.
    fn user(session: &Self::Session) -> UserId;

    /// When the proof of a session runs out; `None`: never.
    fn expires_at(session: &Self::Session) -> Option<SystemTime>;

    /// Waits until a session is over before its proof runs out; what to tell its client.
    fn ended(session: &Self::Session) -> impl Future<Output = &'static str> + Send;

    /// Whether what began with one credential may go on with a fresh one; else what to tell the
    /// client.
    fn may_go_on(current: &Self::Session, fresh: &Self::Session) -> Result<(), &'static str>;

    /// Gives the resolvers of one operation what they need to know.
    /// They keep within the budget.
    fn attach(&self, request: Request, session: &Self::Session, budget: TextBudget) -> Request;
}

/// A sign-in that did not end in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInError {
    /// The credential was not accepted.
    Refused,
    /// The credential is good, and its user is suspended.
    Suspended,
    /// It cannot be judged right now.
    Unavailable { retry_after: Duration },
}

/// The server's own: the chat's schema for users whom accounts sign in. Each socket and operation
/// has a clone.
#[derive(Clone)]
pub struct ChatBackend(Arc<Parts>);

struct Parts {
    schema: Schema,
    chat: Chat,
    accounts: Accounts,
}

impl ChatBackend {
    pub fn new(chat: Chat, accounts: Accounts) -> Self {
        Self(Arc::new(Parts {
            schema: graphql::schema(chat.clone(), accounts.clone()),
            chat,
            accounts,
        }))
    }
}

/// After a fault of ours, in which the client has no part.
const FAULT_RETRY: Duration = Duration::from_secs(5);

impl Backend for ChatBackend {
    type Session = Session;
    type Executor = Schema;

    fn executor(&self) -> &Schema {
        &self.0.schema
    }

    async fn sign_in(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
    ) -> Result<Session, SignInError> {
        use std::error::Error;

        match self.0.accounts.sign_in(credential, address).await {
            Ok(session) => Ok(session),
            // The accounts have noted why.
            Err(
                accounts::SignInError::Refused(_)
                | accounts::SignInError::KeyRefused(_)
                | accounts::SignInError::Deleted,
            ) => Err(SignInError::Refused),
            Err(accounts::SignInError::Suspended(_)) => Err(SignInError::Suspended),
            Err(accounts::SignInError::Unavailable {
                retry_after,
                source,
            }) => {
                match &source {
                    Some(error) => {
                        tracing::warn!(error = error as &dyn Error, "nobody can be signed in")
                    }
                    None => tracing::info!("a token could not be judged: its key is not known yet"),
                }
                Err(SignInError::Unavailable { retry_after })
            }
            Err(error @ accounts::SignInError::Database(_)) => {
                tracing::error!(error = &error as &dyn Error, "a sign-in failed");
                Err(SignInError::Unavailable {
                    retry_after: FAULT_RETRY,
                })
            }
        }
    }

    fn note_unusable(&self, error: &CredentialError, address: Option<IpAddr>) {
        self.0.accounts.note_unusable(error, address);
    }

    fn user(session: &Session) -> UserId {
        session.viewer.user_id()
    }

    fn expires_at(session: &Session) -> Option<SystemTime> {
        session.expires_at
    }

    async fn ended(session: &Session) -> &'static str {
        match session.ended.wait().await {
            Ending::KeyRevoked => "The credential was revoked",
            Ending::UserRefused => "Forbidden",
        }
    }

    /// What runs are subscriptions: all they need is to read.
    fn may_go_on(current: &Session, fresh: &Session) -> Result<(), &'static str> {
        let (current, fresh) = (&current.viewer, &fresh.viewer);
        if current.user_id() != fresh.user_id() {
            Err("The credential is another user's")
        } else if current.access().read && !fresh.access().read {
            Err("The credential may not read")
        } else {
            Ok(())
        }
    }

    fn attach(&self, request: Request, session: &Session, budget: TextBudget) -> Request {
        graphql::session_data(
            request,
            &self.0.chat,
            &self.0.accounts,
            session.clone(),
            budget,
        )
    }
}
