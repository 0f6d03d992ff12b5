//! What a request takes up in memory, by what can be seen of it before it is read.
//!
//! Texts grow when they are parsed: a bracket of a byte becomes a list of some hundred. The figures
//! are what the libraries' types come to, rounded up.

/// Whatever the request: its tasks, its loaders, its place in lists.
const LEAST: usize = 8 << 10;

/// Each token of a document, as the library keeps it for as long as the operation runs.
const TOKEN: usize = 320;

/// Each field of an answer, beside texts, while the answer is put together.
const FIELD: usize = 128;

/// A request of so many bytes that nothing is known of yet.
pub(super) fn of_bytes(bytes: usize) -> usize {
    LEAST + bytes
}

/// A request of this JSON: its text twice, while it is read, and what its values are kept in.
/// Brackets in strings count, too: whoever looks for the ends of strings reads JSON.
pub(super) fn of_json(text: &[u8]) -> usize {
    let structure = text.iter().map(|byte| match byte {
        b'[' | b':' => 320,
        b'{' => 640,
        b',' => 192,
        _ => 0,
    });
    of_bytes(2 * text.len() + structure.sum::<usize>())
}

/// The same of a query string, whose values may be JSON.
pub(super) fn of_query_string(query: &str) -> usize {
    let values = url::form_urlencoded::parse(query.as_bytes());
    values.map(|(_, value)| of_json(value.as_bytes())).sum()
}

/// A document, beside the request that brought or named it.
pub(super) fn of_document(text: &str, tokens: u64) -> usize {
    text.len().saturating_add(times(tokens, TOKEN))
}

/// An answer that costs so much, without its texts.
pub(super) fn of_answer(cost: u64) -> usize {
    times(cost, FIELD)
}

fn times(many: u64, each: usize) -> usize {
    usize::try_from(many)
        .unwrap_or(usize::MAX)
        .saturating_mul(each)
}

#[cfg(test)]
mod tests {
    use super::{of_json, of_query_string};

    #[test]
    fn what_grows_when_it_is_read_weighs_more_than_its_text() {
        let deep = "[".repeat(1_000);
        assert!(of_json(deep.as_bytes()) > 300_000);
        assert!(of_query_string(&format!("variables={deep}")) > 300_000);
        assert!(of_query_string(&format!("variables={}", "%5B".repeat(1_000))) > 300_000);
        assert!(of_json("a".repeat(1_000).as_bytes()) < 20_000);
    }
}
