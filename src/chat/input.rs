//! What users may write: lengths and characters. Each check names the argument that it refuses.

use super::ChatError;
use crate::model::{filled_text_problem, text_problem};

/// The longest texts, in characters (Unicode code points).
pub mod limits {
    pub const TITLE: usize = 255;
    pub const SYSTEM_PROMPT: usize = 32_000;
    pub const MODEL: usize = 255;
    pub const CONTENT: usize = 100_000;
    pub const IDEMPOTENCY_KEY: usize = 255;
    pub const FILTER: usize = 255;
    pub const COMMENT: usize = 2_000;
}

/// A text of at most `limit` characters that can be stored.
pub fn check_text(argument: &'static str, text: &str, limit: usize) -> Result<(), ChatError> {
    refused_for(argument, text_problem(text, limit))
}

/// The same, where an empty or blank text says nothing.
pub fn check_filled(argument: &'static str, text: &str, limit: usize) -> Result<(), ChatError> {
    refused_for(argument, filled_text_problem(text, limit))
}

pub fn check_optional(
    argument: &'static str,
    text: Option<&str>,
    limit: usize,
) -> Result<(), ChatError> {
    text.map_or(Ok(()), |text| check_text(argument, text, limit))
}

/// An idempotency key: 1 to 255 characters.
pub fn check_key(key: Option<&str>) -> Result<(), ChatError> {
    let Some(key) = key else { return Ok(()) };
    if key.is_empty() {
        let problem = "must have 1 to 255 characters".to_owned();
        return refused_for("idempotencyKey", Some(problem));
    }
    check_text("idempotencyKey", key, limits::IDEMPOTENCY_KEY)
}

fn refused_for(argument: &'static str, problem: Option<String>) -> Result<(), ChatError> {
    match problem {
        Some(problem) => Err(ChatError::Invalid { argument, problem }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters_not_bytes() {
        assert!(check_text("title", &"é".repeat(10), 10).is_ok());
        let refused = check_text("title", &"é".repeat(11), 10).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "title: may have 10 characters at most, and has 11"
        );
    }

    #[test]
    fn what_cannot_be_stored_or_says_nothing_is_refused_by_name() {
        assert!(check_text("title", "a\0b", 10).is_err());
        assert!(check_filled("content", " \n\t ", 10).is_err());
        assert!(check_filled("content", " a ", 10).is_ok());
        assert!(check_key(Some("")).is_err());
        assert!(check_key(None).is_ok());
    }
}
