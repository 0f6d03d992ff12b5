//! From what was written of one issuer to its settings.
//!
//! Beside a preset, a key may repeat or narrow what the preset says, never contradict it: a token
//! that passes must be one that the preset's issuer made.

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use secrecy::SecretString;
use url::{Host, Url};

use super::{
    super::{
        Environment, IssuerSettings, SettingsError,
        names::issuer::{self as key, IssuerKey},
        sources::Found,
        values::{invalid, list, web_url, without_slash},
    },
    SECRET_BYTES, claims,
    written::{Written, preset_says},
};

const NAME_CHARACTERS: usize = 255;

/// The issuers that the server is itself.
const OWN_NAMES: [&str; 2] = ["development", "gateway"];

/// Every algorithm that can be verified.
const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// What tokens must say, and by which key set.
struct Source {
    issuer: Option<String>,
    audience: Option<String>,
    user_claim: String,
    jwks_url: Option<Url>,
    /// Those of the key set that are accepted where nobody names any.
    by_key_set: &'static [Algorithm],
}

pub(super) fn resolve(
    written: &Written,
    environment: Environment,
) -> Result<IssuerSettings, SettingsError> {
    let source = match written.find(key::PRESET) {
        None => generic(written)?,
        Some(preset) => {
            let source = match preset.value.trim() {
                "supabase" => supabase(written)?,
                "better-auth" => better_auth(written)?,
                other => {
                    return Err(invalid(
                        preset,
                        format!("`{other}` is not one of supabase, better-auth"),
                    ));
                }
            };
            agreeing(written, &source)?;
            source
        }
    };
    let secret = hmac_secret(written, key::SECRET)?;
    let previous_secret = hmac_secret(written, key::PREVIOUS_SECRET)?;
    if secret.is_none()
        && let Some(previous) = written.find(key::PREVIOUS_SECRET)
    {
        return Err(SettingsError::Incomplete {
            origin: previous.origin.clone(),
            needs: format!(
                "needs the secret that replaces it: set {}",
                written.name_of(key::SECRET)
            ),
        });
    }
    if environment == Environment::Production {
        strong_secrets(written)?;
        untouched_keys(written, source.jwks_url.as_ref())?;
    }
    Ok(IssuerSettings {
        name: name(written)?,
        algorithms: algorithms(written, &source)?,
        issuer: source.issuer,
        audience: source.audience,
        user_claim: source.user_claim,
        email_claim: written.text(key::EMAIL_CLAIM),
        name_claim: written.text(key::NAME_CLAIM),
        admin: claims::admin(written)?,
        required_claims: claims::required(written)?,
        secret,
        previous_secret,
        jwks_url: source.jwks_url,
    })
}

fn name(written: &Written) -> Result<String, SettingsError> {
    let Some(found) = written.find(key::NAME) else {
        return Err(SettingsError::Incomplete {
            origin: written.origin.clone(),
            needs: "needs a name for its users to be known by: set name".to_owned(),
        });
    };
    let name = found.value.trim();
    if OWN_NAMES.contains(&name) {
        return Err(invalid(
            found,
            format!("`{name}` is what the server calls an issuer of its own; choose another"),
        ));
    }
    if name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) {
        return Err(invalid(
            found,
            format!("must have 1 to {NAME_CHARACTERS} characters, all on one line"),
        ));
    }
    Ok(name.to_owned())
}

fn supabase(written: &Written) -> Result<Source, SettingsError> {
    let project = written.find(key::URL).map(web_url).transpose()?;
    if project.is_none() && written.find(key::SECRET).is_none() {
        return Err(SettingsError::Incomplete {
            origin: written.origin_of(key::PRESET),
            needs: "needs the project: set url, or the project's legacy secret".to_owned(),
        });
    }
    let issuer = project
        .as_ref()
        .map(|url| format!("{}/auth/v1", without_slash(url)));
    Ok(Source {
        audience: Some("authenticated".to_owned()),
        user_claim: "sub".to_owned(),
        jwks_url: issuer
            .as_ref()
            .map(|issuer| below(issuer, "/.well-known/jwks.json")),
        by_key_set: &[Algorithm::ES256, Algorithm::RS256],
        issuer,
    })
}

fn better_auth(written: &Written) -> Result<Source, SettingsError> {
    let Some(found) = written.find(key::URL) else {
        return Err(SettingsError::Incomplete {
            origin: written.origin_of(key::PRESET),
            needs: "needs the base URL of the Better Auth server: set url".to_owned(),
        });
    };
    if let Some(secret) = written
        .find(key::SECRET)
        .or_else(|| written.find(key::PREVIOUS_SECRET))
    {
        return Err(preset_says(written, secret.origin.clone()));
    }
    let url = web_url(found)?;
    let base = without_slash(&url);
    Ok(Source {
        issuer: Some(base.to_owned()),
        audience: Some(base.to_owned()),
        user_claim: "sub".to_owned(),
        jwks_url: Some(below(base, "/api/auth/jwks")),
        by_key_set: &[Algorithm::EdDSA],
    })
}

