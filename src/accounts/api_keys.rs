//! API keys: how they are made, told, and found again.
//!
//! A key reads `loq_`, 12 letters and digits by which it is found, `_`, and 256 random bits. Only
//! its hash is stored, so it is shown once, to whoever makes it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{Accounts, AccountsError, Session, SignInError};
use crate::{
    auth::API_KEY_PREFIX,
    db::{Database, DbError, KeyRefusal, KeySignIn, NewApiKey, Viewer},
    model::{
        ApiKey, ApiKeyId, ApiKeyScope, AuditAction, Limit, Page, PageRequest, filled_text_problem,
    },
};

/// How many keys a user may have that are not revoked.
pub const MOST_KEYS: usize = 100;

/// The longest name of a key, in characters.
const NAME_LIMIT: usize = 255;

/// The digits of the part by which a key is found: 60 bits, so that no two are alike.
const LOOKUP_DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const LOOKUP_LENGTH: usize = 12;
const PREFIX_LENGTH: usize = API_KEY_PREFIX.len() + LOOKUP_LENGTH;
/// 32 bytes in base64url.
const SECRET_LENGTH: usize = 43;

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct CreateApiKey {
    pub name: String,
    pub scopes: Vec<ApiKeyScope>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that was just made, and the only time that it is told.
#[derive(Debug)]
pub struct CreatedApiKey {
    pub key: ApiKey,
    pub secret: SecretString,
}

impl Accounts {
    pub async fn create_api_key(
        &self,
        session: &Session,
        asked: CreateApiKey,
    ) -> Result<CreatedApiKey, AccountsError> {
        let access = session.viewer.access();
        if !access.in_person {
            self.note_denied(session, AuditAction::ApiKeyCreated);
            return Err(AccountsError::Forbidden(
                "An API key cannot make another: sign in yourself.",
            ));
        }
        let scopes = ApiKeyScope::normalized(&asked.scopes);
        check(&asked, &scopes)?;
        if scopes.contains(&ApiKeyScope::Admin) && !access.admin {
            self.note_denied(session, AuditAction::ApiKeyCreated);
            return Err(AccountsError::Forbidden(
                "Only an admin may make a key with the scope ADMIN.",
            ));
        }
        let secret = new_secret();
        let new = NewApiKey {
            id: ApiKeyId::new(),
            name: asked.name,
            prefix: prefix_of(&secret).expect("it was made that way").to_owned(),
            secret_hash: hash(&secret),
            scopes,
            expires_at: asked.expires_at,
        };
        let mut tx = self.database.viewer_tx(&session.viewer).await?;
        tx.lock_api_keys().await?;
        if tx.count_unrevoked_api_keys().await? >= MOST_KEYS as i64 {
            return Err(AccountsError::LimitExceeded {
                limit: Limit::ApiKeys,
                value: MOST_KEYS as u64,
                message: "You have 100 API keys already: revoke those that you do not need.",
            });
        }
        let key = tx.insert_api_key(&new).await?;
        tx.record(&session.did(AuditAction::ApiKeyCreated, key.id))
            .await?;
        tx.commit().await?;
        Ok(CreatedApiKey { key, secret })
    }

    /// Ends whatever came in with the key, on every replica. One that is revoked already is
    /// returned as it is.
    pub async fn revoke_api_key(
        &self,
        session: &Session,
        id: ApiKeyId,
    ) -> Result<ApiKey, AccountsError> {
        let viewer = &session.viewer;
        let mut tx = self.database.viewer_tx(viewer).await?;
        let key = match tx.revoke_api_key(id).await? {
            Some(revoked) => {
                tx.record(&session.did(AuditAction::ApiKeyRevoked, id))
                    .await?;
                revoked
            }
            None => tx
                .api_keys(&[id])
                .await?
                .pop()
                .ok_or(AccountsError::NotFound("API key"))?,
        };
        tx.commit().await?;
        self.sessions.end_key(viewer.user_id(), id);
        Ok(key)
    }

    /// Those of the ids that are the viewer's, in no order.
    pub async fn api_keys(
        &self,
        viewer: &Viewer,
        ids: &[ApiKeyId],
    ) -> Result<Vec<ApiKey>, AccountsError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let keys = tx.api_keys(ids).await?;
        tx.commit().await?;
        Ok(keys)
    }

    /// The newest first.
    pub async fn api_key_page(
        &self,
        viewer: &Viewer,
        request: PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey>, AccountsError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let page = tx.api_key_page(request).await?;
        tx.commit().await?;
        Ok(page)
    }

    pub async fn count_api_keys(&self, viewer: &Viewer) -> Result<i64, AccountsError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let count = tx.count_api_keys().await?;
        tx.commit().await?;
        Ok(count)
    }

    pub(super) async fn sign_in_by_key(
        &self,
        secret: &SecretString,
        address: Option<std::net::IpAddr>,
    ) -> Result<Session, SignInError> {
        let Some(prefix) = prefix_of(secret) else {
            return Err(SignInError::KeyRefused(KeyRefusal::Unknown));
        };
        let holder = match self.database.sign_in_by_key(prefix, &hash(secret)).await? {
            KeySignIn::Accepted(holder) => holder,
            KeySignIn::Refused(refusal) => return Err(SignInError::KeyRefused(refusal)),
            KeySignIn::Suspended(user_id) => return Err(SignInError::Suspended(user_id)),
        };
        let user_id = holder.viewer.user_id();
        Ok(Session {
            ended: self.sessions.register(user_id, Some(holder.key_id)),
            viewer: holder.viewer,
            expires_at: holder.expires_at.map(Into::into),
            credential: format!("api_key:{prefix}").into(),
            address,
        })
    }
}

