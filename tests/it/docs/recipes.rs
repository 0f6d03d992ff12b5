//! For each page, tokens as its issuer mints them, and a case for each row of its table.

mod by_secret;
mod openid;
mod own;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    pages::Page,
    world::{RSA, World},
};
use crate::auth::issuer::{TestKey, now, patch};

type MakeRecipe = fn(&Page, &World) -> Recipe;

pub const RECIPES: [(&str, MakeRecipe); 9] = [
    ("supabase.md", own::supabase),
    ("better-auth.md", own::better_auth),
    ("django-simplejwt.md", by_secret::django),
    ("flask-jwt-extended.md", by_secret::flask),
    ("auth0.md", openid::auth0),
    ("clerk.md", openid::clerk),
    ("keycloak.md", openid::keycloak),
    ("firebase.md", openid::firebase),
    ("several-issuers.md", several),
];

/// The variables that the settings file of `several-issuers.md` names.
pub const TABLE_SECRETS: &str = "DJANGO_SECRET_KEY=the-secret-key-of-a-django-project-0123456789";

pub struct Recipe {
    /// A user for each block of settings.
    pub genuine: Vec<Genuine>,
    pub cases: Vec<Case>,
}

pub struct Genuine {
    key: TestKey,
    header: Value,
    claims: Value,
    pub user: &'static str,
    pub is_admin: bool,
}

/// One row of a table, brought about.
pub struct Case {
    pub what: &'static str,
    /// Of the page's first block of settings.
    pub change: Vec<(&'static str, String)>,
    pub token: String,
}

impl Genuine {
    pub fn token(&self) -> String {
        self.with(json!({}))
    }

    fn with(&self, claims: Value) -> String {
        self.signed_by(&self.key, claims)
    }

    fn signed_by(&self, key: &TestKey, claims: Value) -> String {
        let mut all = self.claims.clone();
        patch(&mut all, &claims);
        let mut header = self.header.clone();
        patch(&mut header, &json!({ "alg": key.alg() }));
        key.sign(&header.to_string(), &all.to_string())
    }

    /// The same signer's tokens that differ in what must not differ, and the same token of others.
    pub fn near_misses(&self) -> Vec<(&'static str, String)> {
        let mut misses = vec![
            ("expired", self.with(json!({ "exp": now() - 120 }))),
            ("of the future", self.with(json!({ "nbf": now() + 120 }))),
            ("refresh", self.with(json!({ "token_type": "refresh" }))),
            ("offline", self.with(json!({ "typ": "Offline" }))),
            ("cut", {
                let mut token = self.token();
                token.truncate(token.len() - 4);
                token
            }),
            (
                "another key",
                self.signed_by(&other_than(&self.key), json!({})),
            ),
        ];
        if let Some(issuer) = self.claims.get("iss").and_then(Value::as_str) {
            let slashed = match issuer.strip_suffix('/') {
                Some(bare) => bare.to_owned(),
                None => format!("{issuer}/"),
            };
            misses.push(("a slash", self.with(json!({ "iss": slashed }))));
            misses.push(("a list of issuers", self.with(json!({ "iss": [issuer] }))));
        }
        if self
            .claims
            .get("aud")
            .is_some_and(|_| self.claims.get("azp").is_none())
        {
            misses.push(("another audience", self.with(json!({ "aud": "another" }))));
            misses.push(("no audience", self.with(json!({ "aud": null }))));
        }
        misses
    }
}

/// Of the same kind, so that nothing but the signature is wrong.
fn other_than(key: &TestKey) -> TestKey {
    match key.algorithm {
        Algorithm::RS256 => TestKey::rsa_b(),
        Algorithm::ES256 => TestKey::p256_b(),
        Algorithm::EdDSA => TestKey::ed25519_b(),
        algorithm => TestKey::secret(b"another-secret-of-more-than-32-bytes", algorithm),
    }
}

fn hmac(secret: &str) -> TestKey {
    TestKey::secret(secret.as_bytes(), Algorithm::HS256)
}

fn lasting(seconds: i64, mut claims: Value) -> Value {
    patch(
        &mut claims,
        &json!({ "iat": now(), "exp": now() + seconds }),
    );
    claims
}

fn case(what: &'static str, change: &[(&'static str, &str)], token: String) -> Case {
    Case {
        what,
        change: change
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        token,
    }
}

fn expired(what: &'static str, genuine: &Genuine) -> Case {
    let claims = json!({ "iat": now() - 7_200, "exp": now() - 3_600 });
    case(what, &[], genuine.with(claims))
}

fn several(_: &Page, _: &World) -> Recipe {
    let (_, secret) = TABLE_SECRETS.split_once('=').expect("a variable");
    let staff = Genuine {
        key: TestKey::rsa_a(),
        header: json!({ "kid": RSA, "typ": "JWT" }),
        claims: lasting(
            300,
            json!({
                "iss": "https://id.example.com/realms/staff", "aud": "loquat", "typ": "Bearer",
                "sub": "ann", "user_id": "17",
            }),
        ),
        user: "ann",
        is_admin: false,
    };
    let by_secret = staff.signed_by(&hmac(secret), json!({}));
    Recipe {
        cases: vec![
            case(
                "`issuer` of a table is not what its tokens say",
                &[(
                    "https://id.example.com/realms/staff\"\naudience",
                    "https://id.example.com/realms/team\"\naudience",
                )],
                staff.token(),
            ),
            case(
                "Tokens of `intranet` bear the `iss` of another table",
                &[],
                by_secret,
            ),
        ],
        genuine: vec![staff],
    }
}
