//! From a provider's pieces of text to text that can be stored and counted.
//!
//! A JSON string may hold half of a surrogate pair, and a provider that cuts its text by UTF-16
//! units sends the halves in two chunks. What comes out of here is text of whole characters.

use std::str;

/// Joins the halves of characters across chunks. A half that stays alone becomes U+FFFD, and so
/// does U+0000, which PostgreSQL cannot store.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// The first half of a pair whose second has not come yet.
    high: Option<u16>,
}

impl Joiner {
    /// Takes one chunk's text in WTF-8 (UTF-8 in which a lone half is encoded like a character).
    pub(super) fn push(&mut self, mut wtf8: &[u8]) -> String {
        let mut text = String::with_capacity(wtf8.len());
        while !wtf8.is_empty() {
            let valid = match str::from_utf8(wtf8) {
                Ok(all) => all,
                Err(error) => str::from_utf8(&wtf8[..error.valid_up_to()])
                    .expect("text up to its first error is valid"),
            };
            if !valid.is_empty() {
                self.flush(&mut text);
                text.extend(
                    valid
                        .chars()
                        .map(|c| if c == '\0' { '\u{FFFD}' } else { c }),
                );
            }
            wtf8 = match wtf8[valid.len()..] {
                [] => break,
                [
                    0xED,
                    second @ 0xA0..=0xBF,
                    third @ 0x80..=0xBF,
                    ref rest @ ..,
                ] => {
                    let bits = u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F);
                    self.half(0xD000 | bits, &mut text);
                    rest
                }
                [_, ref rest @ ..] => {
                    self.flush(&mut text);
                    text.push('\u{FFFD}');
                    rest
                }
            };
        }
        text
    }

    /// What is left when nothing more comes.
    pub(super) fn finish(&mut self) -> Option<String> {
        let mut text = String::new();
        self.flush(&mut text);
        (!text.is_empty()).then_some(text)
    }

    fn half(&mut self, unit: u16, text: &mut String) {
        if unit < 0xDC00 {
            self.flush(text);
            self.high = Some(unit);
            return;
        }
        let units = self.high.take().into_iter().chain([unit]);
        text.extend(char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')));
    }

    fn flush(&mut self, text: &mut String) {
        if self.high.take().is_some() {
            text.push('\u{FFFD}');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const HIGH: &[u8] = b"\xED\xA0\xBD";
    const LOW: &[u8] = b"\xED\xB8\x80";

    fn join(chunks: &[&[u8]]) -> Vec<String> {
        let mut joiner = Joiner::default();
        let mut texts: Vec<_> = chunks.iter().map(|chunk| joiner.push(chunk)).collect();
        texts.extend(joiner.finish());
        texts
    }

    #[test]
    fn halves_of_a_pair_are_joined_across_chunks() {
        assert_eq!(join(&[HIGH, LOW]), ["", "😀"]);
        assert_eq!(
            join(&[b"a\xED\xA0\xBD", b"", b"\xED\xB8\x80b"]),
            ["a", "", "😀b"]
        );
        assert_eq!(join(&[&[HIGH, LOW, HIGH].concat(), LOW]), ["😀", "😀"]);
    }

    #[test]
    fn a_lone_half_becomes_the_replacement_character() {
        assert_eq!(join(&[HIGH]), ["", "\u{FFFD}"]);
        assert_eq!(join(&[LOW]), ["\u{FFFD}"]);
        assert_eq!(join(&[HIGH, b"x"]), ["", "\u{FFFD}x"]);
        assert_eq!(join(&[HIGH, HIGH, LOW]), ["", "\u{FFFD}", "😀"]);
        assert_eq!(join(&[LOW, HIGH]), ["\u{FFFD}", "", "\u{FFFD}"]);
    }

    #[test]
    fn what_cannot_be_stored_is_replaced() {
        assert_eq!(join(&[b"a\0b"]), ["a\u{FFFD}b"]);
        assert_eq!(join(&[b"a\xFFb"]), ["a\u{FFFD}b"]);
    }

    proptest! {
        #[test]
        fn any_utf16_cut_anywhere_comes_out_as_if_it_had_come_whole(
            units in prop::collection::vec(any::<u16>(), 0..40),
            cut in 0_usize..40,
        ) {
            let cut = cut.min(units.len());
            let wtf8 = |units: &[u16]| -> Vec<u8> {
                char::decode_utf16(units.iter().copied())
                    .flat_map(|c| match c {
                        Ok(c) => c.to_string().into_bytes(),
                        Err(half) => {
                            let unit = half.unpaired_surrogate();
                            let [high, low] = (unit & 0xFFF).to_be_bytes();
                            vec![0xED, 0x80 | high << 2 | low >> 6, 0x80 | low & 0x3F]
                        }
                    })
                    .collect()
            };
            let (before, after) = units.split_at(cut);
            let expected = String::from_utf16_lossy(&units).replace('\0', "\u{FFFD}");
            assert_eq!(join(&[&wtf8(before), &wtf8(after)]).concat(), expected);
        }
    }
}
