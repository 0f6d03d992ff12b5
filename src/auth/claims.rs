//! From the claims of a token whose signature, issuer, audience and times have been checked to an
//! identity.
//!
//! What names the user must be perfect; what only describes them (e-mail, name) is dropped where
//! it does not fit, for no user is kept out by a strange name.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{Identity, Issued, PolicyClaims, error::Check};
use crate::config::{ClaimRule, ClaimValue, IssuerSettings};

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
    user_claim: String,
    email_claim: Option<String>,
    name_claim: Option<String>,
    admin: Option<ClaimRule>,
    required: Vec<ClaimRule>,
    leeway: Duration,
}

impl ClaimRules {
    pub fn new(issuer: &IssuerSettings, leeway: Duration) -> Self {
        Self {
            name: issuer.name.clone(),
            issuer: issuer.issuer.clone(),
            user_claim: issuer.user_claim.clone(),
            email_claim: issuer.email_claim.clone(),
            name_claim: issuer.name_claim.clone(),
            admin: issuer.admin.clone(),
            required: issuer.required_claims.clone(),
            leeway,
        }
    }

    pub fn identity(&self, claims: &Claims, now: SystemTime) -> Result<Identity, Check> {
        if is_refresh_token(claims) {
            return Err(Check::RefreshToken);
        }
        // RFC 7519 knows one issuer; the library also takes a list that contains it.
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Check::Issuer);
        }
        // Rounded down: no token may seem younger than it is, for some are refused as too old.
        let iat = claims.get("iat").map(|iat| time(iat, f64::floor));
        let issued = match iat.transpose()? {
            Some(at) if at > now + self.leeway => return Err(Check::NotYetValid),
            Some(at) => Issued::At(at),
            None => Issued::Unsaid,
        };
        // As the signature check has rounded it: one token, one end.
        let expires_at =
            time(claims.get("exp").ok_or(Check::MissingClaim)?, f64::round)? + self.leeway;
        // "On or after which" (RFC 7519, 4.1.4): the signature check counts in whole seconds, and
        // so accepts for most of one what a socket would be closed for at once.
        if now >= expires_at {
            return Err(Check::Expired);
        }
        if !self.required.iter().all(|rule| holds(rule, claims)) {
            return Err(Check::ClaimValue);
        }
        let external_id = user_id(claim(claims, &self.user_claim).ok_or(Check::User)?)?;
        Ok(Identity {
            issuer: self.name.clone(),
            email: text(
                claim(claims, self.email_claim.as_deref().unwrap_or("email")),
                EMAIL_CHARACTERS,
            ),
            display_name: match &self.name_claim {
                Some(name) => text(claim(claims, name), NAME_CHARACTERS),
                None => usual_name(claims),
            },
            claims: PolicyClaims {
                sub: policy_claim(claims, "sub", ID_CHARACTERS)
                    .unwrap_or_else(|| external_id.clone()),
                role: policy_claim(claims, "role", ID_CHARACTERS),
                iss: policy_claim(claims, "iss", ISSUER_CHARACTERS),
            },
            is_admin: self.admin.as_ref().is_some_and(|rule| holds(rule, claims)),
            issued,
            expires_at: Some(expires_at),
            external_id,
        })
    }
}

/// Whether a token says that it is for getting others.
pub(super) fn is_refresh_token(claims: &Claims) -> bool {
    PURPOSE_CLAIMS
        .iter()
        .filter_map(|claim| claims.get(*claim)?.as_str())
        .any(|purpose| {
            REFRESH_PURPOSES
                .iter()
                .any(|refresh| purpose.eq_ignore_ascii_case(refresh))
        })
}

/// Whether a string may name a user: 1 to 255 characters, not all of them blank, no U+0000
/// (which PostgreSQL cannot store).
pub(super) fn is_user_id(id: &str) -> bool {
    !id.trim().is_empty() && !id.contains('\0') && id.chars().count() <= ID_CHARACTERS
}

/// The claim of this very name, which may hold dots (`https://app.example.com/role`); else the one
/// at the end of the path (`app_metadata.role`).
pub(super) fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut path = name.split('.');
        let first = claims.get(path.next()?)?;
        path.try_fold(first, |value, member| value.get(member))
    })
}

pub(super) fn holds(rule: &ClaimRule, claims: &Claims) -> bool {
    let Some(claim) = claim(claims, &rule.claim) else {
        return false;
    };
    match (claim, &rule.value) {
        (claim, ClaimValue::True) => *claim == Value::Bool(true),
        (Value::Array(items), value) => items.iter().any(|item| is(item, value)),
        (claim, value) => is(claim, value),
    }
}

