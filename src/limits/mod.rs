//! What users may have at once.
//!
//! It must not know what they have it for: it counts, and says when there is too much.

mod presence;

pub use presence::{Charge, Place, Presence, PresenceLimits, Presences, TooMuch};
