//! The one door: every credential, from whichever transport, becomes an identity here or nowhere.
//!
//! A token is judged by those issuers alone that it may be from. It says so itself in `iss`: where
//! a configured issuer has that name, no other is asked; only a token of no configured name is
//! tried on the issuers that are configured without one.

use std::{sync::Arc, time::SystemTime};

use futures_util::future::join_all;
use secrecy::ExposeSecret;

use super::{
    AuthError, Credential, Identity, Reason,
    cache::TokenCache,
    development::{self, DevelopmentKeyError},
    error::Check,
    gateway::Gateway,
    jwks::{self, Jwks},
    jwt::{KeysUsed, Verified, Verifier},
    token::Token,
};
use crate::{
    config::{Environment, IssuerSettings, Settings},
    lifecycle::Lifecycle,
};

/// Judges credentials by what the configuration trusts. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Authenticator {
    trusted: Arc<Trusted>,
}

#[derive(Debug)]
struct Trusted {
    /// One for each issuer, in the order of the configuration; in development without any, the one
    /// for this server's own key.
    verifiers: Vec<Verifier>,
    /// What they have accepted.
    accepted: TokenCache<Proof>,
    gateway: Option<Gateway>,
    /// Nobody vouches for anybody: names are believed.
    believes_names: bool,
}

/// Who has accepted a token: the place of the issuer in the configuration, and its keys.
#[derive(Clone, Copy, Debug)]
struct Proof {
    judge: usize,
    keys: KeysUsed,
}

