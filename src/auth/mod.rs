//! From a credential to an [`Identity`], by proof alone: signatures, claims and, in development,
//! a name. No database.
//!
//! Invariant: an [`Identity`] says nothing that its proof does not say. It must not know whether
//! the user exists here, what they own, or which transport carried the credential.

use std::time::SystemTime;

mod authenticator;
mod cache;
mod claims;
mod credential;
mod development;
mod diagnosis;
mod error;
mod gateway;
mod jwks;
mod jwt;
mod mint;
mod token;

pub use authenticator::{AuthSetupError, Authenticator};
pub use credential::{
    API_KEY_PREFIX, Credential, CredentialError, credential_from_connection_init,
    credential_from_headers, credential_from_ping, credential_headers, no_credential_in_query,
};
pub use diagnosis::{Diagnosis, diagnose, name_of_key_set};
pub use error::{AuthError, Reason};
pub use jwks::{KeySurvey, SurveyError, SurveyedKey, survey};
pub use mint::{MintError, TokenRequest, mint};
pub use token::Unverified;

/// A user, vouched for by an issuer. Only ever made by an [`Authenticator`] (tests aside).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The configured name of the issuer, not its URL.
    pub issuer: String,
    /// The issuer's own id of the user: any string without U+0000, 1 to 255 characters.
    pub external_id: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
    /// The claims that the database's own policies may read: `sub`, `role` and `iss` alone.
    pub claims: PolicyClaims,
    /// Whether the issuer says that the user is an admin of this server.
    pub is_admin: bool,
    pub issued: Issued,
    /// When the proof runs out, leeway included. `None`: never (development names).
    pub expires_at: Option<SystemTime>,
}

impl Identity {
    /// Whether its proof has not run out.
    pub(crate) fn is_valid_at(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// When an issuer vouched for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// With this very request.
    Now,
    /// At the time that the token names, in whole seconds.
    At(SystemTime),
    /// The token does not say.
    Unsaid,
}

/// Handed to PostgreSQL as Supabase's `request.jwt.claims`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PolicyClaims {
    pub sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}
