//! What may stand in a text that somebody wrote.

/// What is wrong with a text of at most `limit` characters (Unicode code points) that is to be
/// stored. It goes on from the argument's name.
pub fn text_problem(text: &str, limit: usize) -> Option<String> {
    if text.contains('\0') {
        return Some("must not hold the character U+0000".to_owned());
    }
    // A text of so few bytes cannot have more characters.
    if text.len() > limit {
        let length = text.chars().count();
        if length > limit {
            return Some(format!(
                "may have {limit} characters at most, and has {length}"
            ));
        }
    }
    None
}

/// The same, where an empty or blank text says nothing.
pub fn filled_text_problem(text: &str, limit: usize) -> Option<String> {
    text_problem(text, limit).or_else(|| {
        text.trim()
            .is_empty()
            .then(|| "must not be empty or blank".to_owned())
    })
}
