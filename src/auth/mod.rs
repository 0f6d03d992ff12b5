//! From a credential to an [`Identity`], by proof alone: signatures, claims and, in development,
//! a name. No database.

use std::time::SystemTime;

use secrecy::SecretString;

/// What a request or a socket offers as proof of who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `Authorization: Bearer …`, or the token in `connection_init`.
    Bearer(SecretString),
    /// `X-User-Id` in development, on loopback, where any name is believed.
    DevelopmentUser(String),
}

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
    /// When the proof runs out, leeway included. `None`: never (development names).
    pub expires_at: Option<SystemTime>,
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
