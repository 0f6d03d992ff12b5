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
    Name, Pos, Positioned, ServerError, Value, Variables,
    parser::{
        parse_query,
        types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType},
    },
    value,
};

use refusal::Refusal;
use types::Types;

use crate::{config::DocumentLimits, model::Limit};

/// The most that one document may hold. Counts are taken after fragments are expanded, over all
/// operations of the document, because validation walks all of them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What an operator may choose.
    pub chosen: DocumentLimits,
    /// Bytes of one name.
    pub name_bytes: u64,
    /// Brackets of any kind inside each other. Bounds the recursion of the parser.
    pub brackets: u64,
    /// Fields at the root of one operation.
    pub root_fields: u64,
    /// Selection sets inside each other, those of fragments and of introspection included.
    pub nesting: u64,
    /// Lists of types, fields or arguments inside each other below `__schema` and `__type`.
    pub introspection_lists: u64,
}

impl From<DocumentLimits> for Limits {
    /// What is fixed protects the parser and the library, whatever the schema and the machine.
    fn from(chosen: DocumentLimits) -> Self {
        Self {
            chosen,
            name_bytes: 255,
            brackets: 60,
            root_fields: 50,
            // The library refuses more than this itself, without a code.
            nesting: 32,
            // What graphql-js allows: the standard introspection query needs two.
            introspection_lists: 2,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        DocumentLimits::default().into()
    }
}

/// A document that may be validated.
#[derive(Debug)]
pub struct Read {
    pub document: ExecutableDocument,
    pub tokens: u64,
}

/// A document that may run, and what the operation that is to run costs.
#[derive(Debug)]
pub struct Checked {
    /// As it was read, but for a subscription whose root field stands in a fragment.
    pub document: ExecutableDocument,
    pub cost: u64,
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
    pub fn read(&self, source: &str) -> Result<Read, ServerError> {
        let tokens = lexer::scan(source, self.limits())?;
        self.count(tokens);
        let document = parse_query(source).map_err(|error| Refusal::from_parser(&error))?;
        let sizes = expansion::check(&document, self.limits())?;
        self.count(sizes.visited);
        Ok(Read { document, tokens })
    }

    /// Checks what the operation that is to run asks for. That no operation has the name is for
    /// the caller to say.
    pub fn check(
        &self,
        document: ExecutableDocument,
        name: Option<&str>,
        given: &Variables,
    ) -> Result<Checked, ServerError> {
        let Some(operation) = operation(&document, name) else {
            return Ok(Checked { document, cost: 0 });
        };
        variables::check(&self.inner.types, &operation.node, given)?;
        let (cost, lifted) = self.price(&document, operation, name, given)?;
        Ok(Checked {
            document: lifted.unwrap_or(document),
            cost,
        })
    }

    /// What can be said of a document before anybody gives its variables: it is read, and each of
    /// its operations priced, pages of unknown size as the default one.
    pub fn vet(&self, source: &str) -> Result<ExecutableDocument, ServerError> {
        let Read { document, .. } = self.read(source)?;
        for (name, operation) in document.operations.iter() {
            let name = name.map(Name::as_str);
            self.price(&document, operation, name, &Variables::default())?;
        }
        Ok(document)
    }

    /// What the operation costs. `Some`: the document to run in place of this one.
    fn price(
        &self,
        document: &ExecutableDocument,
        operation: &Positioned<OperationDefinition>,
        name: Option<&str>,
        given: &Variables,
    ) -> Result<(u64, Option<ExecutableDocument>), ServerError> {
        let types = &self.inner.types;
        let (cost, visited) = cost::of(types, document, &operation.node, given);
        self.count(visited);
        self.afford(cost, Some(operation.pos))?;
        if operation.node.ty == OperationType::Subscription {
            let root = types.root(OperationType::Subscription);
            let lifted = subscription::with_one_root_field(document, name, root)?;
            return Ok((cost, lifted));
        }
        Ok((cost, None))
    }

    /// Refuses operations that are each within the limit and not together.
    pub fn check_together(&self, costs: impl Iterator<Item = u64>) -> Result<(), ServerError> {
        let cost = costs.fold(0, u64::saturating_add);
        Ok(self.afford(cost, None)?)
    }

    fn afford(&self, cost: u64, at: Option<Pos>) -> Result<(), Refusal> {
        let value = self.limits().chosen.cost;
        if cost > value {
            return Err(Refusal::Cost { cost, value, at });
        }
        Ok(())
    }

    /// What a document comes to, beside what it may, for a client that asked. Measured once more:
    /// few ask.
    pub fn report(&self, source: &str, checked: &Checked) -> Result<Value, ServerError> {
        let limits = &self.limits().chosen;
        let tokens = lexer::scan(source, self.limits())?;
        let sizes = expansion::check(&checked.document, self.limits())?;
        self.count(tokens.saturating_add(sizes.visited));
        let counted = |value: u64, limit: u64| value!({"value": value, "limit": limit});
        Ok(value!({
            "value": checked.cost,
            "limit": limits.cost,
            "tokens": counted(tokens, limits.tokens),
            "fields": counted(sizes.fields, limits.fields),
            "depth": counted(sizes.depth, limits.depth),
            "aliases": counted(sizes.aliases, limits.aliases),
            "directives": counted(sizes.directives, limits.directives),
        }))
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
