//! What an operation may cost, decided before anything is validated or run.
//!
//! The library's own limits walk a document once for every way that leads to a fragment, so thirty
//! lines of fragments that spread each other twice keep it busy for hours. Here each token and
//! each fragment is looked at once, whatever the document does.
//!
//! [`Guard::read`] needs no schema: it is the only way from text to a document, for every
//! transport. [`Guard::check`] comes second and knows the types: it prices pages, checks variables
//! and holds subscriptions to one root field.
//!
//! Invariant: the work for a document is linear in its tokens, and [`Guard::work`] counts it.
//! It must not know who asks.

mod cost;
mod expansion;
mod lexer;
mod refusal;
mod subscription;
mod types;
mod variables;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_graphql::{
    Name, Positioned, ServerError, Variables,
    parser::{
        parse_query,
        types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType},
    },
};

use refusal::{Limit, Refusal};
use types::Types;

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
#[derive(Clone, Debug)]
pub struct Guard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    types: Types,
    work: AtomicU64,
}

impl Guard {
    /// For the schema that this text describes.
    ///
    /// # Panics
    ///
    /// When it describes none.
    pub fn new(limits: Limits, sdl: &str) -> Self {
        Self {
            inner: Arc::new(Inner {
                limits,
                types: Types::of(sdl),
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

    /// Checks what the operation that is to run asks for, and returns the document to run: this
    /// one, but for a subscription whose root field stands in a fragment. That no operation has
    /// the name is for the caller to say.
    pub fn check(
        &self,
        document: ExecutableDocument,
        name: Option<&str>,
        given: &Variables,
    ) -> Result<ExecutableDocument, ServerError> {
        if let Some(operation) = operation(&document, name) {
            variables::check(&self.inner.types, &operation.node, given)?;
            if let Some(lifted) = self.price(&document, operation, name, given)? {
                return Ok(lifted);
            }
        }
        Ok(document)
    }

    /// What can be said of a document before anybody gives its variables: it is read, and each of
    /// its operations priced, pages of unknown size as the default one.
    pub fn vet(&self, source: &str) -> Result<ExecutableDocument, ServerError> {
        let document = self.read(source)?;
        for (name, operation) in document.operations.iter() {
            let name = name.map(Name::as_str);
            self.price(&document, operation, name, &Variables::default())?;
        }
        Ok(document)
    }

    /// `Some`: the document to run in place of this one.
    fn price(
        &self,
        document: &ExecutableDocument,
        operation: &Positioned<OperationDefinition>,
        name: Option<&str>,
        given: &Variables,
    ) -> Result<Option<ExecutableDocument>, ServerError> {
        let types = &self.inner.types;
        let (cost, visited) = cost::of(types, document, &operation.node, given);
        self.count(visited);
        if cost > self.limits().cost {
            return Err(Refusal::Limit {
                limit: Limit::Cost,
                value: self.limits().cost,
                at: Some(operation.pos),
            }
            .into());
        }
        if operation.node.ty == OperationType::Subscription {
            let root = types.root(OperationType::Subscription);
            return Ok(subscription::with_one_root_field(document, name, root)?);
        }
        Ok(None)
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

/// The operation that the request names, or the only one.
pub fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a Positioned<OperationDefinition>> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next()
        }
        (DocumentOperations::Multiple(_), None) => None,
    }
}

#[cfg(test)]
mod tests;
