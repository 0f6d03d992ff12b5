//! Whose tokens are believed: Supabase, Better Auth, any other issuer by its `JWT_` settings, and
//! as many more as the settings file has `[[issuers]]` tables.
//!
//! `written` collects what was written of each issuer, `one` makes settings of it, and here they
//! stand side by side: which of them made a token must never be a matter of their order alone.

mod claims;
mod one;
mod written;

use secrecy::{ExposeSecret, SecretString};

use self::written::Written;
use super::{
    Environment, IssuerSettings, SettingsError,
    names::{self, issuer as key},
    sources::Sources,
    values::invalid,
};

/// So many bytes of a shared secret cannot be guessed: RFC 7518, section 3.2, asks for the size of
/// the hash.
const SECRET_BYTES: usize = 32;

pub(super) fn resolve(
    sources: &Sources,
    environment: Environment,
) -> Result<Vec<IssuerSettings>, SettingsError> {
    let mut resolved: Vec<(Written, IssuerSettings)> = Vec::new();
    for written in written::all(sources)? {
        let settings = one::resolve(&written, environment)?;
        for (other, before) in &resolved {
            told_apart((other, before), (&written, &settings))?;
        }
        resolved.push((written, settings));
    }
    Ok(resolved.into_iter().map(|(_, settings)| settings).collect())
}

/// What a trusted gateway proves itself with.
pub(super) fn gateway_secret(
    sources: &Sources,
    environment: Environment,
) -> Result<Option<SecretString>, SettingsError> {
    let Some(found) = sources.find(&names::GATEWAY_SECRET) else {
        return Ok(None);
    };
    let secret = found.value.trim();
    if environment == Environment::Development {
        return Err(invalid(
            &found,
            "is for production alone, where nobody else may name a user; remove it, or set \
             ENVIRONMENT=production"
                .to_owned(),
        ));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(
            &found,
            "must be sent in a header; write it in letters, digits and signs of ASCII, without \
             spaces"
                .to_owned(),
        ));
    }
    if secret.len() < SECRET_BYTES {
        return Err(invalid(
            &found,
            format!(
                "has {} bytes, which can be guessed; make it {SECRET_BYTES} or more",
                secret.len()
            ),
        ));
    }
    Ok(Some(SecretString::from(secret)))
}

fn told_apart(
    (first, one): (&Written, &IssuerSettings),
    (second, other): (&Written, &IssuerSettings),
) -> Result<(), SettingsError> {
    let contradiction = |key, mend: &str| {
        Err(SettingsError::Contradiction {
            first: first.origin_of(key),
            second: second.origin_of(key),
            mend: mend.to_owned(),
        })
    };
    if one.name == other.name {
        return contradiction(
            key::NAME,
            "both issuers have this name; give each a name of its own",
        );
    }
    if one.issuer.is_some() && one.issuer == other.issuer {
        if one.audience == other.audience {
            return contradiction(
                key::ISSUER,
                "both name the same issuer and audience; keep one of them",
            );
        }
        // Without an audience, one accepts what is meant for the other, too.
        if one.audience.is_none() || other.audience.is_none() {
            return contradiction(
                key::ISSUER,
                "both name the same issuer, and one names no audience; name the audience of each",
            );
        }
    }
    if one.issuer.is_some() || other.issuer.is_some() {
        return Ok(());
    }
    // Nothing in a token says which of the two made it: their keys must.
    if secrets(one).any(|secret| secrets(other).any(|other| secret == other)) {
        return contradiction(
            key::SECRET,
            "both issuers sign with the same secret and neither says what its tokens' iss is, so \
             that nobody could tell their users apart; name the iss of one",
        );
    }
    if one.jwks_url.is_some() && one.jwks_url == other.jwks_url {
        return contradiction(
            key::JWKS_URL,
            "both issuers have the same key set and neither says what its tokens' iss is, so that \
             nobody could tell their users apart; name the iss of one",
        );
    }
    Ok(())
}

fn secrets(settings: &IssuerSettings) -> impl Iterator<Item = &str> {
    [&settings.secret, &settings.previous_secret]
        .into_iter()
        .flatten()
        .map(SecretString::expose_secret)
}
