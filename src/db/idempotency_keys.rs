use uuid::Uuid;

use super::{DbError, ViewerTx, error::during};
use crate::model::{ConversationId, MessageId};

/// The mutations that take an idempotency key. A key is one user's and one mutation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    StartChat,
    SendMessage,
    EditMessage,
    RegenerateReply,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::StartChat => "startChat",
            Self::SendMessage => "sendMessage",
            Self::EditMessage => "editMessage",
            Self::RegenerateReply => "regenerateReply",
        }
    }
}

/// What a mutation made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyResult {
    pub conversation_id: ConversationId,
    pub greeting_id: Option<MessageId>,
    pub user_message_id: Option<MessageId>,
    pub reply_id: Option<MessageId>,
}

/// Whether a key is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimedKey {
    /// It is this transaction's now; [`ViewerTx::complete_key`] must follow.
    Fresh,
    /// An earlier call took it, and made this.
    Taken {
        fingerprint: Vec<u8>,
        result: KeyResult,
    },
}

impl ViewerTx {
    /// Takes the key, or tells what the call that took it first has made. Waits for a call that
    /// is about to take the same key.
    pub async fn claim_key(
        &mut self,
        operation: Operation,
        key: &str,
        fingerprint: &[u8],
    ) -> Result<ClaimedKey, DbError> {
        let inserted = sqlx::query(
            "insert into chat.idempotency_keys (user_id, operation, key, fingerprint) \
             values ($1, $2, $3, $4) on conflict do nothing",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(operation.as_str())
        .bind(key)
        .bind(fingerprint)
        .execute(&mut *self.tx)
        .await
        .map_err(during("claim an idempotency key"))?;
        if inserted.rows_affected() > 0 {
            return Ok(ClaimedKey::Fresh);
        }
        let row: KeyRow = sqlx::query_as(
            "select fingerprint, conversation_id, greeting_id, user_message_id, reply_id \
             from chat.idempotency_keys where user_id = $1 and operation = $2 and key = $3",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(operation.as_str())
        .bind(key)
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("read an idempotency key"))?;
        let conversation_id = row.conversation_id.ok_or(DbError::Corrupt {
            column: "idempotency_keys.conversation_id",
        })?;
        Ok(ClaimedKey::Taken {
            fingerprint: row.fingerprint,
            result: KeyResult {
                conversation_id: ConversationId::from_uuid(conversation_id),
                greeting_id: row.greeting_id.map(MessageId::from_uuid),
                user_message_id: row.user_message_id.map(MessageId::from_uuid),
                reply_id: row.reply_id.map(MessageId::from_uuid),
            },
        })
    }

    /// Notes what the call that claimed the key has made.
    pub async fn complete_key(
        &mut self,
        operation: Operation,
        key: &str,
        result: &KeyResult,
    ) -> Result<(), DbError> {
        sqlx::query(
            "update chat.idempotency_keys set conversation_id = $4, greeting_id = $5, \
               user_message_id = $6, reply_id = $7 \
             where user_id = $1 and operation = $2 and key = $3",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(operation.as_str())
        .bind(key)
        .bind(result.conversation_id.uuid())
        .bind(result.greeting_id.map(MessageId::uuid))
        .bind(result.user_message_id.map(MessageId::uuid))
        .bind(result.reply_id.map(MessageId::uuid))
        .execute(&mut *self.tx)
        .await
        .map_err(during("complete an idempotency key"))?;
        Ok(())
    }

    /// Starts the last day of the keys whose messages are about to be deleted; with
    /// `and_start`, of the key that started the conversation too.
    pub async fn retire_keys(
        &mut self,
        conversation_id: ConversationId,
        and_start: bool,
    ) -> Result<(), DbError> {
        sqlx::query(
            "update chat.idempotency_keys set deleted_at = clock_timestamp() \
             where user_id = $1 and conversation_id = $2 and deleted_at is null \
               and ($3 or operation <> $4)",
        )
        .bind(self.viewer.user_id().uuid())
        .bind(conversation_id.uuid())
        .bind(and_start)
        .bind(Operation::StartChat.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(during("retire idempotency keys"))?;
        Ok(())
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    fingerprint: Vec<u8>,
    conversation_id: Option<Uuid>,
    greeting_id: Option<Uuid>,
    user_message_id: Option<Uuid>,
    reply_id: Option<Uuid>,
}
