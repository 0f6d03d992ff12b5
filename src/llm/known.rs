//! What is known of models whose makers have said it: OpenAI's.

use super::tokens::Vocabulary;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub vocabulary: Vocabulary,
    /// How many tokens prompt and answer may have together.
    pub context: u32,
}

/// Names, and what every longer one that goes on with a dash is too. The longest that fits counts.
const KNOWN: [(&str, Vocabulary, u32); 22] = [
    ("gpt-5.2", Vocabulary::O200k, 400_000),
    ("gpt-5.1", Vocabulary::O200k, 400_000),
    ("gpt-5", Vocabulary::O200k, 400_000),
    ("gpt-5-chat", Vocabulary::O200k, 128_000),
    ("gpt-4.5", Vocabulary::O200k, 128_000),
    ("gpt-4.1", Vocabulary::O200k, 1_047_576),
    ("gpt-4o", Vocabulary::O200k, 128_000),
    ("chatgpt-4o", Vocabulary::O200k, 128_000),
    ("o4-mini", Vocabulary::O200k, 200_000),
    ("o3", Vocabulary::O200k, 200_000),
    ("o1", Vocabulary::O200k, 200_000),
    ("o1-mini", Vocabulary::O200k, 128_000),
    ("o1-preview", Vocabulary::O200k, 128_000),
    ("gpt-4-turbo", Vocabulary::Cl100k, 128_000),
    ("gpt-4-vision", Vocabulary::Cl100k, 128_000),
    ("gpt-4-1106", Vocabulary::Cl100k, 128_000),
    ("gpt-4-0125", Vocabulary::Cl100k, 128_000),
    ("gpt-4-32k", Vocabulary::Cl100k, 32_768),
    ("gpt-4", Vocabulary::Cl100k, 8_192),
    ("gpt-3.5-turbo", Vocabulary::Cl100k, 16_385),
    ("gpt-3.5-turbo-0613", Vocabulary::Cl100k, 4_096),
    // Azure's spelling.
    ("gpt-35-turbo", Vocabulary::Cl100k, 16_385),
];

impl Known {
    /// By the model's name, with or without the names of those who pass it on (`openai/…`), and
    /// fine-tuned (`ft:…`) too.
    pub fn find(model: &str) -> Option<Self> {
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        KNOWN
            .iter()
            .filter(|(known, ..)| {
                name.strip_prefix(known)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '@']))
            })
            .max_by_key(|(known, ..)| known.len())
            .map(|(_, vocabulary, context)| Self {
                vocabulary: *vocabulary,
                context: *context,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_the_longest_name_that_fits() {
        for (model, context) in [
            ("gpt-4", Some(8_192)),
            ("gpt-4-0613", Some(8_192)),
            ("gpt-4-turbo-2024-04-09", Some(128_000)),
            ("gpt-4o-mini", Some(128_000)),
            ("gpt-4.1-mini", Some(1_047_576)),
            ("openai/gpt-5-nano", Some(400_000)),
            ("ft:gpt-4o-mini-2024-07-18:acme::1", Some(128_000)),
            ("o3-mini", Some(200_000)),
            ("gpt-4x", None),
            ("gpt-oss-20b", None),
            ("llama3.2", None),
            ("", None),
        ] {
            let known = Known::find(model).map(|known| known.context);
            assert_eq!(known, context, "{model}");
        }
    }
}
