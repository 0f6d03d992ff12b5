//! Whom this server has deleted, as far as that must still be known: a keyed hash of who they were,
//! and when. Without the key, which only the system's role can read, nobody can tell from a name
//! whether its bearer was here.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use uuid::Builder;

use super::{DbError, SystemTx, error::during};
use crate::model::UserId;

/// The name of the key that it is keyed with.
const KEY: &str = "tombstones";

/// Who somebody is to their issuer, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubjectHash([u8; 32]);

impl SubjectHash {
    /// Each part goes behind its length, so that no two pairs read the same.
    fn new(key: &[u8], issuer: &str, external_id: &str) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for part in [issuer, external_id] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        Self(hash)
    }
}

impl SystemTx {
    /// What stands in the place of a deleted user: always the same, and without the key nobody can
    /// tell whose it is.
    pub(super) async fn pseudonym(&mut self, user_id: UserId) -> Result<UserId, DbError> {
        let key = self.server_key(KEY).await?;
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
        // No subject reads like this: it would begin with a length.
        context.update(b"the pseudonym of ");
        context.update(user_id.uuid().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.sign().as_ref()[..16]);
        Ok(UserId::from_uuid(
            Builder::from_custom_bytes(bytes).into_uuid(),
        ))
    }

    pub(super) async fn subject_hash(
        &mut self,
        issuer: &str,
        external_id: &str,
    ) -> Result<SubjectHash, DbError> {
        let key = self.server_key(KEY).await?;
        Ok(SubjectHash::new(&key, issuer, external_id))
    }

    /// When this person was last deleted, if ever.
    pub(super) async fn last_deletion(
        &mut self,
        subject: SubjectHash,
    ) -> Result<Option<DateTime<Utc>>, DbError> {
        sqlx::query_scalar("select max(deleted_at) from chat.tombstones where subject_hash = $1")
            .bind(subject.0.as_slice())
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("look for a tombstone"))
    }

    pub(super) async fn insert_tombstone(
        &mut self,
        user_id: UserId,
        subject: SubjectHash,
        deleted_at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        sqlx::query(
            "insert into chat.tombstones (user_id, subject_hash, deleted_at) values ($1, $2, $3)",
        )
        .bind(user_id.uuid())
        .bind(subject.0.as_slice())
        .bind(deleted_at)
        .execute(&mut *self.tx)
        .await
        .map_err(during("store a tombstone"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_belongs_to_one_issuer_one_id_and_one_key() {
        let hash = SubjectHash::new(&[1; 32], "supabase", "ann");
        assert_eq!(hash, SubjectHash::new(&[1; 32], "supabase", "ann"));
        for other in [
            SubjectHash::new(&[2; 32], "supabase", "ann"),
            SubjectHash::new(&[1; 32], "supabas", "eann"),
            SubjectHash::new(&[1; 32], "django", "ann"),
            SubjectHash::new(&[1; 32], "ann", "supabase"),
        ] {
            assert_ne!(hash, other);
        }
    }
}
