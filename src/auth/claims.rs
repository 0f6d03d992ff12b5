//! From the claims of a token whose signature, issuer, audience and times have been checked to an
//! identity.
//!
//! What names the user must be perfect; what only describes them (e-mail, name) is dropped where
//! it does not fit, for no user is kept out by a strange name.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{Identity, Issued, PolicyClaims, error::Check};

pub(super) type Claims = Map<String, Value>;

/// The longest user id, policy claim and name, in characters.
pub(super) const ID_CHARACTERS: usize = 255;
const NAME_CHARACTERS: usize = 255;
/// RFC 5321: 64 before the @, 255 after it.
const EMAIL_CHARACTERS: usize = 320;
const ISSUER_CHARACTERS: usize = 2048;

/// The end of the year 9999. What lies beyond is no time in seconds; milliseconds, most often.
pub(super) const LAST_SECOND: u64 = 253_402_300_799;

/// The claims in which libraries say what a token is for: Django SimpleJWT, Flask-JWT-Extended,
/// Cognito, Keycloak.
const PURPOSE_CLAIMS: [&str; 4] = ["token_type", "type", "token_use", "typ"];
/// Keycloak's `Offline` is a refresh token that does not end with the session.
const REFRESH_PURPOSES: [&str; 3] = ["refresh", "refresh_token", "offline"];

/// How the claims of one issuer are read.
#[derive(Debug)]
pub(super) struct ClaimRules {
    /// The name of the issuer that the identity bears.
    pub name: String,
    pub issuer: Option<String>,
    pub user_claim: String,
    pub leeway: Duration,
}

impl ClaimRules {
    pub fn identity(&self, claims: &Claims, now: SystemTime) -> Result<Identity, Check> {
        if PURPOSE_CLAIMS
            .iter()
            .filter_map(|claim| claims.get(*claim)?.as_str())
            .any(|purpose| {
                REFRESH_PURPOSES
                    .iter()
                    .any(|refresh| purpose.eq_ignore_ascii_case(refresh))
            })
        {
            return Err(Check::RefreshToken);
        }
        // RFC 7519 knows one issuer; the library also takes a list that contains it.
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Check::Issuer);
        }
        let issued = match claims.get("iat").map(time).transpose()? {
            Some(at) if at > now + self.leeway => return Err(Check::NotYetValid),
            Some(at) => Issued::At(at),
            None => Issued::Unsaid,
        };
        let expires_at = time(claims.get("exp").ok_or(Check::MissingClaim)?)? + self.leeway;
        // "On or after which" (RFC 7519, 4.1.4): the signature check counts in whole seconds, and
        // so accepts for most of one what a socket would be closed for at once.
        if now >= expires_at {
            return Err(Check::Expired);
        }
        let external_id = user_id(claims.get(&self.user_claim).ok_or(Check::User)?)?;
        Ok(Identity {
            issuer: self.name.clone(),
            email: text(claims.get("email"), EMAIL_CHARACTERS),
            display_name: display_name(claims),
            claims: PolicyClaims {
                sub: policy_claim(claims, "sub", ID_CHARACTERS)
                    .unwrap_or_else(|| external_id.clone()),
                role: policy_claim(claims, "role", ID_CHARACTERS),
                iss: policy_claim(claims, "iss", ISSUER_CHARACTERS),
            },
            is_admin: false,
            issued,
            expires_at: Some(expires_at),
            external_id,
        })
    }
}

/// Whether a string may name a user: 1 to 255 characters, not all of them blank, no U+0000
/// (which PostgreSQL cannot store).
pub(super) fn is_user_id(id: &str) -> bool {
    !id.trim().is_empty() && !id.contains('\0') && id.chars().count() <= ID_CHARACTERS
}

/// A string, or an integer (the id of a Django user often is one) as its decimal digits.
fn user_id(claim: &Value) -> Result<String, Check> {
    match claim {
        Value::String(id) if is_user_id(id) => Ok(id.clone()),
        Value::Number(id) if id.is_u64() || id.is_i64() => Ok(id.to_string()),
        _ => Err(Check::User),
    }
}

/// RFC 7519's NumericDate: seconds, fractions allowed.
fn time(claim: &Value) -> Result<SystemTime, Check> {
    let seconds = claim
        .as_f64()
        .filter(|seconds| (0.0..=LAST_SECOND as f64).contains(seconds))
        .ok_or(Check::Malformed)?;
    // The signature check has rounded, so this rounds too: one token, one end.
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.round() as u64))
}

fn display_name(claims: &Claims) -> Option<String> {
    let metadata = claims.get("user_metadata").and_then(Value::as_object);
    [
        claims.get("name"),
        metadata.and_then(|metadata| metadata.get("full_name")),
        metadata.and_then(|metadata| metadata.get("name")),
        claims.get("preferred_username"),
        claims.get("username"),
    ]
    .into_iter()
    .find_map(|claim| text(claim, NAME_CHARACTERS))
}

/// One line of text that fits, or nothing.
fn text(claim: Option<&Value>, characters: usize) -> Option<String> {
    let text = claim?.as_str()?.trim();
    let fits = !text.is_empty()
        && text.chars().count() <= characters
        && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Word for word, for policies compare; or nothing.
fn policy_claim(claims: &Claims, claim: &str, characters: usize) -> Option<String> {
    let text = claims.get(claim)?.as_str()?;
    let fits = !text.is_empty() && text.chars().count() <= characters && !text.contains('\0');
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_ends_at_its_expiry_and_not_a_second_later() {
        let rules = ClaimRules {
            name: "test".to_owned(),
            issuer: None,
            user_claim: "sub".to_owned(),
            leeway: Duration::from_secs(5),
        };
        let claims = json!({ "sub": "ann", "exp": 1_000 });
        let claims = claims.as_object().expect("an object");
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_005);
        let just_before = end - Duration::from_millis(1);

        let identity = rules.identity(claims, just_before).expect("still valid");
        assert_eq!(identity.expires_at, Some(end));
        assert_eq!(rules.identity(claims, end), Err(Check::Expired));
    }
}
