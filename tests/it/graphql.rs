//! The schema over the chat.

mod answers;
mod pages;
