//! The same key with the same input gives the same answer and starts nothing.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::ChatError;
use crate::{
    db::{ClaimedKey, KeyResult, Operation, ViewerTx},
    model::{Message, MessageId},
};

/// What a key stands for: a digest of the other input fields.
pub fn fingerprint(input: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(input).expect("texts and ids always become JSON");
    Sha256::digest(json).to_vec()
}

/// Whether an earlier call with this key did the work already, and what it made then.
pub async fn claim(
    tx: &mut ViewerTx,
    operation: Operation,
    key: Option<&str>,
    fingerprint: &[u8],
) -> Result<Option<KeyResult>, ChatError> {
    let Some(key) = key else { return Ok(None) };
    match tx.claim_key(operation, key, fingerprint).await? {
        ClaimedKey::Fresh => Ok(None),
        ClaimedKey::Taken {
            fingerprint: taken,
            result,
        } if taken == fingerprint => Ok(Some(result)),
        ClaimedKey::Taken { .. } => Err(ChatError::KeyReused),
    }
}

/// What the call with this key has made, to be found by the next one.
pub async fn complete(
    tx: &mut ViewerTx,
    operation: Operation,
    key: Option<&str>,
    made: KeyResult,
) -> Result<(), ChatError> {
    if let Some(key) = key {
        tx.complete_key(operation, key, &made).await?;
    }
    Ok(())
}

/// One of the messages that a call made; `None` where it made none, or it is gone.
pub async fn message_of(
    tx: &mut ViewerTx,
    id: Option<MessageId>,
) -> Result<Option<Message>, ChatError> {
    match id {
        Some(id) => Ok(tx.message(id).await?),
        None => Ok(None),
    }
}
