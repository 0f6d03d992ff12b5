//! One pass over the characters, before the parser sees them.
//!
//! The parser recurses for every bracket and has no limit of its own, so the nesting is bounded
//! here. It also forgets repeated fields of an input object, so they are found here. The rules for
//! strings, comments and names are the parser's own: what this pass takes for a string, the parser
//! does too, or it refuses the document.

use std::{collections::HashSet, iter::Peekable, str::CharIndices};

use async_graphql::Pos;

use super::{Limit, Limits, Refusal};

/// Checks a document and returns the number of its tokens.
pub(super) fn scan(source: &str, limits: &Limits) -> Result<u64, Refusal> {
    let mut scanner = Scanner {
        source,
        chars: source.char_indices().peekable(),
        line: 1,
        column: 1,
        limits,
        tokens: 0,
        open: Vec::new(),
        parentheses: 0,
        last_name: None,
    };
    scanner.run()?;
    Ok(scanner.tokens)
}

enum Bracket<'a> {
    Parenthesis,
    List,
    Selection,
    /// An input object, with the fields that it has so far.
    Object(HashSet<&'a str>),
}

struct Scanner<'a> {
    source: &'a str,
    chars: Peekable<CharIndices<'a>>,
    line: usize,
    column: usize,
    limits: &'a Limits,
    tokens: u64,
    open: Vec<Bracket<'a>>,
    /// How many of `open` are parentheses: inside any of them, a brace opens an input object.
    parentheses: usize,
    /// The name just read, if the token before this one was a name.
    last_name: Option<(&'a str, Pos)>,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) -> Result<(), Refusal> {
        while let Some(&(start, character)) = self.chars.peek() {
            match character {
                ' ' | '\t' | '\n' | '\r' | ',' | '\u{feff}' => {
                    self.advance();
                    continue;
                }
                '#' => {
                    while self
                        .chars
                        .peek()
                        .is_some_and(|&(_, next)| next != '\n' && next != '\r')
                    {
                        self.advance();
                    }
                    continue;
                }
                _ => {}
            }
            let at = self.position();
            self.tokens += 1;
            if self.tokens > self.limits.chosen.tokens {
                return Err(self.exceeded(Limit::Tokens, self.limits.chosen.tokens));
            }
            let name_before = self.last_name.take();
            match character {
                '"' => self.string(start, at)?,
                'A'..='Z' | 'a'..='z' | '_' => self.name(start, at)?,
                '(' | '[' | '{' => self.open(character)?,
                ')' | ']' | '}' => self.close(),
                ':' => {
                    self.advance();
                    self.input_field(name_before)?;
                }
                '-' | '0'..='9' => self.advance_by(number_length(&self.source[start..])),
                '.' if self.source[start..].starts_with("...") => self.advance_by(3),
                _ => self.advance(),
            }
        }
        Ok(())
    }

    fn position(&self) -> Pos {
        Pos {
            line: self.line,
            column: self.column,
        }
    }

    fn advance(&mut self) {
        if let Some((_, character)) = self.chars.next() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
    }

    fn advance_by(&mut self, characters: usize) {
        for _ in 0..characters {
            self.advance();
        }
    }

    fn exceeded(&self, limit: Limit, value: u64) -> Refusal {
        Refusal::Limit {
            limit,
            value,
            at: Some(self.position()),
        }
    }

    fn name(&mut self, start: usize, at: Pos) -> Result<(), Refusal> {
        while self
            .chars
            .peek()
            .is_some_and(|&(_, next)| next.is_ascii_alphanumeric() || next == '_')
        {
            self.advance();
        }
        let name = &self.source[start..self.offset()];
        if name.len() as u64 > self.limits.name_bytes {
            return Err(Refusal::Limit {
                limit: Limit::NameBytes,
                value: self.limits.name_bytes,
                at: Some(at),
            });
        }
        self.last_name = Some((name, at));
        Ok(())
    }

    fn open(&mut self, character: char) -> Result<(), Refusal> {
        if self.open.len() as u64 >= self.limits.brackets {
            return Err(self.exceeded(Limit::Brackets, self.limits.brackets));
        }
        self.advance();
        self.open.push(match character {
            '(' => {
                self.parentheses += 1;
                Bracket::Parenthesis
            }
            '[' => Bracket::List,
            _ if self.parentheses > 0 => Bracket::Object(HashSet::new()),
            _ => Bracket::Selection,
        });
        Ok(())
    }

    /// A closing bracket of the wrong kind is left to the parser, which refuses it.
    fn close(&mut self) {
        self.advance();
        if let Some(Bracket::Parenthesis) = self.open.pop() {
            self.parentheses -= 1;
        }
    }

    fn input_field(&mut self, name: Option<(&'a str, Pos)>) -> Result<(), Refusal> {
        if let (Some(Bracket::Object(fields)), Some((name, at))) = (self.open.last_mut(), name)
            && !fields.insert(name)
        {
            return Err(Refusal::Invalid {
                message: format!("There can be only one input field named \"{name}\"."),
                at: Some(at),
            });
        }
        Ok(())
    }

    fn string(&mut self, start: usize, at: Pos) -> Result<(), Refusal> {
        if self.source[start..].starts_with("\"\"\"") {
            self.advance_by(3);
            loop {
                let rest = &self.source[self.offset()..];
                if rest.is_empty() {
                    return Err(unterminated(at));
                } else if rest.starts_with("\"\"\"") {
                    self.advance_by(3);
                    return Ok(());
                } else if rest.starts_with("\\\"\"\"") {
                    self.advance_by(4);
                } else {
                    self.advance();
                }
            }
        }
        self.advance();
        loop {
            match self.chars.peek() {
                None | Some((_, '\n' | '\r')) => return Err(unterminated(at)),
                Some((_, '"')) => {
                    self.advance();
                    return Ok(());
                }
                Some((_, '\\')) => self.advance_by(2),
                Some(_) => self.advance(),
            }
        }
    }

    fn offset(&mut self) -> usize {
        self.chars
            .peek()
            .map_or(self.source.len(), |&(offset, _)| offset)
    }
}

