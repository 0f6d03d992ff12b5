//! One type an id, so that a `ConversationId` never fits where a `MessageId` goes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh UUIDv7: ids made later sort later.
            #[expect(clippy::new_without_default, reason = "an id is made on purpose, never by default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A user of one issuer.
    UserId
);
id!(
    /// A conversation of one user.
    ConversationId
);
id!(
    /// A message of one conversation. A reply has the id of the message that it writes.
    MessageId
);
id!(
    /// An API key of one user.
    ApiKeyId
);
id!(
    /// One line of the audit log.
    AuditEventId
);
id!(
    /// One start of the server: the owner named in a reply's lease.
    ProcessId
);
