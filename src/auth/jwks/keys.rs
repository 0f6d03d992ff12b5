//! A published key set (RFC 7517), reduced to the keys that can verify a signature.
//!
//! Invariant: one odd key does not spoil the set, and a key verifies only what it is for: its
//! type and curve, its `alg`, its `use` and its `key_ops` all agree. Symmetric keys never verify:
//! whoever can read the set could sign with them.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::SurveyedKey;

/// What is looked at of a set, and tried for one token.
const MAX_KEYS: usize = 100;
const MAX_CANDIDATES: usize = 8;

#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum KeySetError {
    #[error("the key set is not a JSON object with a list of keys")]
    Shape(#[source] serde_json::Error),
}

#[derive(Debug)]
pub(in crate::auth) struct KeySet {
    keys: Vec<PublicKey>,
    skipped: usize,
}

#[derive(Debug)]
struct PublicKey {
    kid: Option<String>,
    /// Those that the key's type and curve allow, and its `alg` does not exclude.
    algorithms: Vec<Algorithm>,
    /// As published, to see whether a set has changed.
    source: Value,
    key: DecodingKey,
}

/// The same keys, in whatever order: some issuers shuffle theirs.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        let holds = |set: &Self, key: &PublicKey| set.keys.iter().any(|k| k.source == key.source);
        self.keys.iter().all(|key| holds(other, key))
            && other.keys.iter().all(|key| holds(self, key))
    }
}

impl KeySet {
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<Value>,
        }
        let published: Published = serde_json::from_slice(json).map_err(KeySetError::Shape)?;
        let total = published.keys.len();
        let keys: Vec<_> = published
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(PublicKey::read)
            .collect();
        Ok(Self {
            skipped: total - keys.len(),
            keys,
        })
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn skipped(&self) -> usize {
        self.skipped
    }

    pub fn survey(&self) -> impl Iterator<Item = SurveyedKey> {
        self.keys.iter().map(|key| SurveyedKey {
            kid: key.kid.clone(),
            algorithms: key.algorithms.clone(),
        })
    }

    pub fn has_candidate(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.candidates(kid, algorithm).next().is_some()
    }

    /// The keys that may have signed a token of this header: those of its `kid` (more than one
    /// where an issuer repeats itself), or, where it names none, all that fit its algorithm; the
    /// first eight.
    pub fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.keys
            .iter()
            .filter(move |key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(move |key| key.algorithms.contains(&algorithm))
            .map(|key| &key.key)
            .take(MAX_CANDIDATES)
    }
}

/// The members of RFC 7517 and 7518 that matter here.
#[derive(Deserialize)]
struct Members {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private half.
    d: Option<Value>,
}

impl PublicKey {
    /// `None`: not a key that verifies.
    fn read(source: Value) -> Option<Self> {
        let members = Members::deserialize(&source).ok()?;
        if members
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return None;
        }
        if let Some(operations) = &members.key_ops
            && !operations.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        if members.d.is_some() {
            // Anybody may sign with it.
            return None;
        }
        let (key, possible) = members.key()?;
        let algorithms = match &members.alg {
            None => possible.to_vec(),
            Some(name) => {
                let algorithm = name.parse().ok()?;
                possible.contains(&algorithm).then(|| vec![algorithm])?
            }
        };
        Some(Self {
            kid: members.kid,
            algorithms,
            source,
            key,
        })
    }
}

impl Members {
    /// The key, and all algorithms that its type and curve allow. The library would take
    /// components of any length and fail with the first token.
    fn key(&self) -> Option<(DecodingKey, &'static [Algorithm])> {
        const RSA: &[Algorithm] = &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ];
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(&self.n)?, number(&self.e)?);
                // 2048 to 8192 bits: shorter keys are broken by now, longer ones cost time.
                ((256..=1024).contains(&n.len()) && (1..=8).contains(&e.len()))
                    .then(|| (DecodingKey::from_rsa_raw_components(&n, &e), RSA))
            }
            ("EC", Some("P-256")) => Some((self.point(32)?, &[Algorithm::ES256])),
            ("EC", Some("P-384")) => Some((self.point(48)?, &[Algorithm::ES384])),
            ("OKP", Some("Ed25519")) => {
                let x = bytes(&self.x)?;
                (x.len() == 32)
                    .then(|| (DecodingKey::from_ed_der(&x), [Algorithm::EdDSA].as_slice()))
            }
            _ => None,
        }
    }

    fn point(&self, coordinate: usize) -> Option<DecodingKey> {
        let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
        // SEC 1: 4 stands for an uncompressed point.
        (x.len() == coordinate && y.len() == coordinate)
            .then(|| DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
    }
}

fn bytes(member: &Option<String>) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(member.as_ref()?).ok()
}

/// Without the zeros that some issuers put in front.
fn number(member: &Option<String>) -> Option<Vec<u8>> {
    let bytes = bytes(member)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}
