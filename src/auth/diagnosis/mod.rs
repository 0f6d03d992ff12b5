//! Why a token is refused, in words, and which setting mends it: for an operator who holds one.
//!
//! Invariant: nothing here decides. The verdict is [`Authenticator::explain`]'s, and the words only
//! look at the token afterwards. What they repeat of it names issuers, audiences, keys and times:
//! never the token, nor whom it is about.

mod names;
mod shapes;
mod words;

use std::time::SystemTime;

use super::{
    AuthSetupError, Authenticator, Identity, Unverified, development, error::Check, survey,
};
use crate::{
    config::{IssuerSettings, Settings, names::issuer as key},
    lifecycle::Lifecycle,
};

use words::Case;

/// What one issuer says of a token.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The configured name of the issuer.
    pub issuer: String,
    /// Or why it does not accept the token, with the mend: one line.
    pub verdict: Result<Identity, String>,
}

/// The setting that says where the issuer's key set is.
pub fn name_of_key_set(settings: &Settings, issuer: &IssuerSettings) -> String {
    names::name_of(settings, issuer, key::JWKS_URL)
}

/// Asks every issuer, in the order of the configuration. Must be called inside a Tokio runtime.
pub async fn diagnose(settings: &Settings, token: &str) -> Result<Vec<Diagnosis>, AuthSetupError> {
    let unverified = Unverified::read(token);
    if settings.has_development_sign_in() && !development::has_key(&settings.data_dir) {
        // Whoever only asks makes no key.
        return Ok(vec![Diagnosis {
            issuer: development::NAME.to_owned(),
            verdict: Err(words::without_issuer(unverified.as_ref())),
        }]);
    }
    let lifecycle = Lifecycle::new();
    let authenticator = Authenticator::new(settings, &lifecycle)?;
    let mut diagnoses = Vec::new();
    for (name, verdict) in authenticator.explain(token).await {
        let issuer = settings.issuers.iter().find(|issuer| issuer.name == name);
        let verdict = match (verdict, issuer) {
            (Ok(identity), _) => Ok(identity),
            (Err(_), None) => Err(words::without_issuer(unverified.as_ref())),
            (Err(reason), Some(issuer)) => {
                let check = reason.check();
                let survey = match &issuer.jwks_url {
                    Some(url) if matches!(check, Check::KeysUnavailable | Check::UnknownKey) => {
                        Some((url, survey(url).await))
                    }
                    _ => None,
                };
                let case = Case {
                    settings,
                    issuer,
                    token,
                    unverified: unverified.as_ref(),
                    survey,
                    now: SystemTime::now(),
                };
                Err(case.words(check))
            }
        };
        diagnoses.push(Diagnosis {
            issuer: name,
            verdict,
        });
    }
    lifecycle.begin_hard_stop();
    Ok(diagnoses)
}
