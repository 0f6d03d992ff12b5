//! What clients send, and how it is bent: bytes that are nearly right find more than bytes at random.

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::{Index, select},
};

/// Pieces that parsers and databases have stumbled over.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "\"\"\"",
    "\\",
    "\\u0000",
    "\\uD83D",
    "\\u{1F600}",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{1f468}\u{200d}\u{1f469}",
    "...",
    "@include(if: $x)",
    "@skip(if: false)",
    "@oneOf",
    "#",
    ",",
    "$",
    "$x",
    "!",
    "|",
    "&",
    ":",
    "=",
    "-0",
    "1e999",
    "-1e-999",
    "9223372036854775808",
    "0.1",
    "null",
    "true",
    "fragment F on Query { ...F }",
    "...F",
    "__schema { types { name } }",
    "__typename",
    "query",
    "mutation",
    "subscription",
    "on",
    "first: -1",
    "first: 2147483648",
    "after: \"\"",
    "last: 100",
    "' or 1=1 --",
    "%s%n",
    "../",
    "\r\n",
    "\r\n\r\n",
    "<script>",
    "{{7*7}}",
    "${x}",
];

/// One change to a text.
#[derive(Clone, Debug)]
enum Twist {
    Byte(Index, u8),
    Piece(Index, &'static str),
    Cut(Index, Index),
    Repeat(Index, Index, usize),
    End(Index),
    Splice(Index, Index, &'static str),
}

fn twist(corpus: &'static [&'static str]) -> impl Strategy<Value = Twist> {
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Twist::Byte(at, byte)),
        4 => (at(), select(PIECES)).prop_map(|(at, piece)| Twist::Piece(at, piece)),
        2 => (at(), at()).prop_map(|(from, to)| Twist::Cut(from, to)),
        2 => (at(), at(), 1_usize..200).prop_map(|(from, to, times)| Twist::Repeat(from, to, times)),
        1 => at().prop_map(Twist::End),
        1 => (at(), at(), select(corpus)).prop_map(|(at, from, other)| Twist::Splice(at, from, other)),
    ]
}

impl Twist {
    fn apply(&self, text: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let length = text.len();
        let range = |from: &Index, to: &Index| {
            let (one, other) = (from.index(length), to.index(length));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Byte(at, byte) => text[at.index(length)] = *byte,
            Self::Piece(at, piece) => {
                let at = at.index(length);
                text.splice(at..at, piece.bytes());
            }
            Self::Cut(from, to) => drop(text.drain(range(from, to))),
            Self::Repeat(from, to, times) => {
                let range = range(from, to);
                let (end, piece) = (range.end, text[range].to_vec());
                let times = (*times).min(100_000 / (piece.len() + 1));
                text.splice(end..end, piece.repeat(times));
            }
            Self::End(at) => text.truncate(at.index(length)),
            Self::Splice(at, from, other) => {
                let at = at.index(length);
                let other = &other.as_bytes()[from.index(other.len())..];
                text.splice(at..at, other.iter().copied());
            }
        }
    }
}

/// One of these texts, bent in a few places or in none.
pub fn bent(corpus: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    (select(corpus), vec(twist(corpus), 0..5)).prop_map(|(text, twists)| {
        let mut text = text.as_bytes().to_vec();
        for twist in twists {
            twist.apply(&mut text);
        }
        text
    })
}

/// The same as text.
pub fn bent_text(corpus: &'static [&'static str]) -> impl Strategy<Value = String> {
    bent(corpus).prop_map(|text| String::from_utf8_lossy(&text).into_owned())
}
