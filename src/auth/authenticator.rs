//! The one door: every credential, from whichever transport, becomes an identity here or nowhere.

use std::sync::Arc;

use secrecy::ExposeSecret;

use super::{
    AuthError, Credential, Identity,
    development::{self, DevelopmentKeyError},
    error::Check,
    jwks::{self, Jwks},
    jwt::Verifier,
};
use crate::{
    config::{Environment, IssuerSettings, Settings},
    lifecycle::Lifecycle,
};

/// Judges credentials by what the configuration trusts. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Authenticator {
    sign_in: Arc<SignIn>,
}

#[derive(Debug)]
enum SignIn {
    /// Nobody vouches for anybody: names are believed, and so is this server's own key.
    Development(Verifier),
    Issuer(Verifier),
}

/// The configuration does not say whom to trust. Each text names the setting and its mend.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    #[error(
        "ENVIRONMENT=production needs an issuer: set SUPABASE_PROJECT_URL, BETTER_AUTH_URL, \
         JWT_SECRET_KEY or JWT_JWKS_URL"
    )]
    NoIssuer,
    #[error("the issuer {issuer} has no key: set its secret or the URL of its JWKS")]
    NoKey { issuer: String },
    #[error(
        "the secret of the issuer {issuer} is empty: set it to the secret that signs its tokens"
    )]
    EmptySecret { issuer: String },
    #[error(
        "the secret of the issuer {issuer} is a PEM key: a public key must not be used as a shared \
         secret; publish it as a JWKS and set JWT_JWKS_URL"
    )]
    PemSecret { issuer: String },
    #[error(
        "the JWKS of the issuer {issuer} must be fetched by https in production: change the scheme \
         of its URL"
    )]
    InsecureJwks { issuer: String },
    #[error("could not prepare the fetching of the JWKS of the issuer {issuer}")]
    JwksClient {
        issuer: String,
        #[source]
        source: reqwest::Error,
    },
    #[error(transparent)]
    DevelopmentKey(#[from] DevelopmentKeyError),
}

impl Authenticator {
    /// Reads no network: a JWKS is fetched by a task of the lifecycle, at once and from then on.
    /// Must be called inside a Tokio runtime.
    pub fn new(settings: &Settings, lifecycle: &Lifecycle) -> Result<Self, AuthSetupError> {
        let sign_in = match (&settings.issuer, settings.environment) {
            (Some(issuer), environment) => {
                check(issuer, environment)?;
                let jwks = issuer
                    .jwks_url
                    .as_ref()
                    .map(|url| Jwks::start(url, settings.jwks_cache, lifecycle))
                    .transpose()
                    .map_err(|source| AuthSetupError::JwksClient {
                        issuer: issuer.name.clone(),
                        source,
                    })?;
                SignIn::Issuer(Verifier::new(issuer, settings.jwt_leeway, jwks))
            }
            (None, Environment::Production) => return Err(AuthSetupError::NoIssuer),
            (None, Environment::Development) => {
                let issuer = development::issuer(&settings.data_dir)?;
                SignIn::Development(Verifier::new(&issuer, settings.jwt_leeway, None))
            }
        };
        Ok(Self {
            sign_in: Arc::new(sign_in),
        })
    }

    /// Waits for the network only where the token names a key that is not known yet.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Identity, AuthError> {
        match (credential, &*self.sign_in) {
            (
                Credential::Bearer(token),
                SignIn::Development(verifier) | SignIn::Issuer(verifier),
            ) => verifier.verify(token.expose_secret()).await,
            (Credential::DevelopmentUser(name), SignIn::Development(_)) => {
                development::identity(name)
            }
            (Credential::DevelopmentUser(_), SignIn::Issuer(_)) => {
                Err(Check::DevelopmentSignInOff.into())
            }
        }
    }

    /// Whether any name is believed.
    pub fn has_development_sign_in(&self) -> bool {
        matches!(*self.sign_in, SignIn::Development(_))
    }
}

/// What the configuration promises of an issuer, held once more where a mistake would let
/// strangers in.
fn check(issuer: &IssuerSettings, environment: Environment) -> Result<(), AuthSetupError> {
    let name = || issuer.name.clone();
    match &issuer.secret {
        Some(secret) if secret.expose_secret().trim().is_empty() => {
            return Err(AuthSetupError::EmptySecret { issuer: name() });
        }
        Some(secret) if secret.expose_secret().contains("-----BEGIN ") => {
            return Err(AuthSetupError::PemSecret { issuer: name() });
        }
        None if issuer.jwks_url.is_none() => {
            return Err(AuthSetupError::NoKey { issuer: name() });
        }
        _ => {}
    }
    match &issuer.jwks_url {
        Some(url)
            if environment == Environment::Production
                && url.scheme() != "https"
                && !jwks::is_loopback(url) =>
        {
            Err(AuthSetupError::InsecureJwks { issuer: name() })
        }
        _ => Ok(()),
    }
}
