//! A token taken apart, of which nothing is believed yet.
//!
//! Invariant: what stands here chooses who judges the token, and nothing else.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Header, decode_header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::error::Check;

/// Longer tokens are refused unread, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

pub(super) struct Token<'a> {
    pub text: &'a str,
    pub header: Header,
    /// The issuer that it says it is from.
    pub issuer: Option<String>,
}

impl<'a> Token<'a> {
    pub fn read(text: &'a str) -> Result<Self, Check> {
        #[derive(Deserialize)]
        struct Names {
            iss: Option<Value>,
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Check::TooLong);
        }
        // `none` and whatever else is no algorithm of the library's ends here.
        let header = decode_header(text).map_err(|_| Check::Malformed)?;
        // `b64` belongs into `crit` (RFC 7797, section 6); without it, two readers of one token
        // could see two payloads.
        if header.crit.is_some() || !matches!(header.extras.get("b64"), Ok(None | Some(true))) {
            return Err(Check::CriticalHeader);
        }
        if header.enc.is_some() || header.zip.is_some() {
            return Err(Check::Encrypted);
        }
        let names: Names = part(text, 1).ok_or(Check::Malformed)?;
        let issuer = match names.iss {
            None => None,
            Some(Value::String(issuer)) => Some(issuer),
            // RFC 7519 knows one issuer; a list could name one that it is not from.
            Some(_) => return Err(Check::Issuer),
        };
        Ok(Self {
            text,
            header,
            issuer,
        })
    }

    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }
}

/// What a token says of itself, whether or not it is true, for somebody who holds it and asks why
/// it is refused. Without its signature, so that it is no token any more.
#[derive(Clone, PartialEq)]
pub struct Unverified {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

impl Unverified {
    /// `None`: it is too long, or not the three parts of a JWT.
    pub fn read(token: &str) -> Option<Self> {
        let is_whole = token.len() <= MAX_TOKEN_BYTES && token.split('.').count() == 3;
        is_whole.then_some(())?;
        Some(Self {
            header: part(token, 0)?,
            claims: part(token, 1)?,
        })
    }
}

/// The names alone: a claim may be an e-mail address.
impl std::fmt::Debug for Unverified {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_set()
            .entries(self.header.keys())
            .entries(self.claims.keys())
            .finish()
    }
}

fn part<T: DeserializeOwned>(token: &str, index: usize) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(token.split('.').nth(index)?).ok()?;
    serde_json::from_slice(&json).ok()
}
