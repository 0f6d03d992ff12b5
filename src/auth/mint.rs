//! Tokens for trying things out: what `loquat token` prints, and this configuration accepts.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{AlgorithmFamily, EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    claims::{Claims, is_user_id},
    development::{self, DevelopmentKeyError},
};
use crate::config::{Environment, Settings};

#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("tokens are only made with ENVIRONMENT=development")]
    Production,
    #[error(
        "only the issuer {issuer} can sign its tokens: take one from it, or set its shared secret"
    )]
    OnlyTheIssuer { issuer: String },
    #[error("the user must have 1 to 255 characters, not all blank, none of them U+0000")]
    User,
    #[error("the token must last a second or more, and end before the year 10000")]
    Lifetime,
    #[error(transparent)]
    DevelopmentKey(#[from] DevelopmentKeyError),
    #[error("could not sign the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A token for `user`, signed by the issuer's shared secret, or by the development key where no
/// issuer is configured.
pub fn mint(settings: &Settings, user: &str, ttl: Duration) -> Result<String, MintError> {
    if settings.environment != Environment::Development {
        return Err(MintError::Production);
    }
    if !is_user_id(user) {
        return Err(MintError::User);
    }
    let (issuer, display_name) = match &settings.issuer {
        Some(issuer) => (issuer.clone(), None),
        // The name that signing in by `X-User-Id` would give.
        None => (development::issuer(&settings.data_dir)?, Some(user)),
    };
    let only_the_issuer = || MintError::OnlyTheIssuer {
        issuer: issuer.name.clone(),
    };
    let secret = issuer.secret.as_ref().ok_or_else(only_the_issuer)?;
    let algorithm = issuer
        .algorithms
        .iter()
        .copied()
        .find(|algorithm| algorithm.family() == AlgorithmFamily::Hmac)
        .ok_or_else(only_the_issuer)?;

    let (issued_at, expires_at) = lifetime(ttl).ok_or(MintError::Lifetime)?;
    let mut claims = Claims::new();
    let mut claim = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    };
    claim("iat", Some(json!(issued_at)));
    claim("exp", Some(json!(expires_at)));
    claim("iss", issuer.issuer.as_deref().map(Value::from));
    claim("aud", issuer.audience.as_deref().map(Value::from));
    claim("name", display_name.map(Value::from));
    claim(&issuer.user_claim, Some(Value::from(user)));

    encode(
        &Header::new(algorithm),
        &claims,
        &EncodingKey::from_secret(secret.expose_secret().as_bytes()),
    )
    .map_err(MintError::Sign)
}

/// When it begins and ends, in seconds since 1970.
fn lifetime(ttl: Duration) -> Option<(u64, u64)> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?
        .as_secs();
    let end = now.checked_add(ttl.as_secs())?;
    (end > now && end <= super::claims::LAST_SECOND).then_some((now, end))
}
