//! Several servers as one: behind the proxies and poolers that the recipes of docs/ set up, by the
//! text of those recipes.

mod load;
mod pgbouncer;
mod proxies;
mod proxy;
mod streams;
