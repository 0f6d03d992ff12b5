//! HTTP: the router and what it is made of.

pub mod page;
