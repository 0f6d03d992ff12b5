//! Texts that are no tokens, most of them made of one that is.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    super::issuer::{good_claims, hs256},
    Case,
};

/// The twin's parts, changed.
fn parts(name: &str, change: impl Fn(&str, &str, &str) -> String) -> Case {
    let twin = hs256().token(json!({}), json!({}));
    let mut parts = twin.split('.');
    let mut next = || parts.next().expect("three parts");
    let hostile = change(next(), next(), next());
    Case::tokens(format!("shape: {name}"), hostile, twin)
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        parts("empty", |_, _, _| String::new()),
        parts("dots alone", |_, _, _| "..".to_owned()),
        parts("one part", |header, _, _| header.to_owned()),
        parts("two parts", |header, payload, _| {
            format!("{header}.{payload}")
        }),
        parts("four parts", |header, payload, signature| {
            format!("{header}.{payload}.{signature}.{signature}")
        }),
        parts("five parts, like an encrypted token", |h, p, s| {
            format!("{h}.{p}.{s}.{s}.{s}")
        }),
        parts("no signature", |header, payload, _| {
            format!("{header}.{payload}.")
        }),
        parts("no payload", |header, _, signature| {
            format!("{header}..{signature}")
        }),
        parts("no header", |_, payload, signature| {
            format!(".{payload}.{signature}")
        }),
        parts("a short signature", |h, p, s| {
            format!("{h}.{p}.{}", &s[..s.len() - 4])
        }),
        parts("a long signature", |h, p, s| format!("{h}.{p}.{s}AAAA")),
        parts("padding", |h, p, s| format!("{h}.{p}.{s}=")),
        parts("the other base64 alphabet", |h, p, _| {
            format!("{h}.{p}.+/+/")
        }),
        parts("a space in front", |h, p, s| format!(" {h}.{p}.{s}")),
        parts("a newline at the end", |h, p, s| format!("{h}.{p}.{s}\n")),
        parts("U+0000 at the end", |h, p, s| format!("{h}.{p}.{s}\0")),
        parts("the scheme twice", |h, p, s| format!("Bearer {h}.{p}.{s}")),
        parts("another payload", |h, _, s| {
            let mut claims = good_claims();
            claims["sub"] = json!("user-2");
            format!("{h}.{}.{s}", encoded(&claims))
        }),
        parts("another header", |_, p, s| {
            format!(
                "{}.{p}.{s}",
                encoded(&json!({ "alg": "HS256", "typ": "jwt" }))
            )
        }),
        parts("a dot at the end", |h, p, s| format!("{h}.{p}.{s}.")),
        parts("a dot in front", |h, p, s| format!(".{h}.{p}.{s}")),
        parts("padding in the header", |h, p, s| format!("{h}=.{p}.{s}")),
        parts("padding in the payload", |h, p, s| format!("{h}.{p}==.{s}")),
        parts("dots as percent signs", |h, p, s| {
            format!("{h}%2E{p}%2E{s}")
        }),
        parts("in quotation marks", |h, p, s| format!("\"{h}.{p}.{s}\"")),
        parts("in small letters", |h, p, s| {
            format!("{h}.{p}.{s}").to_lowercase()
        }),
        parts("a tab inside", |h, p, s| format!("{h}.\t{p}.{s}")),
        parts("a line break inside", |h, p, s| format!("{h}.{p}.\r\n{s}")),
        parts("a header smuggled in", |h, p, s| {
            format!("{h}.{p}.{s}\r\nX-User-Id: root")
        }),
        parts("a control character inside", |h, p, s| {
            format!("{h}.{p}\u{1}.{s}")
        }),
        parts("a letter that only looks the same", |h, p, s| {
            format!("\u{435}{}.{p}.{s}", &h[1..])
        }),
        parts("a zero-width space", |h, p, s| {
            format!("{h}.\u{200b}{p}.{s}")
        }),
        parts("a byte order mark in front", |h, p, s| {
            format!("\u{feff}{h}.{p}.{s}")
        }),
        parts("twice, with a comma between", |h, p, s| {
            format!("{h}.{p}.{s},{h}.{p}.{s}")
        }),
        parts("payload and header swapped", |h, p, s| {
            format!("{p}.{h}.{s}")
        }),
        parts("as the flattened JSON of RFC 7515", |h, p, s| {
            json!({ "protected": h, "payload": p, "signature": s }).to_string()
        }),
        parts("encoded once more", |h, p, s| {
            URL_SAFE_NO_PAD.encode(format!("{h}.{p}.{s}"))
        }),
        parts("nested in a token without a key", |h, p, s| {
            let header = json!({ "alg": "none", "cty": "JWT" });
            format!(
                "{}.{}.",
                encoded(&header),
                URL_SAFE_NO_PAD.encode(format!("{h}.{p}.{s}"))
            )
        }),
        parts("nested in a signed token", |h, p, s| {
            hs256().sign(r#"{"alg":"HS256","cty":"JWT"}"#, &format!("{h}.{p}.{s}"))
        }),
        parts("nothing but the letter A, 20,000 times", |_, _, _| {
            "A".repeat(20_000)
        }),
        parts("nothing but dots, 5,000 times", |_, _, _| ".".repeat(5_000)),
        parts("unused bits of the signature set", |h, p, s| {
            // 32 bytes fill 42 characters and four bits of the last one.
            let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let last = s.chars().last().and_then(|last| alphabet.find(last));
            let next = last.expect("a character of base64") + 1;
            format!("{h}.{p}.{}{}", &s[..s.len() - 1], &alphabet[next..=next])
        }),
    ];
    let padded =
        |characters| hs256().token(json!({}), json!({ "padding": "x".repeat(characters) }));
    cases.push(Case::tokens(
        "shape: over 8 KiB",
        padded(6_200),
        padded(5_800),
    ));
    cases
}
