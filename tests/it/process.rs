//! The whole server, as its users and its operators have it: processes that crash, stop and share
//! a database, and clients over real HTTP and real sockets.

mod crash;
mod drain;
mod endings;
mod hostile;
mod issuers;
mod limits;
mod pair;
mod sign_in;
mod trio;
