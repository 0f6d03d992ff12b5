//! Issuers that sign with a secret.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    super::{pages::Page, world::World},
    Genuine, Recipe, case, expired, hmac, lasting,
};
use crate::auth::issuer::{TestKey, now, patch};

pub fn django(page: &Page, world: &World) -> Recipe {
    let settings = page.settings();
    let user = |secret: &str, claims: Value| Genuine {
        key: hmac(secret),
        header: json!({ "typ": "JWT" }),
        claims: {
            let mut all = lasting(
                300,
                json!({ "token_type": "access", "jti": "3f6c", "user_id": "17" }),
            );
            patch(&mut all, &claims);
            all
        },
        user: "17",
        is_admin: false,
    };
    let plain = user(settings[0].value("JWT_SECRET_KEY"), json!({}));
    let named = user(
        settings[1].value("JWT_SECRET_KEY"),
        json!({
            "iss": settings[1].value("JWT_ISSUER"), "aud": settings[1].value("JWT_AUDIENCE"),
        }),
    );
    let longer = hmac(settings[0].value("JWT_SECRET_KEY")).signing(Algorithm::HS512);
    Recipe {
        cases: vec![
            case(
                "`JWT_USER_CLAIM` is not set",
                &[("JWT_USER_CLAIM", "")],
                plain.token(),
            ),
            case(
                "The secret is another",
                &[(
                    "JWT_SECRET_KEY",
                    "the-secret-key-of-another-project-0123456789",
                )],
                plain.token(),
            ),
            case(
                "The front end sends the refresh token",
                &[],
                plain.with(json!({ "token_type": "refresh" })),
            ),
            case(
                "`SIMPLE_JWT[\"ALGORITHM\"]` is HS512",
                &[],
                plain.signed_by(&longer, json!({})),
            ),
            case(
                "`SIMPLE_JWT[\"ALGORITHM\"]` is RS256",
                &[],
                plain.signed_by(&TestKey::rsa_a(), json!({})),
            ),
            case(
                "`JWT_ISSUER` is set, and SimpleJWT's is not",
                &[("JWT_ISSUER", &world.origin())],
                plain.token(),
            ),
            case(
                "`JWT_AUDIENCE` is set, and SimpleJWT's is not",
                &[("JWT_AUDIENCE", "loquat")],
                plain.token(),
            ),
            expired("The page keeps an old token", &plain),
        ],
        genuine: vec![plain, named],
    }
}

pub fn flask(page: &Page, _: &World) -> Recipe {
    let secret = page.settings()[0].value("JWT_SECRET_KEY").to_owned();
    let user = Genuine {
        key: hmac(&secret),
        header: json!({ "typ": "JWT" }),
        claims: lasting(
            900,
            json!({
                "fresh": true, "jti": "3f6c", "type": "access", "sub": "ann", "nbf": now(),
                "csrf": "c",
            }),
        ),
        user: "ann",
        is_admin: false,
    };
    let longer = hmac(&secret).signing(Algorithm::HS512);
    Recipe {
        cases: vec![
            case(
                "The secret is another",
                &[(
                    "JWT_SECRET_KEY",
                    "the-jwt-secret-key-of-another-app-0123456789",
                )],
                user.token(),
            ),
            case(
                "The front end sends the refresh token",
                &[],
                user.with(json!({ "type": "refresh" })),
            ),
            case(
                "`JWT_USER_CLAIM=user_id`, as for Django",
                &[("JWT_USER_CLAIM", "user_id")],
                user.token(),
            ),
            case(
                "`JWT_ACCESS_TOKEN_EXPIRES` is False",
                &[],
                user.with(json!({ "exp": null })),
            ),
            case(
                "The identity is an object or a list",
                &[],
                user.with(json!({ "sub": { "id": 1 } })),
            ),
            case(
                "The app's `JWT_ALGORITHM` is HS512",
                &[],
                user.signed_by(&longer, json!({})),
            ),
            expired("The page keeps an old token", &user),
        ],
        genuine: vec![user],
    }
}
