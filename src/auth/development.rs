//! Sign-in without an issuer, in development alone: any name is believed, and tokens that this
//! server's own key has signed.
//!
//! That the name comes from this machine is held by the HTTP layer, which answers nothing but
//! loopback in development.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jsonwebtoken::Algorithm;
use secrecy::SecretString;

use super::{AuthError, Identity, Issued, PolicyClaims, claims, error::Check};
use crate::config::{ClaimRule, ClaimValue, IssuerSettings};

/// The issuer that users of development bear, whether named or signed.
pub(super) const NAME: &str = "development";
/// `iss` of the tokens that the development key signs.
const ISSUER: &str = "loquat-development";
const KEY_FILE: &str = "development.key";
const KEY_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum DevelopmentKeyError {
    #[error(
        "could not read or make {}: make LOQUAT_DATA_DIR a folder that may be written: {source}",
        path.display()
    )]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not a development key: delete it, a new one will be made", path.display())]
    Malformed { path: PathBuf },
}

/// This server as its own issuer. The key is made on first use and kept in the data folder, so
/// that `loquat token` signs what the running server accepts.
pub(super) fn issuer(data_dir: &Path) -> Result<IssuerSettings, DevelopmentKeyError> {
    Ok(IssuerSettings {
        name: NAME.to_owned(),
        issuer: Some(ISSUER.to_owned()),
        audience: None,
        user_claim: "sub".to_owned(),
        email_claim: None,
        name_claim: None,
        admin: Some(ClaimRule {
            claim: "admin".to_owned(),
            value: ClaimValue::True,
        }),
        required_claims: Vec::new(),
        previous_secret: None,
        secret: Some(key(data_dir)?),
        jwks_url: None,
        algorithms: vec![Algorithm::HS256],
    })
}

/// Whether a key was made already, by whose tokens somebody may come.
pub(super) fn has_key(data_dir: &Path) -> bool {
    data_dir.join(KEY_FILE).exists()
}

/// Believes a name.
pub(super) fn identity(name: &str) -> Result<Identity, AuthError> {
    let name = name.trim();
    if !claims::is_user_id(name) || name.chars().any(char::is_control) {
        return Err(Check::DevelopmentName.into());
    }
    Ok(Identity {
        issuer: NAME.to_owned(),
        external_id: name.to_owned(),
        email: None,
        display_name: Some(name.to_owned()),
        claims: PolicyClaims {
            sub: name.to_owned(),
            role: None,
            iss: Some(ISSUER.to_owned()),
        },
        is_admin: false,
        issued: Issued::Now,
        expires_at: None,
    })
}

/// The hexadecimal key, read or made.
fn key(data_dir: &Path) -> Result<SecretString, DevelopmentKeyError> {
    let path = data_dir.join(KEY_FILE);
    let at = |source| DevelopmentKeyError::Io {
        path: path.clone(),
        source,
    };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(data_dir, &path).map_err(at)?;
            fs::read_to_string(&path).map_err(at)?
        }
        read => read.map_err(at)?,
    };
    let key = text.trim();
    match hex::decode(key) {
        Ok(bytes) if bytes.len() == KEY_BYTES => Ok(SecretString::from(key)),
        _ => Err(DevelopmentKeyError::Malformed { path }),
    }
}

/// Written whole under a name of its own, then linked: whoever looks sees no key or all of it,
/// and of two processes that make one at once, the first wins.
fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let draft = data_dir.join(format!(".{KEY_FILE}.{:032x}", rand::random::<u128>()));
    let key = hex::encode(rand::random::<[u8; KEY_BYTES]>());
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            writeln!(file, "{key}")?;
            file.sync_all()
        })
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    let removed = fs::remove_file(&draft);
    written.and(removed)
}
