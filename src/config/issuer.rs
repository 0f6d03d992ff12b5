//! Whose tokens are believed: Supabase, Better Auth, or any other issuer by its `JWT_` settings.
//!
//! One issuer at a time. Beside a preset, a `JWT_` setting may repeat or narrow what the preset
//! says, never contradict it: a token that passes must be one that the preset's issuer made.

use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{
    Environment, IssuerSettings, SettingsError, names,
    sources::{Found, Sources},
    values::{invalid, list, web_url, without_slash},
};

/// RFC 7518, section 3.2: a key of the hash's size or larger.
const HS256_SECRET_BYTES: usize = 32;

pub(super) fn resolve(
    sources: &Sources,
    environment: Environment,
) -> Result<Vec<IssuerSettings>, SettingsError> {
    let supabase = sources
        .find(&names::SUPABASE_PROJECT_URL)
        .or_else(|| sources.find(&names::SUPABASE_JWT_SECRET));
    let better_auth = sources.find(&names::BETTER_AUTH_URL);

    let settings = match (supabase, better_auth) {
        (Some(supabase), Some(better_auth)) => {
            return Err(SettingsError::Contradiction {
                first: supabase.origin,
                second: better_auth.origin,
                mend: "each names an issuer; keep one of them".to_owned(),
            });
        }
        (Some(preset), None) => Some(agreeing(sources, &preset, supabase_issuer(sources)?)?),
        (None, Some(preset)) => Some(agreeing(sources, &preset, better_auth_issuer(&preset)?)?),
        (None, None) => generic_issuer(sources)?,
    };
    match (&settings, environment) {
        (None, Environment::Production) => {
            return Err(SettingsError::Incomplete {
                origin: sources.origins().of(&names::ENVIRONMENT),
                needs: "is production and needs an issuer: set SUPABASE_PROJECT_URL, \
                        BETTER_AUTH_URL, JWT_JWKS_URL or JWT_SECRET_KEY"
                    .to_owned(),
            });
        }
        (Some(settings), Environment::Production) => {
            strong_secret(sources, settings)?;
            untouched_keys(sources, settings)?;
        }
        (_, Environment::Development) => {}
    }
    Ok(settings.into_iter().collect())
}

fn supabase_issuer(sources: &Sources) -> Result<IssuerSettings, SettingsError> {
    let project = sources
        .find(&names::SUPABASE_PROJECT_URL)
        .map(|found| web_url(&found))
        .transpose()?;
    let secret = sources
        .find(&names::SUPABASE_JWT_SECRET)
        .map(|found| hmac_secret(&found))
        .transpose()?;
    let issuer = project
        .as_ref()
        .map(|url| format!("{}/auth/v1", without_slash(url)));
    let jwks_url = issuer
        .as_ref()
        .map(|issuer| below(issuer, "/.well-known/jwks.json"));
    Ok(IssuerSettings {
        name: "supabase".to_owned(),
        audience: Some("authenticated".to_owned()),
        user_claim: "sub".to_owned(),
        email_claim: None,
        name_claim: None,
        admin: None,
        required_claims: Vec::new(),
        previous_secret: None,
        algorithms: verifiable(
            secret.is_some(),
            jwks_url.is_some(),
            &[Algorithm::ES256, Algorithm::RS256],
        ),
        issuer,
        secret,
        jwks_url,
    })
}

fn better_auth_issuer(found: &Found) -> Result<IssuerSettings, SettingsError> {
    let url = web_url(found)?;
    let base = without_slash(&url);
    Ok(IssuerSettings {
        name: "better-auth".to_owned(),
        issuer: Some(base.to_owned()),
        audience: Some(base.to_owned()),
        user_claim: "sub".to_owned(),
        email_claim: None,
        name_claim: None,
        admin: None,
        required_claims: Vec::new(),
        previous_secret: None,
        secret: None,
        jwks_url: Some(below(base, "/api/auth/jwks")),
        algorithms: vec![Algorithm::EdDSA],
    })
}

fn generic_issuer(sources: &Sources) -> Result<Option<IssuerSettings>, SettingsError> {
    let secret = sources.find(&names::JWT_SECRET_KEY);
    let jwks = sources.find(&names::JWT_JWKS_URL);
    if secret.is_none() && jwks.is_none() {
        let keyless = [
            &names::JWT_ISSUER,
            &names::JWT_AUDIENCE,
            &names::JWT_USER_CLAIM,
            &names::JWT_ALGORITHM,
        ];
        return match keyless
            .into_iter()
            .find_map(|setting| sources.find(setting))
        {
            Some(found) => Err(SettingsError::Incomplete {
                origin: found.origin,
                needs: "needs a key to check tokens with: set JWT_SECRET_KEY or JWT_JWKS_URL"
                    .to_owned(),
            }),
            None => Ok(None),
        };
    }
    let verifiable = verifiable(
        secret.is_some(),
        jwks.is_some(),
        &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
    );
    Ok(Some(IssuerSettings {
        name: "jwt".to_owned(),
        issuer: text(sources, &names::JWT_ISSUER),
        audience: text(sources, &names::JWT_AUDIENCE),
        user_claim: text(sources, &names::JWT_USER_CLAIM).unwrap_or_else(|| "sub".to_owned()),
        email_claim: None,
        name_claim: None,
        admin: None,
        required_claims: Vec::new(),
        previous_secret: None,
        secret: secret.as_ref().map(hmac_secret).transpose()?,
        jwks_url: jwks.as_ref().map(web_url).transpose()?,
        algorithms: narrowed(sources, verifiable)?,
    }))
}

