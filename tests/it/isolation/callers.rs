//! Who tries, and what each of them may expect in general.

use super::stage::Credential;

/// Whoever is not the owner, signed in as their owner would like it least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// Another user, with a token and every right over their own things.
    SecondUser,
    Anonymous,
    Admin,
}

impl Caller {
    pub const ALL: [Self; 3] = [Self::SecondUser, Self::Anonymous, Self::Admin];

    /// The head of the column in the matrix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecondUser => "second user",
            Self::Anonymous => "anonymous",
            Self::Admin => "admin",
        }
    }

    pub fn credential(self) -> Credential {
        match self {
            Self::SecondUser => Credential::token("bob"),
            Self::Anonymous => Credential::None,
            Self::Admin => Credential::admin("root"),
        }
    }
}
