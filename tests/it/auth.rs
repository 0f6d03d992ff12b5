//! Who is let in, and who is not: tokens, key sets, headers and development names.

mod accepted_before;
mod credentials;
mod development;
mod gateway;
mod hostile;
pub mod issuer;
mod issuers;
mod jwks;
mod jwks_hostile;
pub mod jwks_server;
mod presets;
mod server;
