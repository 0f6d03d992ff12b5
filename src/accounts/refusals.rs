//! What is noted of what was refused or failed. Of a credential: that it was refused, of which kind it
//! was and why; nothing that stood in it, but for the beginning of a key that is one of ours.

use std::net::IpAddr;

use super::{Accounts, AccountsError, Session, SignInError, api_keys};
use crate::{
    auth::{AuthError, Credential, CredentialError},
    db::KeyRefusal,
    model::{AuditAction, NewAuditEvent, Provenance, UserId},
};

impl Accounts {
    /// Something was offered that cannot be a credential, such as two of them.
    pub fn note_unusable(&self, error: &CredentialError, address: Option<IpAddr>) {
        self.note_refused(None, Provenance::of_nobody(address), &error.to_string());
    }

    /// A sign-in that failed through no fault of the credential's is none of it.
    pub(super) fn note_refusal(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
        error: &SignInError,
    ) {
        let (user_id, reason) = match error {
            SignInError::Refused(AuthError::Refused(reason)) => (None, format!("{reason:?}")),
            SignInError::KeyRefused(refusal) => (None, refusal.as_str().to_owned()),
            SignInError::Deleted => (None, error.to_string()),
            // Who it was has been proved.
            SignInError::Suspended(user_id) => (Some(*user_id), error.to_string()),
            SignInError::Refused(AuthError::Unavailable { .. })
            | SignInError::Unavailable { .. }
            | SignInError::Database(_) => return,
        };
        let provenance = Provenance {
            credential: kind_of(credential, error).into(),
            address,
        };
        self.note_refused(user_id, provenance, &reason);
    }

    /// An admin looks at what only admins see: too often to be kept in the database.
    pub fn note_admin_access(&self, session: &Session) {
        let event = NewAuditEvent::succeeded(AuditAction::AdminAccessed, &session.provenance());
        self.audit.tell(session.viewer.user_id(), &event);
    }

    /// Somebody tried what their credential does not allow.
    pub fn note_denied(&self, session: &Session, action: AuditAction) {
        let event = NewAuditEvent::denied(action, &session.provenance());
        self.audit.note(Some(session.viewer.user_id()), event, None);
    }

    /// Does something to a user, for an admin, and notes it if it fails for another reason than
    /// what was asked.
    pub(super) async fn attempt<T>(
        &self,
        session: &Session,
        action: AuditAction,
        user_id: UserId,
        work: impl Future<Output = Result<T, AccountsError>>,
    ) -> Result<T, AccountsError> {
        let done = work.await;
        if let Err(error @ (AccountsError::NotFound(_) | AccountsError::Database(_))) = &done {
            let event = NewAuditEvent::failed(action, &session.provenance()).on(user_id);
            self.audit.note(
                Some(session.viewer.user_id()),
                event,
                Some(&error.to_string()),
            );
        }
        done
    }

    fn note_refused(&self, user_id: Option<UserId>, provenance: Provenance, reason: &str) {
        let event = NewAuditEvent::denied(AuditAction::CredentialRefused, &provenance);
        self.audit.note(user_id, event, Some(reason));
    }
}

/// A token's issuer and an unknown key's beginning are what the bearer claims: they are left out.
fn kind_of(credential: &Credential, error: &SignInError) -> String {
    match credential {
        Credential::Bearer(_) => "token".to_owned(),
        Credential::Gateway { .. } => "gateway".to_owned(),
        Credential::DevelopmentUser(_) => "development".to_owned(),
        Credential::ApiKey(secret) => match (api_keys::prefix_of(secret), error) {
            (None, _) | (_, SignInError::KeyRefused(KeyRefusal::Unknown)) => "api_key".to_owned(),
            (Some(prefix), _) => format!("api_key:{prefix}"),
        },
    }
}