/// The configuration does not say whom to trust. Each text names the setting and its mend.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    #[error(
        "ENVIRONMENT=production needs an issuer: set SUPABASE_PROJECT_URL, BETTER_AUTH_URL, \
         JWT_SECRET_KEY or JWT_JWKS_URL, or LOQUAT_GATEWAY_SECRET"
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
    #[error(
        "LOQUAT_GATEWAY_SECRET is for production alone: remove it, or set ENVIRONMENT=production"
    )]
    DevelopmentGateway,
    #[error("LOQUAT_GATEWAY_SECRET can be guessed: make it 32 bytes or longer")]
    ShortGatewaySecret,
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
    /// Reads no network: each JWKS is fetched by a task of the lifecycle, at once and from then
    /// on. Must be called inside a Tokio runtime.
    pub fn new(settings: &Settings, lifecycle: &Lifecycle) -> Result<Self, AuthSetupError> {
        let environment = settings.environment;
        let gateway = match (&settings.gateway_secret, environment) {
            (Some(secret), Environment::Production) => Some(Gateway::new(secret)?),
            (Some(_), Environment::Development) => return Err(AuthSetupError::DevelopmentGateway),
            (None, _) => None,
        };
        if environment == Environment::Production
            && settings.issuers.is_empty()
            && gateway.is_none()
        {
            return Err(AuthSetupError::NoIssuer);
        }
        let believes_names = settings.has_development_sign_in();
        let verifiers = if believes_names {
            let issuer = development::issuer(&settings.data_dir)?;
            vec![Verifier::new(&issuer, settings.jwt_leeway, None)]
        } else {
            settings
                .issuers
                .iter()
                .map(|issuer| verifier(issuer, settings, lifecycle))
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            trusted: Arc::new(Trusted {
                verifiers,
                accepted: TokenCache::new(),
                gateway,
                believes_names,
            }),
        })
    }

    /// Waits for the network only where the token names a key that is not known yet.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Arc<Identity>, AuthError> {
        match credential {
            Credential::Bearer(token) => self.verify(token.expose_secret()).await,
            Credential::ApiKey(_) => Err(Check::ApiKey.into()),
            Credential::Gateway { secret, user } => match &self.trusted.gateway {
                Some(gateway) => Ok(Arc::new(gateway.identity(secret, user)?)),
                None => Err(Check::GatewayOff.into()),
            },
            Credential::DevelopmentUser(name) if self.trusted.believes_names => {
                development::identity(name).map(Arc::new)
            }
            Credential::DevelopmentUser(_) => Err(Check::DevelopmentSignInOff.into()),
        }
    }

    /// Whether any name is believed.
    pub fn has_development_sign_in(&self) -> bool {
        self.trusted.believes_names
    }

    /// What each issuer says of a token, and why: for an operator who holds it. Waits for key
    /// sets that are being fetched.
    pub async fn explain(&self, token: &str) -> Vec<(String, Result<Identity, Reason>)> {
        let read = Token::read(token);
        let verdicts = self.trusted.verifiers.iter().map(|verifier| {
            let read = &read;
            async move {
                let verdict = match read {
                    Err(check) => Err((*check).into()),
                    Ok(token) if self.is_judge(verifier, token) => verifier.verify(token).await,
                    Ok(_) if verifier.issuer().is_some() => Err(Check::Issuer.into()),
                    Ok(_) => Err(Check::AnotherIssuers.into()),
                };
                let verdict = match verdict {
                    Ok(verified) => Ok(verified.identity),
                    Err(AuthError::Refused(reason)) => Err(reason),
                    Err(AuthError::Unavailable { .. }) => Err(Check::KeysUnavailable.into()),
                };
                (verifier.name().to_owned(), verdict)
            }
        });
        join_all(verdicts).await
    }

    /// What has been accepted before, on as good grounds; else what the issuers say now.
    async fn verify(&self, text: &str) -> Result<Arc<Identity>, AuthError> {
        let Trusted {
            verifiers,
            accepted,
            ..
        } = &*self.trusted;
        let stands = |proof: &Proof| verifiers[proof.judge].still_uses(proof.keys);
        if let Some(identity) = accepted.get(text, SystemTime::now(), stands) {
            return Ok(identity);
        }
        let (judge, Verified { identity, keys }) = self.judge(&Token::read(text)?).await?;
        let identity = Arc::new(identity);
        accepted.insert(text, Arc::clone(&identity), Proof { judge, keys });
        Ok(identity)
    }

    /// The first issuer that accepts decides, and those that have the key at hand come first: a
    /// token of one must not send for the keys of another.
    async fn judge(&self, token: &Token<'_>) -> Result<(usize, Verified), AuthError> {
        let verifiers = self.trusted.verifiers.iter().enumerate();
        let judges = verifiers.filter(|(_, verifier)| self.is_judge(verifier, token));
        let mut refusals = Vec::new();
        let mut undecided = Vec::new();
        for (place, judge) in judges {
            match judge.verify_at_once(token) {
                Some(Ok(verified)) => return Ok((place, verified)),
                Some(Err(check)) => refusals.push(Reason::of(check, judge.name())),
                None => undecided.push((place, judge)),
            }
        }
        let mut retry_after = None;
        let verdicts = undecided
            .into_iter()
            .map(async |(place, judge)| Ok((place, judge.verify(token).await?)));
        for verdict in join_all(verdicts).await {
            match verdict {
                Ok(verified) => return Ok(verified),
                Err(AuthError::Refused(reason)) => refusals.push(reason),
                Err(AuthError::Unavailable { retry_after: after }) => {
                    retry_after = retry_after.into_iter().chain([after]).min();
                }
            }
        }
        Err(match retry_after {
            Some(retry_after) => AuthError::Unavailable { retry_after },
            None => match Reason::furthest(refusals) {
                Some(reason) => AuthError::Refused(reason),
                None => Check::Issuer.into(),
            },
        })
    }

    fn is_judge(&self, verifier: &Verifier, token: &Token<'_>) -> bool {
        let named = token.issuer.as_deref().filter(|named| {
            self.trusted
                .verifiers
                .iter()
                .any(|verifier| verifier.issuer() == Some(named))
        });
        verifier.issuer() == named
    }
}

fn verifier(
    issuer: &IssuerSettings,
    settings: &Settings,
    lifecycle: &Lifecycle,
) -> Result<Verifier, AuthSetupError> {
    check(issuer, settings.environment)?;
    let jwks = issuer
        .jwks_url
        .as_ref()
        .map(|url| Jwks::start(url, settings.jwks_cache, lifecycle))
        .transpose()
        .map_err(|source| AuthSetupError::JwksClient {
            issuer: issuer.name.clone(),
            source,
        })?;
    Ok(Verifier::new(issuer, settings.jwt_leeway, jwks))
}

/// What the configuration promises of an issuer, held once more where a mistake would let
/// strangers in.
fn check(issuer: &IssuerSettings, environment: Environment) -> Result<(), AuthSetupError> {
    let name = || issuer.name.clone();
    for secret in [&issuer.secret, &issuer.previous_secret]
        .into_iter()
        .flatten()
    {
        if secret.expose_secret().trim().is_empty() {
            return Err(AuthSetupError::EmptySecret { issuer: name() });
        }
        if secret.expose_secret().contains("-----BEGIN ") {
            return Err(AuthSetupError::PemSecret { issuer: name() });
        }
    }
    if issuer.secret.is_none() && issuer.jwks_url.is_none() {
        return Err(AuthSetupError::NoKey { issuer: name() });
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