fn is(claim: &Value, expected: &ClaimValue) -> bool {
    match (claim, expected) {
        // 1 and 1.0 are one number to JSON.
        (Value::Number(one), ClaimValue::Exactly(Value::Number(other))) => {
            one == other || one.is_f64() != other.is_f64() && one.as_f64() == other.as_f64()
        }
        (claim, ClaimValue::Exactly(expected)) => claim == expected,
        (Value::String(claim), ClaimValue::Written(expected)) => claim == expected,
        (Value::Bool(claim), ClaimValue::Written(expected)) => claim.to_string() == *expected,
        (Value::Number(claim), ClaimValue::Written(expected)) => claim.to_string() == *expected,
        _ => false,
    }
}

/// A string, or an integer (the id of a Django user often is one) as its decimal digits.
fn user_id(claim: &Value) -> Result<String, Check> {
    match claim {
        Value::String(id) if is_user_id(id) => Ok(id.clone()),
        Value::Number(id) if id.is_u64() || id.is_i64() => Ok(id.to_string()),
        _ => Err(Check::User),
    }
}

/// RFC 7519's NumericDate, seconds of which there may be fractions, as whole seconds.
fn time(claim: &Value, whole: fn(f64) -> f64) -> Result<SystemTime, Check> {
    let seconds = claim
        .as_f64()
        .filter(|seconds| (0.0..=LAST_SECOND as f64).contains(seconds))
        .ok_or(Check::Malformed)?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(whole(seconds) as u64))
}

fn usual_name(claims: &Claims) -> Option<String> {
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

    fn rules() -> ClaimRules {
        ClaimRules {
            name: "test".to_owned(),
            issuer: None,
            user_claim: "sub".to_owned(),
            email_claim: None,
            name_claim: None,
            admin: None,
            required: Vec::new(),
            leeway: Duration::from_secs(5),
        }
    }

    fn object(claims: Value) -> Claims {
        claims.as_object().expect("an object").clone()
    }

    #[test]
    fn a_token_ends_at_its_expiry_and_not_a_second_later() {
        let rules = rules();
        let claims = object(json!({ "sub": "ann", "exp": 1_000 }));
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_005);
        let just_before = end - Duration::from_millis(1);

        let identity = rules.identity(&claims, just_before).expect("still valid");
        assert_eq!(identity.expires_at, Some(end));
        assert_eq!(rules.identity(&claims, end), Err(Check::Expired));
    }

    #[test]
    fn a_token_seems_no_younger_than_it_is() {
        for (iat, second) in [(json!(100), 100), (json!(100.4), 100), (json!(100.9), 100)] {
            let claims = object(json!({ "sub": "ann", "exp": 1_000, "iat": iat }));
            let identity =
                rules().identity(&claims, SystemTime::UNIX_EPOCH + Duration::from_secs(200));
            let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            assert_eq!(identity.expect("valid").issued, Issued::At(issued), "{iat}");
        }
    }

    #[test]
    fn a_claim_is_found_by_its_name_and_then_by_its_path() {
        let claims = object(json!({
            "a.b": "literal", "a": { "b": "path", "c": { "d": 1 }, "e.f": 2 }, "list": [1],
            "https://app.example.com/role": "admin",
        }));
        for (name, expected) in [
            ("a.b", Some(json!("literal"))),
            ("a.c.d", Some(json!(1))),
            ("a.c", Some(json!({ "d": 1 }))),
            ("https://app.example.com/role", Some(json!("admin"))),
            ("a.e.f", None),
            ("a.b.c", None),
            ("list.0", None),
            ("a.", None),
            (".a", None),
            ("", None),
        ] {
            assert_eq!(claim(&claims, name), expected.as_ref(), "{name}");
        }
    }

    #[test]
    fn a_rule_holds_for_the_value_and_for_a_list_that_contains_it() {
        let written = |value: &str| ClaimValue::Written(value.to_owned());
        let exactly = ClaimValue::Exactly;
        let cases = [
            (written("admin"), json!("admin"), true),
            (written("admin"), json!(["user", "admin"]), true),
            (written("admin"), json!([["admin"]]), false),
            (written("admin"), json!("Admin"), false),
            (written("admin"), json!("admin user"), false),
            (written("admin"), json!({ "admin": true }), false),
            (written("admin"), json!(null), false),
            (written("true"), json!(true), true),
            (written("true"), json!("true"), true),
            (written("7"), json!(7), true),
            (written("7"), json!("7"), true),
            (written("null"), json!(null), false),
            (exactly(json!("7")), json!(7), false),
            (exactly(json!(7)), json!("7"), false),
            (exactly(json!(7)), json!(7.0), true),
            (exactly(json!(u64::MAX)), json!(u64::MAX - 1), false),
            (exactly(json!(true)), json!([true]), true),
            (ClaimValue::True, json!(true), true),
            (ClaimValue::True, json!([true]), false),
            (ClaimValue::True, json!("true"), false),
            (ClaimValue::True, json!(1), false),
        ];
        for (value, claim, expected) in cases {
            let rule = ClaimRule {
                claim: "role".to_owned(),
                value,
            };
            let claims = object(json!({ "role": claim }));
            assert_eq!(holds(&rule, &claims), expected, "{rule:?} {claims:?}");
            assert!(!holds(&rule, &Claims::new()));
        }
    }
}
