//! An issuer of tokens for tests: fixed keys, and tokens of any shape.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use loquat::{
    auth::{AuthError, Authenticator, Credential, Identity, MintError, TokenRequest, mint},
    config::{Settings, Sources},
};
use secrecy::SecretString;
use serde_json::{Value, json};

pub const SECRET: &str = "a-shared-secret-for-tests-of-more-than-32-bytes";
pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "loquat-tests";

/// A key pair whose private half is public: committed, and good for tests alone.
pub struct TestKey {
    pub algorithm: Algorithm,
    key: EncodingKey,
}

impl TestKey {
    pub fn secret(secret: &[u8], algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            key: EncodingKey::from_secret(secret),
        }
    }

    pub fn rsa_a() -> Self {
        Self::rsa(include_bytes!("../keys/test_only_rsa_a.pem"))
    }

    pub fn rsa_b() -> Self {
        Self::rsa(include_bytes!("../keys/test_only_rsa_b.pem"))
    }

    fn rsa(pem: &[u8]) -> Self {
        Self {
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_pem(pem).expect("an RSA key"),
        }
    }

    pub fn p256_a() -> Self {
        Self::ec(
            include_bytes!("../keys/test_only_p256_a.pem"),
            Algorithm::ES256,
        )
    }

    pub fn p256_b() -> Self {
        Self::ec(
            include_bytes!("../keys/test_only_p256_b.pem"),
            Algorithm::ES256,
        )
    }

    pub fn p384_a() -> Self {
        Self::ec(
            include_bytes!("../keys/test_only_p384_a.pem"),
            Algorithm::ES384,
        )
    }

    fn ec(pem: &[u8], algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            key: EncodingKey::from_ec_pem(pem).expect("an EC key"),
        }
    }

    pub fn ed25519_a() -> Self {
        Self::ed25519(include_bytes!("../keys/test_only_ed25519_a.pem"))
    }

    pub fn ed25519_b() -> Self {
        Self::ed25519(include_bytes!("../keys/test_only_ed25519_b.pem"))
    }

    fn ed25519(pem: &[u8]) -> Self {
        Self {
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_pem(pem).expect("an Ed25519 key"),
        }
    }

    /// The same key, for another algorithm of its family.
    pub fn signing(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub fn alg(&self) -> Value {
        serde_json::to_value(self.algorithm).expect("a name")
    }

    /// The public half as an issuer publishes it, changed by `members`: a null removes one.
    pub fn published(&self, kid: &str, members: Value) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        patch(&mut jwk, &json!({ "kid": kid, "use": "sig" }));
        patch(&mut jwk, &members);
        jwk
    }

    /// A token of exactly this header and payload.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let signature = self.signature(&message);
        format!("{message}.{signature}")
    }

    /// As it stands in a token.
    pub fn signature(&self, message: &str) -> String {
        crypto::sign(message.as_bytes(), &self.key, self.algorithm).expect("a signature")
    }

    /// A token that every check of [`settings`] likes, changed by `header` and `claims`: a null
    /// removes a member.
    pub fn token(&self, header: Value, claims: Value) -> String {
        let mut whole_header = json!({ "alg": self.alg(), "typ": "JWT" });
        patch(&mut whole_header, &header);
        let mut whole_claims = good_claims();
        patch(&mut whole_claims, &claims);
        self.sign(&whole_header.to_string(), &whole_claims.to_string())
    }
}

/// No two of the same make one token: what has been accepted once is not looked at again.
pub fn good_claims() -> Value {
    static MADE: AtomicU64 = AtomicU64::new(0);
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1",
        "iat": now(), "exp": now() + 600,
        "jti": MADE.fetch_add(1, Ordering::Relaxed).to_string(),
    })
}

pub fn patch(target: &mut Value, members: &Value) {
    let target = target.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        match value {
            Value::Null => target.remove(name),
            value => target.insert(name.clone(), value.clone()),
        };
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(now.as_secs()).expect("a time of our age")
}

pub fn hs256() -> TestKey {
    TestKey::secret(SECRET.as_bytes(), Algorithm::HS256)
}

pub fn settings(variables: &[(&str, &str)]) -> Settings {
    let sources = variables
        .iter()
        .fold(Sources::default(), |sources, (name, value)| {
            sources.variable(name, value)
        });
    Settings::resolve(&sources).expect("the settings are right")
}

/// An issuer by its shared secret, with every check configured.
pub fn secret_settings() -> Settings {
    settings(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ])
}

/// As `loquat token --user` makes it.
pub fn minted(settings: &Settings, user: &str, ttl: Duration) -> Result<String, MintError> {
    let request = TokenRequest {
        user,
        is_admin: false,
        ttl,
        issuer: None,
    };
    mint(settings, &request)
}

pub async fn offer(
    authenticator: &Authenticator,
    token: impl Into<String>,
) -> Result<Identity, AuthError> {
    authenticator
        .authenticate(&Credential::Bearer(SecretString::from(token.into())))
        .await
        .map(Arc::unwrap_or_clone)
}

/// The reason that the log would name.
pub fn reason(outcome: &Result<Identity, AuthError>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(AuthError::Refused(reason)) => reason.as_str(),
        Err(AuthError::Unavailable { .. }) => "unavailable",
    }
}
