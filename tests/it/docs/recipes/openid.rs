//! Issuers of the OpenID kind: a key set, an issuer, an audience.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    super::{
        pages::Page,
        world::{RSA, World},
    },
    Genuine, Recipe, case, expired, hmac, lasting,
};
use crate::auth::issuer::{TestKey, now, patch};

/// The page's own issuer, and an RSA key of the world's.
fn openid(page: &Page, user: &'static str, seconds: i64, claims: Value) -> Genuine {
    Genuine {
        key: TestKey::rsa_a(),
        header: json!({ "kid": RSA, "typ": "JWT" }),
        claims: {
            let issuer = page.settings()[0].value("JWT_ISSUER").to_owned();
            let mut all = lasting(seconds, json!({ "iss": issuer, "sub": user }));
            patch(&mut all, &claims);
            all
        },
        user,
        is_admin: false,
    }
}

pub fn auth0(page: &Page, _: &World) -> Recipe {
    let claims = json!({
        "aud": ["https://chat.example.com", "https://example.eu.auth0.com/userinfo"],
        "scope": "openid profile email", "permissions": ["administer:chat"],
    });
    let user = openid(page, "auth0|65f1c0ffee", 86_400, claims.clone());
    let admin = Genuine {
        is_admin: true,
        ..openid(page, "auth0|65f1c0ffee", 86_400, claims)
    };
    let other = TestKey::rsa_b();
    Recipe {
        cases: vec![
            case(
                "`JWT_ISSUER` lacks the slash",
                &[("JWT_ISSUER", "https://example.eu.auth0.com")],
                user.token(),
            ),
            case(
                "The front end asks for no audience",
                &[],
                "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..c29tZSBpdg.c29tZSB0ZXh0.c29tZSB0YWc"
                    .to_owned(),
            ),
            case(
                "The front end sends the ID token",
                &[],
                user.with(json!({ "aud": "kJ3x8sD2mQ0vN5bL1cR7", "sid": "s", "nonce": "n" })),
            ),
            case(
                "`JWT_JWKS_URL` is another tenant's",
                &[],
                other.sign(
                    r#"{"alg":"RS256","typ":"JWT","kid":"theirs"}"#,
                    &user.claims.to_string(),
                ),
            ),
            expired("The page keeps an old token", &user),
        ],
        genuine: vec![user, admin],
    }
}

pub fn clerk(page: &Page, _: &World) -> Recipe {
    let user = openid(
        page,
        "user_2NNEqL2nrIRdJ194ndJqAHwEfxC",
        60,
        json!({
            "azp": "https://app.example.com", "sid": "sess_2f", "nbf": now() - 10, "v": 2,
            "sts": "active", "fva": [0, -1], "jti": "j",
        }),
    );
    Recipe {
        cases: vec![
            case(
                "`JWT_ISSUER` ends in a slash",
                &[("JWT_ISSUER", "https://clerk.example.com/")],
                user.token(),
            ),
            case(
                "The page is of Clerk's development instance",
                &[],
                user.with(json!({ "iss": "https://happy-hippo-1.clerk.accounts.dev" })),
            ),
            case(
                "The page has another origin",
                &[],
                user.with(json!({ "azp": "https://www.example.com" })),
            ),
            case(
                "`JWT_AUDIENCE` is set",
                &[("JWT_AUDIENCE", "loquat")],
                user.token(),
            ),
            expired("The page keeps a token", &user),
        ],
        genuine: vec![user],
    }
}

pub fn keycloak(page: &Page, world: &World) -> Recipe {
    const USER: &str = "f3c0ffee-8a4b-4c0e-9d4f-3f2a3f1f7c11";
    let claims = json!({
        "aud": ["loquat", "account"], "typ": "Bearer", "azp": "front-end", "sid": "s",
        "acr": "1", "realm_access": { "roles": ["offline_access", "chat-admin"] },
        "scope": "openid email profile", "preferred_username": "ann",
    });
    let user = openid(page, USER, 300, claims.clone());
    let admin = Genuine {
        is_admin: true,
        ..openid(page, USER, 300, claims)
    };
    // Keycloak signs refresh tokens with a secret of the realm.
    let realm = hmac("a-secret-that-the-realm-alone-knows").signing(Algorithm::HS512);
    let issuer = page.settings()[0].value("JWT_ISSUER").to_owned();
    Recipe {
        cases: vec![
            case(
                "The client has no audience mapper",
                &[],
                user.with(json!({ "aud": "account" })),
            ),
            case(
                "The front end, whose client is called `loquat` too, sends the ID token",
                &[],
                user.with(json!({ "aud": "loquat", "typ": "ID", "at_hash": "h" })),
            ),
            case(
                "The front end sends the refresh token",
                &[],
                user.signed_by(&realm, json!({ "aud": issuer, "typ": "Refresh" })),
            ),
            case(
                "Keycloak has another public name (`KC_HOSTNAME`)",
                &[],
                user.with(json!({ "iss": "http://keycloak:8080/realms/example" })),
            ),
            case(
                "A lightweight access token, without the scope `basic`",
                &[],
                user.with(json!({ "sub": null })),
            ),
            case(
                "A path of Keycloak 16 and older (`/auth/realms/…`)",
                &[("JWT_JWKS_URL", &world.empty())],
                user.token(),
            ),
            expired("The page keeps an old token", &user),
        ],
        genuine: vec![user, admin],
    }
}

pub fn firebase(page: &Page, world: &World) -> Recipe {
    const USER: &str = "mT5cYp0QhXbF2sV9kLrN4wZ7aE13";
    let claims = json!({
        "aud": "example-project", "user_id": USER, "auth_time": now() - 60,
        "email": "ann@example.org", "email_verified": true, "admin": true,
        "firebase": { "identities": {}, "sign_in_provider": "password" },
    });
    let user = openid(page, USER, 3_600, claims.clone());
    let admin = Genuine {
        is_admin: true,
        ..openid(page, USER, 3_600, claims)
    };
    let account = "firebase-adminsdk@example-project.iam.gserviceaccount.com";
    Recipe {
        cases: vec![
            case(
                "The page uses another project",
                &[],
                user.with(json!({
                    "iss": "https://securetoken.google.com/another-project",
                    "aud": "another-project",
                })),
            ),
            case(
                "`JWT_AUDIENCE` is the project's number",
                &[("JWT_AUDIENCE", "415104041262")],
                user.token(),
            ),
            case(
                "The front end sends a custom token",
                &[],
                user.with(json!({
                    "iss": account, "sub": account, "uid": USER,
                    "aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
                })),
            ),
            case(
                "The front end sends a session cookie",
                &[],
                user.with(json!({ "iss": "https://session.firebase.google.com/example-project" })),
            ),
            case(
                "`JWT_JWKS_URL` is the one of the certificates (`…/x509/…`)",
                &[("JWT_JWKS_URL", &world.certificates())],
                user.token(),
            ),
            expired("The page keeps an old token", &user),
        ],
        genuine: vec![user, admin],
    }
}
