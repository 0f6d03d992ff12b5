//! What processes tell each other: by every kind of broker the same, and whatever happens to it.

mod failover;
mod kinds;
mod listener;
mod notices;
mod outages;
mod replies;
mod server;
