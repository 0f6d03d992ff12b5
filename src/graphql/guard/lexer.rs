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
            if self.tokens > self.limits.tokens {
                return Err(self.exceeded(Limit::Tokens, self.limits.tokens));
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

fn unterminated(at: Pos) -> Refusal {
    Refusal::Syntax {
        message: "Syntax error: a string does not end.".to_owned(),
        at: Some(at),
    }
}