/// What a sign-in by the key would come to, for somebody who only asks: it leaves no trace.
pub async fn rehearse_sign_in_by_key(
    database: &Database,
    secret: &SecretString,
) -> Result<KeySignIn, DbError> {
    match prefix_of(secret) {
        Some(prefix) => {
            database
                .rehearse_sign_in_by_key(prefix, &hash(secret))
                .await
        }
        None => Ok(KeySignIn::Refused(KeyRefusal::Unknown)),
    }
}

fn check(asked: &CreateApiKey, scopes: &[ApiKeyScope]) -> Result<(), AccountsError> {
    let refused = |argument, problem| Err(AccountsError::Invalid { argument, problem });
    if let Some(problem) = filled_text_problem(&asked.name, NAME_LIMIT) {
        return refused("name", problem);
    }
    if scopes.is_empty() {
        return refused("scopes", "must hold at least one scope".to_owned());
    }
    if asked.expires_at.is_some_and(|at| at <= Utc::now()) {
        return refused("expiresAt", "must be in the future".to_owned());
    }
    Ok(())
}

fn new_secret() -> SecretString {
    let mut secret = String::with_capacity(PREFIX_LENGTH + 1 + SECRET_LENGTH);
    secret.push_str(API_KEY_PREFIX);
    for byte in rand::random::<[u8; LOOKUP_LENGTH]>() {
        secret.push(char::from(LOOKUP_DIGITS[usize::from(byte % 32)]));
    }
    secret.push('_');
    BASE64_URL_SAFE_NO_PAD.encode_string(rand::random::<[u8; 32]>(), &mut secret);
    SecretString::from(secret)
}

/// What a key is found by; `None`: it is none of ours.
pub(super) fn prefix_of(secret: &SecretString) -> Option<&str> {
    let (prefix, rest) = secret.expose_secret().split_at_checked(PREFIX_LENGTH)?;
    let lookup = prefix.strip_prefix(API_KEY_PREFIX)?;
    let bits = rest.strip_prefix('_')?;
    let is_ours = lookup.bytes().all(|digit| LOOKUP_DIGITS.contains(&digit))
        && bits.len() == SECRET_LENGTH
        && bits
            .bytes()
            .all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'-' | b'_'));
    is_ours.then_some(prefix)
}

fn hash(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_is_found_by_its_beginning_and_holds_256_bits_of_chance() {
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let secret = new_secret();
            let text = secret.expose_secret();
            assert_eq!(text.len(), "loq_".len() + 12 + 1 + 43);
            assert_eq!(prefix_of(&secret), Some(&text[..16]));
            let bits = BASE64_URL_SAFE_NO_PAD.decode(&text[17..]).expect("base64");
            assert_eq!(bits.len(), 32);
            assert!(seen.insert(text[..16].to_owned()) && seen.insert(text[17..].to_owned()));
        }
    }

    #[test]
    fn whatever_is_not_written_as_a_key_is_not_looked_up() {
        let key = new_secret().expose_secret().to_owned();
        for (what, twisted) in [
            ("shorter", key[..59].to_owned()),
            ("longer", format!("{key}A")),
            ("in capitals", key.to_uppercase()),
            ("of another kind", key.replacen("loq_", "sk__", 1)),
            (
                "a letter of two bytes",
                format!("{}é{}", &key[..15], &key[17..]),
            ),
            ("no digits", format!("loq_{}{}", "-".repeat(12), &key[16..])),
            ("no lines", format!("{}-{}", &key[..16], &key[17..])),
            ("blanks", format!("{} {}", &key[..58], &key[59..])),
            ("the beginning", "loq_".to_owned()),
        ] {
            assert_eq!(prefix_of(&SecretString::from(twisted)), None, "{what}");
        }
    }
}
