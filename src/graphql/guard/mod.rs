//! What an operation may cost, decided before anything is validated or run.
//!
//! The library's own limits walk a document once for every way that leads to a fragment, so thirty
//! lines of fragments that spread each other twice keep it busy for hours. Here each token and
//! each fragment is looked at once, whatever the document does.
//!
//! [`Guard::read`] needs no schema and comes first: it is the only way from text to a document,
//! for every transport. [`Guard::extension`] is its second half, which knows the types: it prices
//! pages, checks variables and holds subscriptions to one root field.
//!
//! Invariant: the work for a document is linear in its tokens, and [`Guard::work`] counts it.
//! It must not know who asks.

mod cost;
mod expansion;
mod extension;
mod lexer;
mod refusal;
mod subscription;
mod variables;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_graphql::{
    ServerError,
    parser::{parse_query, types::ExecutableDocument},
};

pub use extension::GuardExtension;
pub use refusal::Limit;

use refusal::Refusal;

/// The most that one document may hold. Counts are taken after fragments are expanded, over all
/// operations of the document, because validation walks all of them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lexical tokens, comments and commas not counted.
    pub tokens: u64,
    /// Bytes of one name.
    pub name_bytes: u64,
    /// Brackets of any kind inside each other. Bounds the recursion of the parser.
    pub brackets: u64,
    /// Operations and fragments.
    pub definitions: u64,
    /// Selected fields.
    pub fields: u64,
    /// Fields at the root of one operation.
    pub root_fields: u64,
    /// Fields inside each other; what is below `__schema` and `__type` is not counted.
    pub depth: u64,
    /// Selection sets inside each other, those of fragments and of introspection included.
    pub nesting: u64,
    /// Lists of types, fields or arguments inside each other below `__schema` and `__type`.
    pub introspection_lists: u64,
    pub aliases: u64,
    pub directives: u64,
    /// Fields that the answer may hold, pages multiplied out.
    pub cost: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens: 10_000,
            name_bytes: 255,
            brackets: 60,
            definitions: 200,
            fields: 2_000,
            root_fields: 50,
            depth: 20,
            // The library refuses more than this itself, without a code.
            nesting: 32,
            // What graphql-js allows: the standard introspection query needs two.
            introspection_lists: 2,
            aliases: 200,
            directives: 200,
            cost: 25_000,
        }
    }
}

/// One per process; clones share their limits and their counter.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    limits: Limits,
    work: AtomicU64,
}

impl Guard {
    pub fn new(limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                limits,
                work: AtomicU64::new(0),
            }),
        }
    }

    /// Turns the text of a document into a document that is safe to validate. The error carries
    /// its code.
    pub fn read(&self, source: &str) -> Result<ExecutableDocument, ServerError> {
        let tokens = lexer::scan(source, self.limits())?;
        self.count(tokens);
        let document = parse_query(source).map_err(|error| Refusal::from_parser(&error))?;
        let visited = expansion::check(&document, self.limits())?;
        self.count(visited);
        Ok(document)
    }

    /// The half that knows the schema, to be given to the schema's builder.
    pub fn extension(&self) -> GuardExtension {
        GuardExtension::new(self.clone())
    }

    /// Tokens and syntax nodes looked at since the process began.
    pub fn work(&self) -> u64 {
        self.inner.work.load(Ordering::Relaxed)
    }

    fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    fn count(&self, steps: u64) {
        self.inner.work.fetch_add(steps, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
