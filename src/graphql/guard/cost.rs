//! How many fields an answer may hold.
//!
//! A page counts as many times as it has entries: what `first` or `last` asks for, or the default
//! page. The versions of a message count as the fifty that there may be, other lists as ten. Fields of
//! introspection are short and cost an eighth; its lists count as what the schema has on average.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned, Value, Variables,
    parser::types::{
        ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
    },
};

use super::types::{self, Types};

/// The entries of a page that names no size, and the most that a page may have.
const DEFAULT_PAGE: u64 = 20;
const LARGEST_PAGE: u64 = 100;

/// The most alternatives that a message tells of.
const MOST_VERSIONS: u64 = 50;

/// How many fields of introspection cost as much as one of data.
const INTROSPECTION_DISCOUNT: u64 = 8;

/// What a list without pages is taken to hold.
const UNPAGED_LIST: u64 = 10;

/// The cost of an operation, and how many selections were looked at to find it.
pub(super) fn of(
    types: &Types,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> (u64, u64) {
    let mut pricing = Pricing {
        types,
        fragments: &document.fragments,
        operation,
        variables,
        known: HashMap::new(),
        visited: 0,
    };
    let root = types.root(operation.ty).map(Name::as_str);
    let cost = pricing.set(&operation.selection_set, root);
    (cost, pricing.visited)
}

struct Pricing<'a> {
    types: &'a Types,
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    known: HashMap<&'a Name, u64>,
    visited: u64,
}

impl<'a> Pricing<'a> {
    /// The recursion is bounded: the first half of the guard has seen the document.
    fn set(&mut self, set: &'a Positioned<SelectionSet>, parent: Option<&'a str>) -> u64 {
        let mut cost = 0_u64;
        for selection in &set.node.items {
            self.visited += 1;
            let part = match &selection.node {
                Selection::Field(field) => self.field(&field.node, parent),
                Selection::InlineFragment(inline) => {
                    let on = match &inline.node.type_condition {
                        Some(condition) => Some(condition.node.on.node.as_str()),
                        None => parent,
                    };
                    self.set(&inline.node.selection_set, on)
                }
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node),
            };
            cost = cost.saturating_add(part);
        }
        cost
    }

    fn fragment(&mut self, name: &Name) -> u64 {
        let fragments = self.fragments;
        let Some((name, fragment)) = fragments.get_key_value(name) else {
            return 0;
        };
        if let Some(cost) = self.known.get(name) {
            return *cost;
        }
        let on = fragment.node.type_condition.node.on.node.as_str();
        let cost = self.set(&fragment.node.selection_set, Some(on));
        self.known.insert(name, cost);
        cost
    }

    fn field(&mut self, field: &'a Field, parent: Option<&'a str>) -> u64 {
        let meta = match field.name.node.as_str() {
            "__schema" => Some("__Schema"),
            "__type" => Some("__Type"),
            name if name.starts_with("__") => return 1,
            _ => None,
        };
        if let Some(meta) = meta {
            let below = self.set(&field.selection_set, Some(meta));
            return 1 + below / INTROSPECTION_DISCOUNT;
        }
        let types = self.types;
        // A field that does not exist is for validation to report.
        let Some(known) = parent.and_then(|parent| types.field(parent, &field.name.node)) else {
            return 1;
        };
        let below = self.set(&field.selection_set, Some(&known.base));
        let entries = self.entries(field, known, parent);
        below.saturating_mul(entries).saturating_add(1)
    }

    fn entries(&self, field: &Field, known: &types::Field, parent: Option<&str>) -> u64 {
        if known.is_paged {
            return ["first", "last"]
                .iter()
                .find_map(|name| match self.argument(field, name)? {
                    Value::Number(size) => size.as_u64(),
                    _ => None,
                })
                .unwrap_or(DEFAULT_PAGE)
                .min(LARGEST_PAGE);
        }
        if !known.is_list {
            return 1;
        }
        if parent.is_some_and(|parent| parent.starts_with("__")) {
            return self.types.listed(&field.name.node);
        }
        if known.is_by_ids {
            return match self.argument(field, "ids") {
                Some(Value::List(ids)) => ids.len() as u64,
                _ => 1,
            };
        }
        if parent == Some("Message") && field.name.node == "versions" {
            return MOST_VERSIONS;
        }
        // The entries of a connection are counted where it was asked for.
        if parent.is_some_and(|parent| parent.ends_with("Connection")) {
            return 1;
        }
        UNPAGED_LIST
    }

    /// The value of an argument; `None`: absent.
    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        let value = field.get_argument(name)?.node.clone();
        value
            .into_const_with(|variable| {
                self.variables
                    .get(&variable)
                    .or_else(|| {
                        self.operation
                            .variable_definitions
                            .iter()
                            .find(|definition| definition.node.name.node == variable)?
                            .node
                            .default_value()
                    })
                    .cloned()
                    .ok_or(())
            })
            .ok()
    }
}
