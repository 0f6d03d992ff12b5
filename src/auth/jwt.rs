//! JWTs of one issuer: header, key, signature, claims, in that order.
//!
//! Invariant: the key is chosen by the configuration and the issuer's published set, never by the
//! token. `jwk`, `jku`, `x5u` and `x5c` in a header are not looked at, and the algorithm in the
//! header only selects among those that are configured, each of which belongs to one kind of key.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Validation, dangerous, decode,
    errors::{Error, ErrorKind},
};
use secrecy::ExposeSecret;

use super::{
    AuthError, Identity, Reason,
    claims::{ClaimRules, Claims},
    error::Check,
    jwks::{Generation, Jwks, TrustedKeys},
    token::Token,
};
use crate::config::IssuerSettings;

#[derive(Debug)]
pub(super) struct Verifier {
    /// Two while one replaces the other.
    secrets: Vec<DecodingKey>,
    jwks: Option<Jwks>,
    /// What is accepted, and how it is checked: the library wants a rule for each kind of key.
    validations: HashMap<Algorithm, Validation>,
    rules: ClaimRules,
}

/// An identity, and the keys that vouch for it: what must not have changed for its token to be
/// believed again.
#[derive(Debug)]
pub(super) struct Verified {
    pub identity: Identity,
    pub keys: KeysUsed,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum KeysUsed {
    /// The same from the start to the end of the process.
    Secrets,
    Published(Generation),
}

impl Verifier {
    pub fn new(issuer: &IssuerSettings, leeway: Duration, jwks: Option<Jwks>) -> Self {
        Self {
            secrets: [&issuer.secret, &issuer.previous_secret]
                .into_iter()
                .flatten()
                .map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes()))
                .collect(),
            jwks,
            validations: issuer
                .algorithms
                .iter()
                .map(|algorithm| (*algorithm, validation(issuer, *algorithm, leeway)))
                .collect(),
            rules: ClaimRules::new(issuer, leeway),
        }
    }

    /// The configured name, as identities bear it.
    pub fn name(&self) -> &str {
        &self.rules.name
    }

    /// What its tokens must say in `iss`; `None`: not looked at.
    pub fn issuer(&self) -> Option<&str> {
        self.rules.issuer.as_deref()
    }

    /// Whether these are still the keys, so that only time can have changed the verdict.
    pub fn still_uses(&self, keys: KeysUsed) -> bool {
        match (keys, &self.jwks) {
            (KeysUsed::Secrets, _) => true,
            (KeysUsed::Published(generation), Some(jwks)) => jwks.is_current(generation),
            (KeysUsed::Published(_), None) => false,
        }
    }

    /// `None`: that takes a key which is not known yet.
    pub fn verify_at_once(&self, token: &Token<'_>) -> Option<Result<Verified, Check>> {
        match self.keys(token) {
            Ok(Keys::Secrets) => Some(self.judge_by_secret(token)),
            Ok(Keys::Published(jwks)) => {
                let keys = jwks.known(token.kid(), token.header.alg)?;
                Some(self.judge_by_published(token, &keys))
            }
            Err(check) => Some(Err(check)),
        }
    }

    /// Waits for a fetch of the keys at most.
    pub async fn verify(&self, token: &Token<'_>) -> Result<Verified, AuthError> {
        let verdict = match self.keys(token) {
            Ok(Keys::Secrets) => self.judge_by_secret(token),
            Ok(Keys::Published(jwks)) => {
                // Nobody goes and asks for the key of a token that no key could save.
                match self.judge_unsigned(token) {
                    Ok(()) => match jwks.keys_for(token.kid(), token.header.alg).await {
                        Ok(keys) => self.judge_by_published(token, &keys),
                        Err(AuthError::Refused(_)) => Err(Check::UnknownKey),
                        Err(unavailable) => return Err(unavailable),
                    },
                    Err(check) => Err(check),
                }
            }
            Err(check) => Err(check),
        };
        verdict.map_err(|check| AuthError::Refused(Reason::of(check, self.name())))
    }

    /// Where the key lies, by the algorithm that the header names among those configured.
    fn keys(&self, token: &Token<'_>) -> Result<Keys<'_>, Check> {
        let algorithm = token.header.alg;
        if !self.validations.contains_key(&algorithm) {
            return Err(Check::Algorithm);
        }
        match (algorithm.family(), &self.jwks) {
            (AlgorithmFamily::Hmac, _) if !self.secrets.is_empty() => Ok(Keys::Secrets),
            (AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed, Some(jwks)) => {
                Ok(Keys::Published(jwks))
            }
            _ => Err(Check::Algorithm),
        }
    }

    fn judge_by_secret(&self, token: &Token<'_>) -> Result<Verified, Check> {
        Ok(Verified {
            identity: self.judge(token, &self.secrets)?,
            keys: KeysUsed::Secrets,
        })
    }

    fn judge_by_published(&self, token: &Token<'_>, keys: &TrustedKeys) -> Result<Verified, Check> {
        let candidates = keys.set.candidates(token.kid(), token.header.alg);
        Ok(Verified {
            identity: self.judge(token, candidates)?,
            keys: KeysUsed::Published(keys.generation),
        })
    }

    /// What its claims alone can be refused for, whoever signed it.
    fn judge_unsigned(&self, token: &Token<'_>) -> Result<(), Check> {
        let claims = dangerous::insecure_decode_claims(token.text).map_err(check)?;
        self.rules.identity(&claims, SystemTime::now()).map(drop)
    }

    /// The first key whose signature it is decides.
    fn judge<'k>(
        &self,
        token: &Token<'_>,
        keys: impl IntoIterator<Item = &'k DecodingKey>,
    ) -> Result<Identity, Check> {
        let validation = self
            .validations
            .get(&token.header.alg)
            .ok_or(Check::Algorithm)?;
        let mut outcome = Err(Check::UnknownKey);
        for key in keys {
            outcome = claims(token.text, key, validation);
            if outcome != Err(Check::Signature) {
                break;
            }
        }
        self.rules.identity(&outcome?, SystemTime::now())
    }
}

/// Where the keys lie that may have signed a token.
enum Keys<'a> {
    Secrets,
    Published(&'a Jwks),
}

fn validation(issuer: &IssuerSettings, algorithm: Algorithm, leeway: Duration) -> Validation {
    let mut validation = Validation::new(algorithm);
    let mut required = vec!["exp"];
    validation.leeway = leeway.as_secs();
    validation.validate_nbf = true;
    if let Some(expected) = &issuer.issuer {
        validation.set_issuer(&[expected]);
        required.push("iss");
    }
    match &issuer.audience {
        Some(expected) => {
            validation.set_audience(&[expected]);
            required.push("aud");
        }
        None => validation.validate_aud = false,
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn claims(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, Check> {
    decode::<Claims>(token, key, validation)
        .map(|token| token.claims)
        .map_err(check)
}

fn check(error: Error) -> Check {
    match error.kind() {
        ErrorKind::InvalidSignature => Check::Signature,
        ErrorKind::ExpiredSignature => Check::Expired,
        ErrorKind::ImmatureSignature => Check::NotYetValid,
        ErrorKind::InvalidIssuer => Check::Issuer,
        ErrorKind::InvalidAudience => Check::Audience,
        ErrorKind::InvalidAlgorithm => Check::Algorithm,
        ErrorKind::MissingRequiredClaim(_) => Check::MissingClaim,
        _ => Check::Malformed,
    }
}
