//! How much one process does at once, and how much goes into a reply.

use std::time::Duration;

use loquat::config::{ContextSettings, TitleSettings};

use super::{all_wrong, settings};

#[test]
fn contexts_are_one_number_or_one_for_each_model_and_titles_are_on_unless_told() {
    let chat = settings(&[]).chat;
    assert_eq!(chat.context, ContextSettings::default());
    assert_eq!(
        (chat.max_reply_tokens, chat.titles),
        (None, TitleSettings::TheModel)
    );
    assert_eq!(chat.reply_timeout, Duration::from_secs(900));

    let chat = settings(&[
        ("LOQUAT_CONTEXT_TOKENS", "8192, org/large:v1=32768"),
        ("LOQUAT_MAX_REPLY_TOKENS", "4096"),
        ("LOQUAT_TITLE_MODEL", "tiny"),
    ])
    .chat;
    assert_eq!(chat.context.every, Some(8192));
    assert_eq!(chat.context.models.get("org/large:v1"), Some(&32768));
    assert_eq!(chat.max_reply_tokens, Some(4096));
    assert_eq!(chat.titles, TitleSettings::Model("tiny".to_owned()));
    let chat = settings(&[("LOQUAT_TITLES", "off"), ("LOQUAT_TITLE_MODEL", "tiny")]).chat;
    assert_eq!(chat.titles, TitleSettings::Nobody);
}

#[test]
fn each_wrong_limit_is_one_line_that_names_it_and_what_it_may_be() {
    all_wrong(&[
        (
            &[("LOQUAT_MAX_RUNS", "0")],
            "LOQUAT_MAX_RUNS: `0` is not a whole number from 1 to 10000",
        ),
        (
            &[("LOQUAT_MAX_RUNS_PER_USER", "many")],
            "LOQUAT_MAX_RUNS_PER_USER: `many` is not a whole number from 1 to 100",
        ),
        (
            &[("LOQUAT_MAX_CONNECTIONS", "9")],
            "LOQUAT_MAX_CONNECTIONS: `9` is not a whole number from 10 to 1000000",
        ),
        (
            &[("LOQUAT_CONTEXT_TOKENS", "8k")],
            "LOQUAT_CONTEXT_TOKENS: `8k` is neither a whole number from 256 to 100000000 nor a model and such a number, as in small=8192",
        ),
        (
            &[("LOQUAT_CONTEXT_TOKENS", "8192, small=4096, small=2048")],
            "LOQUAT_CONTEXT_TOKENS: says two things of small",
        ),
        (
            &[
                ("LOQUAT_CONTEXT_TOKENS", "8192"),
                ("LOQUAT_MAX_REPLY_TOKENS", "8000"),
            ],
            "LOQUAT_MAX_REPLY_TOKENS and LOQUAT_CONTEXT_TOKENS contradict each other: a reply may have half of the smallest context at most, which is 4096",
        ),
        (
            &[("LOQUAT_MAX_REPLY_TOKENS", "0")],
            "LOQUAT_MAX_REPLY_TOKENS: `0` is not a whole number from 1 to 100000000",
        ),
        (
            &[("LOQUAT_REPLY_SECONDS", "0")],
            "LOQUAT_REPLY_SECONDS: `0` is not a whole number from 1 to 86400",
        ),
    ]);
}
