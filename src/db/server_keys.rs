//! Secrets that are the database's own, so that every process that uses it has the same ones.

use secrecy::SecretBox;

use super::{Database, DbError, SystemReason, SystemTx, error::during};

/// How long each of them is, in bytes.
const LENGTH: usize = 32;

impl Database {
    /// What the processes of this database seal their notices with.
    pub async fn broker_key(&self) -> Result<SecretBox<[u8; LENGTH]>, DbError> {
        let mut tx = self.system_tx(SystemReason::Keys).await?;
        let key = tx.server_key("broker").await?;
        tx.commit().await?;
        let key = key
            .try_into()
            .map_err(|_| DbError::Corrupt { column: "key" })?;
        Ok(SecretBox::new(Box::new(key)))
    }
}

impl SystemTx {
    pub(super) async fn server_key(&mut self, name: &'static str) -> Result<Vec<u8>, DbError> {
        sqlx::query_scalar("select key from chat.server_keys where name = $1")
            .bind(name)
            .fetch_one(&mut *self.tx)
            .await
            .map_err(during("read a key of the database's own"))
    }
}
