//! The private PostgreSQL cluster: real `initdb` and `postgres`, and real deaths of their server.

mod accounts;
mod ends;
mod ground;
mod life;
mod refusals;