/// The preset, after every `JWT_` setting beside it was found to agree with it.
fn agreeing(
    sources: &Sources,
    preset: &Found,
    settings: IssuerSettings,
) -> Result<IssuerSettings, SettingsError> {
    let contradiction = |found: Found| SettingsError::Contradiction {
        first: preset.origin.clone(),
        second: found.origin,
        mend: "remove one of them; the first names an issuer and sets this itself".to_owned(),
    };
    let said = [
        (&names::JWT_ISSUER, settings.issuer.as_deref()),
        (&names::JWT_AUDIENCE, settings.audience.as_deref()),
        (&names::JWT_USER_CLAIM, Some(settings.user_claim.as_str())),
        (
            &names::JWT_JWKS_URL,
            settings.jwks_url.as_ref().map(Url::as_str),
        ),
    ];
    for (setting, value) in said {
        if let Some(found) = sources.find(setting)
            && value != Some(found.value.trim())
        {
            return Err(contradiction(found));
        }
    }
    if let Some(found) = sources.find(&names::JWT_SECRET_KEY) {
        let same = settings
            .secret
            .as_ref()
            .is_some_and(|secret| secret.expose_secret() == found.value.trim());
        if !same {
            return Err(match sources.find(&names::SUPABASE_JWT_SECRET) {
                Some(secret) => SettingsError::Contradiction {
                    first: secret.origin,
                    second: found.origin,
                    mend: "they are different secrets; keep the one that signs the tokens"
                        .to_owned(),
                },
                None => contradiction(found),
            });
        }
    }
    let algorithms = narrowed(sources, settings.algorithms)?;
    Ok(IssuerSettings {
        algorithms,
        ..settings
    })
}

fn text(sources: &Sources, setting: &'static names::Setting) -> Option<String> {
    sources
        .find(setting)
        .map(|found| found.value.trim().to_owned())
}

fn below(base: &str, path: &str) -> Url {
    Url::parse(&format!("{base}{path}")).expect("a checked URL with a plain path behind it")
}

fn verifiable(secret: bool, jwks: bool, by_jwks: &[Algorithm]) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    if secret {
        algorithms.push(Algorithm::HS256);
    }
    if jwks {
        algorithms.extend(by_jwks);
    }
    algorithms
}

/// The algorithms that `JWT_ALGORITHM` leaves of those that the keys can verify.
fn narrowed(
    sources: &Sources,
    verifiable: Vec<Algorithm>,
) -> Result<Vec<Algorithm>, SettingsError> {
    let Some(found) = sources.find(&names::JWT_ALGORITHM) else {
        return Ok(verifiable);
    };
    let mut chosen = Vec::new();
    for name in list(&found.value) {
        let algorithm = match name {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => {
                return Err(invalid(
                    &found,
                    format!("`{name}` is not one of HS256, RS256, ES256, EdDSA"),
                ));
            }
        };
        if !verifiable.contains(&algorithm) {
            let needs = if algorithm == Algorithm::HS256 {
                "is checked with a secret; set JWT_SECRET_KEY, or choose an algorithm of the key \
                 set"
            } else {
                "is checked with a key set that has such keys; set JWT_JWKS_URL, or choose HS256"
            };
            return Err(invalid(&found, format!("{name} {needs}")));
        }
        if !chosen.contains(&algorithm) {
            chosen.push(algorithm);
        }
    }
    Ok(chosen)
}

/// A public key taken for a secret would let anybody sign who can read it.
fn hmac_secret(found: &Found) -> Result<SecretString, SettingsError> {
    let secret = found.value.trim();
    if secret.starts_with("-----BEGIN") {
        return Err(invalid(
            found,
            "is a PEM key, not a shared secret; publish the public key as a key set and name it \
             in JWT_JWKS_URL"
                .to_owned(),
        ));
    }
    Ok(SecretString::from(secret))
}

fn strong_secret(sources: &Sources, settings: &IssuerSettings) -> Result<(), SettingsError> {
    let Some(secret) = &settings.secret else {
        return Ok(());
    };
    let bytes = secret.expose_secret().len();
    if bytes >= HS256_SECRET_BYTES {
        return Ok(());
    }
    let origins = sources.origins();
    let origin = origins
        .written(&names::SUPABASE_JWT_SECRET)
        .unwrap_or_else(|| origins.of(&names::JWT_SECRET_KEY));
    Err(SettingsError::Invalid {
        origin,
        problem: format!(
            "has {bytes} bytes, which can be guessed; production needs {HS256_SECRET_BYTES} or \
             more, in the issuer and here"
        ),
    })
}

/// Whoever can change a key set on its way here can sign in as anybody.
fn untouched_keys(sources: &Sources, settings: &IssuerSettings) -> Result<(), SettingsError> {
    let Some(url) = &settings.jwks_url else {
        return Ok(());
    };
    let here = match url.host() {
        Some(Host::Domain(host)) => host == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if here || url.scheme() == "https" {
        return Ok(());
    }
    let origins = sources.origins();
    Err(SettingsError::Invalid {
        origin: origins
            .written(&names::SUPABASE_PROJECT_URL)
            .or_else(|| origins.written(&names::BETTER_AUTH_URL))
            .unwrap_or_else(|| origins.of(&names::JWT_JWKS_URL)),
        problem: "must be https in production, because the keys of the issuer come from there"
            .to_owned(),
    })
}
