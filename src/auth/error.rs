//! What an authentication ends in when it does not end in an identity.
//!
//! Invariant: whoever offers a credential learns that it was refused, never which check refused
//! it. The check is for the log alone, and holds nothing of the credential.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the credential was not accepted")]
    Refused(Reason),
    /// The issuer's keys have never been fetched, so that no token can be judged.
    #[error("sign-in is not possible right now")]
    Unavailable {
        /// When the next attempt to fetch them is due; at least a second.
        retry_after: Duration,
    },
}

/// Why a credential was refused: for the log, as [`Reason::as_str`] or `Debug`.
///
/// It cannot be matched on and is not `Display`, so that no answer comes to depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reason(Check);

impl Reason {
    pub fn as_str(self) -> &'static str {
        self.0.as_str()
    }
}

impl std::fmt::Debug for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The check that a credential did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    TooLong,
    Malformed,
    Algorithm,
    CriticalHeader,
    Encrypted,
    UnknownKey,
    Signature,
    Expired,
    NotYetValid,
    Issuer,
    Audience,
    MissingClaim,
    RefreshToken,
    User,
    DevelopmentSignInOff,
    DevelopmentName,
}

impl Check {
    fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the algorithm is not accepted",
            Self::CriticalHeader => "the header has critical extensions",
            Self::Encrypted => "the token says that it is encrypted or compressed",
            Self::UnknownKey => "no published key fits",
            Self::Signature => "the signature is wrong",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is from the future",
            Self::Issuer => "the issuer is another",
            Self::Audience => "the audience is another",
            Self::MissingClaim => "a required claim is missing",
            Self::RefreshToken => "it is a refresh token",
            Self::User => "the user claim is missing or unusable",
            Self::DevelopmentSignInOff => "development sign-in is off",
            Self::DevelopmentName => "the development user name is unusable",
        }
    }
}

impl From<Check> for AuthError {
    fn from(check: Check) -> Self {
        Self::Refused(Reason(check))
    }
}
