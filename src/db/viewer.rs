use std::{fmt, sync::Arc};

use crate::{
    auth::PolicyClaims,
    model::{Access, UserId},
};

/// A signed-in user: the key that opens a transaction on that user's rows.
///
/// Made in this folder alone: from a verified identity
/// ([`Database::sign_in`](super::Database::sign_in)), from a run that such a viewer started and that
/// outlived its process, or from the row of a user who is being deleted.
#[derive(Clone)]
pub struct Viewer {
    user_id: UserId,
    /// JSON, as hexadecimal digits: it is interpolated into the first message of a transaction,
    /// where a claim's own text must never stand.
    claims_hex: Arc<str>,
    claims: Arc<PolicyClaims>,
    access: Access,
}

impl Viewer {
    pub(super) fn new(user_id: UserId, claims: PolicyClaims, access: Access) -> Self {
        let json = serde_json::to_vec(&claims).expect("three strings always become JSON");
        Self {
            user_id,
            claims_hex: hex::encode(json).into(),
            claims: Arc::new(claims),
            access,
        }
    }

    /// What the credential allows that this viewer came with.
    pub fn access(&self) -> Access {
        self.access
    }

    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    pub(super) fn claims(&self) -> &PolicyClaims {
        &self.claims
    }

    pub(super) fn claims_hex(&self) -> &str {
        &self.claims_hex
    }
}

/// The claims stay out of logs.
impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}