fn generic(written: &Written) -> Result<Source, SettingsError> {
    if let Some(url) = written.find(key::URL) {
        return Err(SettingsError::Incomplete {
            origin: url.origin.clone(),
            needs: "needs the preset that it belongs to: set preset to supabase or better-auth, \
                    or name the key set by jwks_url"
                .to_owned(),
        });
    }
    let jwks = written.find(key::JWKS_URL);
    if written.find(key::SECRET).is_none() && jwks.is_none() {
        return Err(SettingsError::Incomplete {
            origin: written.origin.clone(),
            needs: format!(
                "needs a key to check tokens with: set {} or {}",
                written.name_of(key::SECRET),
                written.name_of(key::JWKS_URL)
            ),
        });
    }
    Ok(Source {
        issuer: written.text(key::ISSUER),
        audience: written.text(key::AUDIENCE),
        user_claim: claims::user(written)?.unwrap_or_else(|| "sub".to_owned()),
        jwks_url: jwks.map(web_url).transpose()?,
        by_key_set: &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
    })
}

/// Every key beside the preset was found to agree with it.
fn agreeing(written: &Written, preset: &Source) -> Result<(), SettingsError> {
    let said = [
        (key::ISSUER, preset.issuer.as_deref()),
        (key::AUDIENCE, preset.audience.as_deref()),
        (key::USER_CLAIM, Some(preset.user_claim.as_str())),
        (key::JWKS_URL, preset.jwks_url.as_ref().map(Url::as_str)),
    ];
    for (key, value) in said {
        if let Some(found) = written.find(key)
            && value != Some(found.value.trim())
        {
            return Err(preset_says(written, found.origin.clone()));
        }
    }
    Ok(())
}

fn below(base: &str, path: &str) -> Url {
    Url::parse(&format!("{base}{path}")).expect("a checked URL with a plain path behind it")
}

/// Those that were chosen, each of which some key can verify; else the usual ones of the keys.
fn algorithms(written: &Written, source: &Source) -> Result<Vec<Algorithm>, SettingsError> {
    let has_secret = written.find(key::SECRET).is_some();
    let Some(found) = written.find(key::ALGORITHMS) else {
        let mut usual = Vec::new();
        if has_secret {
            usual.push(Algorithm::HS256);
        }
        if source.jwks_url.is_some() {
            usual.extend(source.by_key_set);
        }
        return Ok(usual);
    };
    let mut chosen = Vec::new();
    for name in list(&found.value) {
        let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
        let Some((_, algorithm)) = known else {
            let names: Vec<_> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
            return Err(invalid(
                found,
                format!("`{name}` is not one of {}", names.join(", ")),
            ));
        };
        let by_secret = algorithm.family() == AlgorithmFamily::Hmac;
        if by_secret && !has_secret {
            return Err(invalid(
                found,
                format!(
                    "{name} is checked with a secret; set {}, or choose an algorithm of the key \
                     set",
                    written.name_of(key::SECRET)
                ),
            ));
        }
        if !by_secret && source.jwks_url.is_none() {
            return Err(invalid(
                found,
                format!(
                    "{name} is checked with a key set that has such keys; set {}, or choose HS256",
                    written.name_of(key::JWKS_URL)
                ),
            ));
        }
        if !chosen.contains(algorithm) {
            chosen.push(*algorithm);
        }
    }
    Ok(chosen)
}

/// A public key taken for a secret would let anybody sign who can read it.
fn hmac_secret(written: &Written, key: IssuerKey) -> Result<Option<SecretString>, SettingsError> {
    let Some(found) = written.find(key) else {
        return Ok(None);
    };
    let secret = found.value.trim();
    if secret.starts_with("-----BEGIN") {
        return Err(invalid(
            found,
            format!(
                "is a PEM key, not a shared secret; publish the public key as a key set and name \
                 it in {}",
                written.name_of(key::JWKS_URL)
            ),
        ));
    }
    Ok(Some(SecretString::from(secret)))
}

fn strong_secrets(written: &Written) -> Result<(), SettingsError> {
    for found in [key::SECRET, key::PREVIOUS_SECRET]
        .into_iter()
        .filter_map(|key| written.find(key))
    {
        let bytes = found.value.trim().len();
        if bytes < SECRET_BYTES {
            return Err(invalid(
                found,
                format!(
                    "has {bytes} bytes, which can be guessed; production needs {SECRET_BYTES} or \
                     more, in the issuer and here"
                ),
            ));
        }
    }
    Ok(())
}

/// Whoever can change a key set on its way here can sign in as anybody.
fn untouched_keys(written: &Written, url: Option<&Url>) -> Result<(), SettingsError> {
    let Some(url) = url else {
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
    Err(SettingsError::Invalid {
        origin: written
            .find(key::URL)
            .or_else(|| written.find(key::JWKS_URL))
            .map_or_else(
                || written.origin.clone(),
                |found: &Found| found.origin.clone(),
            ),
        problem: "must be https in production, because the keys of the issuer come from there"
            .to_owned(),
    })
}
