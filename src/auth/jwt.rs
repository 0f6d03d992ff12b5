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
    Algorithm, AlgorithmFamily, DecodingKey, Header, Validation, decode, decode_header,
    errors::{Error, ErrorKind},
};
use secrecy::ExposeSecret;

use super::{
    AuthError, Identity,
    claims::{ClaimRules, Claims},
    error::Check,
    jwks::Jwks,
};
use crate::config::IssuerSettings;

/// Longer tokens are refused unread, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Verifier {
    secret: Option<DecodingKey>,
    jwks: Option<Jwks>,
    /// What is accepted, and how it is checked: the library wants a rule for each kind of key.
    validations: HashMap<Algorithm, Validation>,
    rules: ClaimRules,
}

impl Verifier {
    pub fn new(issuer: &IssuerSettings, leeway: Duration, jwks: Option<Jwks>) -> Self {
        Self {
            secret: issuer
                .secret
                .as_ref()
                .map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes())),
            jwks,
            validations: issuer
                .algorithms
                .iter()
                .map(|algorithm| (*algorithm, validation(issuer, *algorithm, leeway)))
                .collect(),
            rules: ClaimRules {
                name: issuer.name.clone(),
                issuer: issuer.issuer.clone(),
                user_claim: issuer.user_claim.clone(),
                leeway,
            },
        }
    }

    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Check::TooLong.into());
        }
        // `none` and whatever else is no algorithm of the library's ends here.
        let header = decode_header(token).map_err(|_| Check::Malformed)?;
        if header.crit.is_some() {
            return Err(Check::CriticalHeader.into());
        }
        if header.enc.is_some() || header.zip.is_some() {
            return Err(Check::Encrypted.into());
        }
        let validation = self.validations.get(&header.alg).ok_or(Check::Algorithm)?;
        let claims = match header.alg.family() {
            AlgorithmFamily::Hmac => {
                let secret = self.secret.as_ref().ok_or(Check::Algorithm)?;
                claims(token, secret, validation)?
            }
            AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed => {
                self.published_claims(token, &header, validation).await?
            }
        };
        Ok(self.rules.identity(&claims, SystemTime::now())?)
    }

    async fn published_claims(
        &self,
        token: &str,
        header: &Header,
        validation: &Validation,
    ) -> Result<Claims, AuthError> {
        let jwks = self.jwks.as_ref().ok_or(Check::Algorithm)?;
        let kid = header.kid.as_deref();
        let keys = jwks.keys_for(kid, header.alg).await?;
        let mut outcome = Err(Check::UnknownKey);
        for key in keys.candidates(kid, header.alg) {
            outcome = claims(token, key, validation);
            if outcome != Err(Check::Signature) {
                break;
            }
        }
        Ok(outcome?)
    }
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
