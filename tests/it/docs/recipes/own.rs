//! Issuers that have a preset.

use serde_json::json;

use super::{
    super::{
        pages::Page,
        world::{ED25519, P256, World},
    },
    Genuine, Recipe, case, expired, hmac, lasting,
};
use crate::auth::issuer::{TestKey, patch};

pub fn supabase(page: &Page, world: &World) -> Recipe {
    const USER: &str = "0e9f8a5e-6c0f-4b4e-9d4f-3f2a3f1f7c11";
    let claims = |issuer: &str| {
        lasting(
            3_600,
            json!({
                "iss": format!("{issuer}/auth/v1"), "sub": USER, "aud": "authenticated",
                "email": "ann@example.org", "role": "authenticated", "aal": "aal1",
                "app_metadata": { "provider": "email", "role": "admin" },
                "user_metadata": { "email_verified": true }, "is_anonymous": false,
            }),
        )
    };
    let by_key = |issuer: &str, is_admin| Genuine {
        key: TestKey::p256_a(),
        header: json!({ "kid": P256, "typ": "JWT" }),
        claims: claims(issuer),
        user: USER,
        is_admin,
    };
    let secret = page.settings()[1].value("SUPABASE_JWT_SECRET").to_owned();
    let by_secret = Genuine {
        key: hmac(&secret),
        header: json!({ "typ": "JWT" }),
        ..by_key(&world.origin(), false)
    };
    let anon = hmac(&secret).sign(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &lasting(
            3_600,
            json!({ "iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": "anon" }),
        )
        .to_string(),
    );
    let project = by_key(&world.origin(), false);
    let nowhere = world.nowhere();
    Recipe {
        cases: vec![
            case(
                "The front end uses another project",
                &[],
                by_key("https://another.supabase.co", false).token(),
            ),
            case(
                "The project signs with its legacy secret, which is not set",
                &[],
                by_secret.token(),
            ),
            case(
                "The secret is another project's",
                &[(
                    "SUPABASE_JWT_SECRET",
                    "the-legacy-jwt-secret-of-another-project",
                )],
                by_secret.token(),
            ),
            case(
                "The project uses signing keys, and only the secret is set",
                &[
                    ("SUPABASE_PROJECT_URL", ""),
                    ("SUPABASE_JWT_SECRET", &secret),
                ],
                project.token(),
            ),
            case("The front end sends the anon key", &[], anon),
            case(
                "The front end sends the publishable key",
                &[],
                "sb_publishable_1eZGZ0Kq5vJw3h2m8yTtXA_3c0ffee0".to_owned(),
            ),
            case(
                "The server cannot reach the project",
                &[("SUPABASE_PROJECT_URL", &nowhere)],
                by_key(&nowhere, false).token(),
            ),
            expired("The page keeps an old token", &project),
        ],
        genuine: vec![project, by_secret, by_key(&world.origin(), true)],
    }
}

pub fn better_auth(page: &Page, world: &World) -> Recipe {
    const USER: &str = "Wq3cJ1mV7nY0pR5tX8zA2bC4dE6fG9hK";
    let at = |base: &str| Genuine {
        key: TestKey::ed25519_a(),
        header: json!({ "kid": ED25519 }),
        claims: lasting(
            900,
            json!({
                "iss": base, "aud": base, "sub": USER, "id": USER, "name": "Ann",
                "email": "ann@example.org", "emailVerified": false, "image": null,
            }),
        ),
        user: USER,
        is_admin: false,
    };
    let otherwise = &page.settings()[1];
    let own = Genuine {
        key: TestKey::p256_a(),
        header: json!({ "kid": P256 }),
        claims: {
            let mut claims = at(otherwise.value("JWT_ISSUER")).claims;
            patch(
                &mut claims,
                &json!({ "aud": otherwise.value("JWT_AUDIENCE") }),
            );
            claims
        },
        user: USER,
        is_admin: false,
    };
    let server = at(&world.origin());
    let nowhere = world.nowhere();
    let (another, lost) = (TestKey::p256_a(), TestKey::ed25519_b());
    Recipe {
        cases: vec![
            case(
                "The front end sends the session token",
                &[],
                "dXJsZ2VuZXJhdGVkLXNlc3Npb24tdG9r".to_owned(),
            ),
            case(
                "`BETTER_AUTH_URL` is not `baseURL`, letter by letter",
                &[],
                at("http://localhost:3000").token(),
            ),
            case(
                "The server cannot reach Better Auth",
                &[("BETTER_AUTH_URL", &nowhere)],
                at(&nowhere).token(),
            ),
            case(
                "The plugin signs with another algorithm",
                &[],
                server.signed_by(&another, json!({})),
            ),
            case(
                "The plugin has an audience of its own",
                &[],
                server.with(json!({ "aud": "loquat" })),
            ),
            case(
                "The token was made before the keys were lost or replaced",
                &[],
                lost.sign(
                    r#"{"alg":"EdDSA","kid":"lost"}"#,
                    &server.claims.to_string(),
                ),
            ),
            expired("The page keeps an old token", &server),
        ],
        genuine: vec![server, own],
    }
}
