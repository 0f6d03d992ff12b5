//! Tokens that have been verified, so that one that comes with every request is verified once.
//!
//! Invariant: what comes out is what verification would say now. A token is only ever put in after
//! it has passed; it is served until it expires, and as long as the keys that verified it are the
//! issuer's. Whether its user still may sign in is asked of the database each time, elsewhere. The
//! token itself is not kept, only its digest.

use std::{sync::Arc, time::SystemTime};

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::{Identity, token::MAX_TOKEN_BYTES};

/// What comes in beyond it takes the place of what has been least used; at 1 kB each, 10 MB.
const CAPACITY: usize = 10_000;

/// SHA-256: nobody finds two tokens of one digest.
type TokenDigest = [u8; 32];

/// Identities by their tokens, each with the `Proof` that names the keys which verified it.
pub(super) struct TokenCache<Proof> {
    entries: Cache<TokenDigest, (Arc<Identity>, Proof)>,
}

impl<Proof: Clone> TokenCache<Proof> {
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: Cache::new(capacity),
        }
    }

    /// The identity that the token proves at `now`, if `holds` still says so of its proof.
    pub fn get(
        &self,
        token: &str,
        now: SystemTime,
        holds: impl FnOnce(&Proof) -> bool,
    ) -> Option<Arc<Identity>> {
        if token.len() > MAX_TOKEN_BYTES {
            // It has never passed, and is not worth a digest.
            return None;
        }
        let digest = digest(token);
        let (identity, proof) = self.entries.get(&digest)?;
        if identity.is_valid_at(now) && holds(&proof) {
            return Some(identity);
        }
        self.entries.remove(&digest);
        None
    }

    /// For a token that has passed.
    pub fn insert(&self, token: &str, identity: Arc<Identity>, proof: Proof) {
        self.entries.insert(digest(token), (identity, proof));
    }
}

impl<Proof> std::fmt::Debug for TokenCache<Proof> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenCache")
    }
}

fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{Issued, PolicyClaims};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Proven until the second 1000.
    fn identity(user: &str) -> Arc<Identity> {
        Arc::new(Identity {
            issuer: "test".to_owned(),
            external_id: user.to_owned(),
            email: None,
            display_name: None,
            claims: PolicyClaims::default(),
            is_admin: false,
            issued: Issued::Unsaid,
            expires_at: Some(at(1_000)),
        })
    }

    fn user(found: Option<Arc<Identity>>) -> Option<String> {
        found.map(|identity| identity.external_id.clone())
    }

    #[test]
    fn a_token_is_served_until_the_instant_it_expires() {
        let cache = TokenCache::new();
        cache.insert("a.b.c", identity("ada"), 1);
        let just_before = at(1_000) - Duration::from_nanos(1);
        assert_eq!(
            user(cache.get("a.b.c", just_before, |_| true)).as_deref(),
            Some("ada")
        );
        assert_eq!(user(cache.get("a.b.c", at(1_000), |_| true)), None);
        // It is gone, also for a clock that is set back.
        assert_eq!(user(cache.get("a.b.c", at(1), |_| true)), None);
    }

    #[test]
    fn a_token_is_served_as_long_as_its_proof_holds() {
        let cache = TokenCache::new();
        cache.insert("a.b.c", identity("ada"), 1);
        let of = |generation: u64| {
            let cache = &cache;
            move |token| user(cache.get(token, at(0), |proof| *proof == generation))
        };
        assert_eq!(of(1)("a.b.c").as_deref(), Some("ada"));
        assert_eq!(of(2)("a.b.c"), None);
        assert_eq!(of(1)("a.b.c"), None, "it does not come back with its keys");
        cache.insert("a.b.c", identity("ada"), 2);
        assert_eq!(of(2)("a.b.c").as_deref(), Some("ada"));
    }

    #[test]
    fn tokens_that_differ_in_one_bit_share_nothing() {
        let cache = TokenCache::new();
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
        cache.insert(token, identity("ada"), 1);
        for position in 0..token.len() {
            for bit in 0..7 {
                let mut other = token.as_bytes().to_vec();
                other[position] ^= 1 << bit;
                let other = String::from_utf8(other).expect("ASCII");
                assert_eq!(user(cache.get(&other, at(0), |_| true)), None, "{other}");
            }
        }
        for other in [
            &token[1..],
            &token[..token.len() - 1],
            &format!("{token}="),
            "",
        ] {
            assert_eq!(user(cache.get(other, at(0), |_| true)), None, "{other}");
        }
        assert!(user(cache.get(token, at(0), |_| true)).is_some());
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_what_it_holds_is_right() {
        let cache = TokenCache::with_capacity(100);
        for n in 0..10_000 {
            cache.insert(&format!("token {n}"), identity(&format!("user {n}")), 1);
            assert!(
                cache.entries.len() <= 100,
                "{} entries",
                cache.entries.len()
            );
        }
        let kept = (0..10_000)
            .filter_map(|n| Some((n, user(cache.get(&format!("token {n}"), at(0), |_| true))?)))
            .inspect(|(n, user)| assert_eq!(*user, format!("user {n}")))
            .count();
        assert!((50..=100).contains(&kept), "{kept} kept");
    }

    #[test]
    fn neither_tokens_nor_users_show_in_its_debug_text() {
        let cache = TokenCache::new();
        cache.insert("a.b.c", identity("ada"), 1);
        assert_eq!(format!("{cache:?}"), "TokenCache");
    }
}
