//! Tokens that name no user, and tokens that are not for signing in.

use serde_json::json;

use super::{super::issuer::hs256, Case, claims, payloads, written};

pub fn cases() -> Vec<Case> {
    let mut cases = users();
    cases.extend(purposes());
    cases.extend(supabase_keys());
    cases
}

fn users() -> Vec<Case> {
    let long = "ü".repeat(256);
    let fits = "ü".repeat(255);
    vec![
        claims(
            "no sub, as in an anon key",
            json!({ "sub": null, "role": "anon" }),
            json!({}),
        ),
        claims(
            "no sub, as in a service key",
            json!({ "sub": null, "role": "service_role" }),
            json!({ "role": "service_role" }),
        ),
        claims("an empty sub", json!({ "sub": "" }), json!({ "sub": "0" })),
        claims(
            "a blank sub",
            json!({ "sub": " \t\u{3000}" }),
            json!({ "sub": " a " }),
        ),
        claims(
            "U+0000 in sub",
            json!({ "sub": "a\0b" }),
            json!({ "sub": "a'\"\\;b" }),
        ),
        claims(
            "a sub too long",
            json!({ "sub": long }),
            json!({ "sub": fits }),
        ),
        claims(
            "sub is a fraction",
            json!({ "sub": 1.5 }),
            json!({ "sub": 15 }),
        ),
        claims(
            "sub is no integer any more",
            json!({ "sub": 1e30 }),
            json!({ "sub": u64::MAX }),
        ),
        claims(
            "sub is true",
            json!({ "sub": true }),
            json!({ "sub": "true" }),
        ),
        claims("sub is a list", json!({ "sub": ["user-1"] }), json!({})),
        claims(
            "sub is an object",
            json!({ "sub": { "id": "user-1" } }),
            json!({}),
        ),
        claims(
            "a sub of one line break",
            json!({ "sub": "\n" }),
            json!({ "sub": "a\nb" }),
        ),
        claims(
            "a sub of no-break spaces",
            json!({ "sub": "\u{a0}\u{a0}" }),
            json!({ "sub": "\u{a0}a" }),
        ),
        claims(
            "a sub of U+0000 alone",
            json!({ "sub": "\0" }),
            json!({ "sub": "0" }),
        ),
        claims(
            "U+0000 at the end of sub",
            json!({ "sub": "root\0" }),
            json!({ "sub": "root" }),
        ),
        claims(
            "a sub of 5,000 letters",
            json!({ "sub": "a".repeat(5_000) }),
            json!({ "sub": "a".repeat(255) }),
        ),
        claims(
            "sub is false",
            json!({ "sub": false }),
            json!({ "sub": "false" }),
        ),
        claims(
            "sub is an empty list",
            json!({ "sub": [] }),
            json!({ "sub": "[]" }),
        ),
        claims(
            "sub is an empty object",
            json!({ "sub": {} }),
            json!({ "sub": "{}" }),
        ),
        claims(
            "sub is one and nothing",
            json!({ "sub": 1.0 }),
            json!({ "sub": 1 }),
        ),
        payloads(
            "sub is null",
            &nameless(r#""sub":null,"#),
            &nameless(r#""sub":"null","#),
        ),
        payloads(
            "sub is minus nothing",
            &nameless(r#""sub":-0,"#),
            &nameless(r#""sub":0,"#),
        ),
        payloads(
            "sub beyond 64 bits",
            &nameless(r#""sub":18446744073709551616,"#),
            &nameless(r#""sub":18446744073709551615,"#),
        ),
        payloads(
            "U+0000 in sub, as an escape",
            &nameless(r#""sub":"a\u0000","#),
            &nameless(r#""sub":"a\u0001","#),
        ),
        claims(
            "the user under another name",
            json!({ "sub": null, "user_id": "user-1" }),
            json!({ "sub": "user-1", "user_id": "user-2" }),
        ),
        claims(
            "the user by e-mail alone",
            json!({ "sub": null, "email": "ada@example.com" }),
            json!({ "email": "ada@example.com" }),
        ),
    ]
}

/// A good payload but for its `sub`, with `members` in front.
fn nameless(members: &str) -> String {
    let whole = written(members);
    let (front, back) = whole.split_at(members.len());
    format!("{front}{}", back.replacen(r#","sub":"user-1""#, "", 1))
}

/// As libraries mark what only buys the next token.
fn purposes() -> Vec<Case> {
    [
        ("Django SimpleJWT", "token_type", "refresh", "access"),
        ("Flask-JWT-Extended", "type", "refresh", "access"),
        ("Keycloak", "typ", "Refresh", "Bearer"),
        ("Keycloak, offline", "typ", "Offline", "Bearer"),
        ("Guardian", "typ", "refresh", "access"),
        ("Cognito", "token_use", "refresh", "access"),
        (
            "OAuth's own word",
            "token_type",
            "refresh_token",
            "access_token",
        ),
        ("in capitals", "token_type", "REFRESH", "ACCESS"),
        (
            "in capitals, by type",
            "type",
            "Refresh_Token",
            "Access_Token",
        ),
    ]
    .into_iter()
    .map(|(library, claim, refresh, access)| {
        claims(
            &format!("a refresh token, {library}"),
            json!({ claim: refresh }),
            json!({ claim: access }),
        )
    })
    .collect()
}

/// The keys of a Supabase project are tokens too, of the same secret, and stand in every front end.
fn supabase_keys() -> Vec<Case> {
    ["anon", "service_role"]
        .into_iter()
        .map(|role| {
            let claims = |more| {
                let mut claims = json!({ "iss": "supabase", "ref": "abc", "role": role, "aud": null, "sub": null });
                super::super::issuer::patch(&mut claims, &more);
                claims
            };
            let key = hs256();
            Case::tokens(
                format!("users: Supabase's {role} key"),
                key.token(json!({}), claims(json!({}))),
                key.token(json!({}), json!({ "role": role, "ref": "abc" })),
            )
        })
        .collect()
}
