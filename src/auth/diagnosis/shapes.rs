//! Tokens that are known by their looks, and are not those to send.

use serde_json::{Map, Value};

use super::super::{Unverified, claims::is_refresh_token};

/// What an opaque text looks like.
pub(super) fn of_text(token: &str) -> &'static str {
    if token.starts_with("sb_publishable_") || token.starts_with("sb_secret_") {
        return "it is an API key of Supabase, which names no user; send the session's access_token";
    }
    match token.split('.').count() {
        // RFC 7516: header, key, initialisation vector, ciphertext and tag.
        5 => {
            "it is encrypted, so that only its issuer can read it; ask the issuer for a signed one \
             (Auth0 gives it to whoever asks for an audience)"
        }
        3 => "it has the three parts of a JWT, but they cannot be read; was it cut or changed?",
        _ => {
            "it is opaque, not a JWT; send the signed token of the issuer, which has three parts \
             (Better Auth's is at /api/auth/token)"
        }
    }
}

/// What a JWT looks like, if it is a kind that names no user, or is not for an API.
pub(super) fn of_jwt(token: &Unverified) -> Option<&'static str> {
    let claims = &token.claims;
    let is = |claim: &str, value: &str| text(claims, claim) == Some(value);
    if is_refresh_token(claims) {
        return Some("it is a refresh token; send the access token");
    }
    if !claims.contains_key("sub") && (is("role", "anon") || is("role", "service_role")) {
        return Some(
            "it looks like the anon or service_role key of Supabase, which names no user; send the \
             session's access_token",
        );
    }
    if text(claims, "aud").is_some_and(|audience| audience.contains("identitytoolkit")) {
        return Some(
            "it looks like a custom token of Firebase; sign in with it, and send what getIdToken() \
             gives",
        );
    }
    if text(claims, "iss").is_some_and(|issuer| issuer.contains("//session.firebase.google.com/")) {
        return Some("it looks like a session cookie of Firebase; send what getIdToken() gives");
    }
    let is_id_token = is("typ", "ID") || is("token_use", "id") || claims.contains_key("at_hash");
    is_id_token
        .then_some("it looks like an ID token, which is for the front end; send the access token")
}

/// What somebody who has no issuer yet would have to set for this token.
pub(super) fn settings_for(token: &Unverified) -> String {
    let claims = &token.claims;
    let issuer = text(claims, "iss").filter(|issuer| !is_address(issuer));
    if let Some(project) = issuer.and_then(|issuer| issuer.strip_suffix("/auth/v1")) {
        return format!("for Supabase, set SUPABASE_PROJECT_URL={}", plain(project));
    }
    if let Some(issuer) = issuer
        && text(claims, "aud") == Some(issuer)
        && text(&token.header, "alg") == Some("EdDSA")
    {
        return format!("for Better Auth, set BETTER_AUTH_URL={}", plain(issuer));
    }
    let by_secret = text(&token.header, "alg").is_some_and(|name| name.starts_with("HS"));
    let key = match by_secret {
        true => "JWT_SECRET_KEY",
        false => "JWT_JWKS_URL",
    };
    match issuer {
        _ if !claims.contains_key("sub") && claims.contains_key("user_id") => {
            format!("for Django SimpleJWT, set {key} and JWT_USER_CLAIM=user_id")
        }
        Some(issuer) => format!("set {key}, and JWT_ISSUER={}", plain(issuer)),
        None => format!("set {key}"),
    }
}

pub(super) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

/// The longest piece of a token that is repeated, in characters.
const SHOWN: usize = 200;

/// A member as it may be shown: on one line, no longer than it must be, and nobody's address.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => items
            .iter()
            .take(10)
            .map(shown)
            .collect::<Vec<_>>()
            .join(", "),
        Value::Number(number) => number.to_string(),
        _ => "not text".to_owned(),
    }
}

pub(super) fn quoted(text: &str) -> String {
    match is_address(text) {
        true => "an e-mail address".to_owned(),
        false => format!("\"{}\"", plain(text)),
    }
}

fn is_address(text: &str) -> bool {
    text.contains('@')
}

pub(super) fn plain(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    short.escape_debug().to_string()
}
