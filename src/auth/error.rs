//! What an authentication ends in when it does not end in an identity.
//!
//! Invariant: whoever offers a credential learns that it was refused, never which check refused
//! it. The check is for the log alone, and holds nothing of the credential.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the credential was not accepted")]
    Refused(Reason),
    /// The token may bear the signature of a key that cannot be known yet: none has ever been
    /// fetched, or it is too soon to ask for this one. It concerns this token alone.
    #[error("sign-in is not possible right now")]
    Unavailable {
        /// When the keys may be fetched again; at least a second.
        retry_after: Duration,
    },
}

/// Why a credential was refused: for the log, as [`Reason::as_str`] or `Debug`.
///
/// It cannot be matched on and is not `Display`, so that no answer comes to depend on it.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason {
    check: Check,
    judges: Vec<String>,
}

impl Reason {
    pub(super) fn of(check: Check, judge: &str) -> Self {
        Self {
            check,
            judges: vec![judge.to_owned()],
        }
    }

    /// That of several issuers which came closest to accepting the credential. `None`: of none.
    pub(super) fn furthest(reasons: Vec<Self>) -> Option<Self> {
        Some(Self {
            check: reasons.iter().map(|reason| reason.check).max()?,
            judges: reasons
                .into_iter()
                .flat_map(|reason| reason.judges)
                .collect(),
        })
    }

    pub fn as_str(&self) -> &'static str {
        self.check.as_str()
    }

    pub(super) fn check(&self) -> Check {
        self.check
    }

    /// The names of the issuers that judged it: none where it was not worth their while.
    pub fn judges(&self) -> &[String] {
        &self.judges
    }
}

impl From<Check> for Reason {
    fn from(check: Check) -> Self {
        Self {
            check,
            judges: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())?;
        if !self.judges.is_empty() {
            write!(formatter, " (judged by {})", self.judges.join(", "))?;
        }
        Ok(())
    }
}

/// The check that a credential did not pass, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    DevelopmentSignInOff,
    GatewayOff,
    GatewaySecret,
    ApiKey,
    TooLong,
    Malformed,
    CriticalHeader,
    Encrypted,
    Issuer,
    AnotherIssuers,
    Algorithm,
    KeysUnavailable,
    UnknownKey,
    Signature,
    MissingClaim,
    Expired,
    NotYetValid,
    Audience,
    RefreshToken,
    ClaimValue,
    User,
    DevelopmentName,
}

impl Check {
    pub(super) fn as_str(self) -> &'static str {
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
            Self::GatewaySecret => "the gateway's secret is wrong",
            Self::ApiKey => "API keys are not judged here",
            Self::AnotherIssuers => "the token says that another configured issuer made it",
            Self::KeysUnavailable => "the issuer's keys could not be fetched yet",
            Self::ClaimValue => "a required claim has another value",
            Self::GatewayOff => "no gateway is trusted",
            Self::DevelopmentSignInOff => "development sign-in is off",
            Self::DevelopmentName => "the development user name is unusable",
        }
    }
}

impl From<Check> for AuthError {
    fn from(check: Check) -> Self {
        Self::Refused(check.into())
    }
}