/// How many characters the number at the beginning of a text has. A sign alone counts for one, and
/// is for the parser to refuse; a leading zero is a number of its own to it.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits_end = |from: usize| {
        let digits = bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        from + digits.count()
    };
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let mut end = match bytes.get(sign) {
        Some(b'0') => sign + 1,
        Some(b'1'..=b'9') => digits_end(sign),
        _ => return 1,
    };
    if bytes.get(end) == Some(&b'.') {
        let fraction_end = digits_end(end + 1);
        if fraction_end > end + 1 {
            end = fraction_end;
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        let exponent = end + 1 + usize::from(signed);
        let exponent_end = digits_end(exponent);
        if exponent_end > exponent {
            end = exponent_end;
        }
    }
    end
}

fn unterminated(at: Pos) -> Refusal {
    Refusal::Syntax {
        message: "Syntax error: a string does not end.".to_owned(),
        at: Some(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> u64 {
        scan(source, &Limits::default()).expect("within the limits")
    }

    #[test]
    fn a_number_and_the_dots_of_a_spread_are_one_token_each() {
        for number in [
            "0",
            "7",
            "-12",
            "1234567890",
            "-1.25",
            "1e9",
            "1.5E-10",
            "-0.5e+3",
        ] {
            assert_eq!(tokens(number), 1, "{number}");
            assert_eq!(tokens(&format!("[{number},{number} {number}]")), 5);
        }
        assert_eq!(tokens("...F"), 2);
        assert_eq!(tokens("... on Item"), 3);
        assert_eq!(tokens("1...F"), 3);
        // What is no number goes to the parser as the parts that it has.
        for (parts, count) in [
            ("-", 1),
            ("--", 2),
            ("1.", 2),
            ("1e", 2),
            ("1.e5", 3),
            ("..", 2),
            ("007", 3),
        ] {
            assert_eq!(tokens(parts), count, "{parts}");
        }
    }

    #[test]
    fn as_many_tokens_as_the_limit_says_pass_and_one_more_does_not() {
        let limits = Limits::default();
        for token in ["1234567890 ", "-1.5e10 ", "... ", "name ", "\"a text\" "] {
            let limit = usize::try_from(limits.chosen.tokens).expect("a small number");
            let most = token.repeat(limit);
            assert_eq!(
                scan(&most, &limits).ok(),
                Some(limits.chosen.tokens),
                "{token}"
            );
            assert!(scan(&token.repeat(limit + 1), &limits).is_err(), "{token}");
        }
    }
}
