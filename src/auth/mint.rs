//! Tokens for trying things out: what `loquat token` prints, and this configuration accepts.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{AlgorithmFamily, EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    claims::{Claims, is_user_id},
    development::{self, DevelopmentKeyError},
};
use crate::config::{ClaimRule, ClaimValue, Environment, IssuerSettings, Settings};

/// What a token is to say.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    pub user: &'a str,
    /// Whether it bears the claim that makes an admin.
    pub is_admin: bool,
    pub ttl: Duration,
    /// The configured name of the issuer; needed where there are several.
    pub issuer: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("tokens are only made with ENVIRONMENT=development")]
    Production,
    #[error(
        "only the issuer {issuer} can sign its tokens: take one from it, or set its shared secret"
    )]
    OnlyTheIssuer { issuer: String },
    #[error("there are several issuers: choose one by --issuer, of {issuers}")]
    WhichIssuer { issuers: String },
    #[error("--issuer: there is no issuer of this name; there is {issuers}")]
    UnknownIssuer { issuers: String },
    #[error(
        "--admin: nobody is an admin by a token of the issuer {issuer}: set JWT_ADMIN_CLAIM, or \
         admin_claim in its table"
    )]
    NoAdminClaim { issuer: String },
    #[error("the user must have 1 to 255 characters, not all blank, none of them U+0000")]
    User,
    #[error("the token must last a second or more, and end before the year 10000")]
    Lifetime,
    #[error(transparent)]
    DevelopmentKey(#[from] DevelopmentKeyError),
    #[error("could not sign the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A token signed by the issuer's shared secret, or by the development key where no issuer is
/// configured.
pub fn mint(settings: &Settings, request: &TokenRequest) -> Result<String, MintError> {
    if settings.environment != Environment::Development {
        return Err(MintError::Production);
    }
    if !is_user_id(request.user) {
        return Err(MintError::User);
    }
    let development;
    let (issuers, display_name) = if settings.has_development_sign_in() {
        development = [development::issuer(&settings.data_dir)?];
        // The name that signing in by `X-User-Id` would give.
        (development.as_slice(), Some(request.user))
    } else {
        (settings.issuers.as_slice(), None)
    };
    let issuer = chosen(issuers, request.issuer)?;
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

    let (issued_at, expires_at) = lifetime(request.ttl).ok_or(MintError::Lifetime)?;
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
    claim(&issuer.user_claim, Some(Value::from(request.user)));
    for rule in &issuer.required_claims {
        fulfil(rule, &mut claims);
    }
    match &issuer.admin {
        Some(rule) if request.is_admin => fulfil(rule, &mut claims),
        None if request.is_admin => {
            return Err(MintError::NoAdminClaim {
                issuer: issuer.name.clone(),
            });
        }
        _ => {}
    }

    encode(
        &Header::new(algorithm),
        &claims,
        &EncodingKey::from_secret(secret.expose_secret().as_bytes()),
    )
    .map_err(MintError::Sign)
}

fn chosen<'a>(
    issuers: &'a [IssuerSettings],
    name: Option<&str>,
) -> Result<&'a IssuerSettings, MintError> {
    let names = || {
        let names: Vec<_> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        names.join(", ")
    };
    match (name, issuers) {
        (None, [only]) => Ok(only),
        (None, _) => Err(MintError::WhichIssuer { issuers: names() }),
        (Some(name), issuers) => issuers
            .iter()
            .find(|issuer| issuer.name == name)
            .ok_or_else(|| MintError::UnknownIssuer { issuers: names() }),
    }
}

/// Makes the rule hold, under the claim's literal name, which counts first; beside another rule of
/// the same claim, by a list.
fn fulfil(rule: &ClaimRule, claims: &mut Claims) {
    let value = match &rule.value {
        ClaimValue::Exactly(value) => value.clone(),
        ClaimValue::Written(text) => Value::from(text.as_str()),
        ClaimValue::True => Value::Bool(true),
    };
    let both = match claims.remove(&rule.claim) {
        Some(before) if before != value => Value::Array(vec![before, value]),
        _ => value,
    };
    claims.insert(rule.claim.clone(), both);
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
