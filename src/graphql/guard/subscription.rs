//! A subscription has one root field (<https://spec.graphql.org/October2021/#sec-Single-root-field>).
//!
//! The library runs a stream for each of several, and none at all for a field that stands in a
//! fragment. So more than one is refused here, and one in a fragment is lifted out of it.

use std::collections::HashSet;

use async_graphql::{
    Name, Positioned,
    parser::types::{
        DocumentOperations, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
    },
};

use super::{Refusal, operation};

/// The document to run in place of this one, if it has to be another.
pub(super) fn with_one_root_field(
    document: &ExecutableDocument,
    name: Option<&str>,
    subscription_type: Option<&Name>,
) -> Result<Option<ExecutableDocument>, Refusal> {
    let Some(operation) = operation(document, name) else {
        return Ok(None);
    };
    let mut root = Root {
        document,
        subscription_type,
        fields: Vec::new(),
        fragments: Vec::new(),
        foreign: false,
    };
    root.collect(&operation.node.selection_set)?;
    if root.foreign {
        // A fragment that cannot apply here: validation says which.
        return Ok(None);
    }
    let Some((first, others)) = root.fields.split_first() else {
        return Ok(None);
    };
    if let Some(other) = others.iter().find(|other| !same_field(first, other)) {
        return Err(several(operation_name(document, name), other));
    }
    let plain = matches!(
        operation.node.selection_set.node.items.as_slice(),
        [Positioned {
            node: Selection::Field(_),
            ..
        }]
    );
    if plain {
        return Ok(None);
    }

    let mut field = (*first).clone();
    for other in others {
        let items = other.node.selection_set.node.items.iter().cloned();
        field.node.selection_set.node.items.extend(items);
    }
    let lifted = root.fragments;
    let mut document = document.clone();
    if let Some(operation) = select_mut(&mut document, name) {
        let at = field.pos;
        operation.node.selection_set.node = SelectionSet {
            items: vec![Positioned::new(Selection::Field(field), at)],
        };
    }
    // Validation refuses a fragment that nothing spreads, and a spread of one that is gone.
    let kept = still_spread(&document, &lifted);
    document
        .fragments
        .retain(|fragment, _| kept.contains(fragment) || !lifted.contains(fragment));
    Ok(Some(document))
}

struct Root<'a> {
    document: &'a ExecutableDocument,
    subscription_type: Option<&'a Name>,
    fields: Vec<&'a Positioned<Field>>,
    /// Fragments spread at the root. They apply to the subscription type, so nothing but the
    /// root of another subscription can use them too.
    fragments: Vec<Name>,
    /// A fragment is unknown, or on another type.
    foreign: bool,
}

impl<'a> Root<'a> {
    /// The recursion ends: the guard has refused fragments that spread themselves.
    fn collect(&mut self, set: &'a Positioned<SelectionSet>) -> Result<(), Refusal> {
        for selection in &set.node.items {
            if let Some(directive) =
                selection.node.directives().iter().find(|directive| {
                    matches!(directive.node.name.node.as_str(), "skip" | "include")
                })
            {
                return Err(Refusal::Invalid {
                    message: format!(
                        "@{} cannot be used at the root of a subscription.",
                        directive.node.name.node
                    ),
                    at: Some(directive.pos),
                });
            }
            match &selection.node {
                Selection::Field(field) => self.fields.push(field),
                Selection::InlineFragment(inline) => {
                    if let Some(condition) = &inline.node.type_condition {
                        self.enter(&condition.node.on.node);
                    }
                    self.collect(&inline.node.selection_set)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    match self.document.fragments.get(name) {
                        None => self.foreign = true,
                        Some(_) if self.fragments.contains(name) => {}
                        Some(fragment) => {
                            self.fragments.push(name.clone());
                            self.enter(&fragment.node.type_condition.node.on.node);
                            self.collect(&fragment.node.selection_set)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, type_name: &Name) {
        self.foreign |= self.subscription_type != Some(type_name);
    }
}

/// The fragments that a document spreads, but for those that only `lifted` ones spread.
fn still_spread(document: &ExecutableDocument, lifted: &[Name]) -> HashSet<Name> {
    let mut spreads = Spreads {
        document,
        found: HashSet::new(),
    };
    for (_, operation) in document.operations.iter() {
        spreads.walk(&operation.node.selection_set.node);
    }
    for (name, fragment) in &document.fragments {
        if !lifted.contains(name) {
            spreads.walk(&fragment.node.selection_set.node);
        }
    }
    spreads.found.into_iter().cloned().collect()
}

struct Spreads<'a> {
    document: &'a ExecutableDocument,
    found: HashSet<&'a Name>,
}

impl<'a> Spreads<'a> {
    /// Enters each fragment once by its spreads, however often it is spread.
    fn walk(&mut self, set: &'a SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.walk(&field.node.selection_set.node),
                Selection::InlineFragment(inline) => {
                    self.walk(&inline.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let fragments = &self.document.fragments;
                    let name = &spread.node.fragment_name.node;
                    if let Some((name, fragment)) = fragments.get_key_value(name)
                        && self.found.insert(name)
                    {
                        self.walk(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
}

fn same_field(left: &Positioned<Field>, right: &Positioned<Field>) -> bool {
    left.node.response_key().node == right.node.response_key().node
        && left.node.name.node == right.node.name.node
        && left.node.arguments.len() == right.node.arguments.len()
        && left.node.arguments.iter().all(|(name, value)| {
            right
                .node
                .get_argument(&name.node)
                .is_some_and(|other| other.node == value.node)
        })
}

fn several(name: Option<&str>, other: &Positioned<Field>) -> Refusal {
    Refusal::Invalid {
        message: match name {
            Some(name) => format!("Subscription \"{name}\" must select only one top level field."),
            None => "Anonymous Subscription must select only one top level field.".to_owned(),
        },
        at: Some(other.pos),
    }
}

fn operation_name<'a>(document: &'a ExecutableDocument, name: Option<&'a str>) -> Option<&'a str> {
    match &document.operations {
        DocumentOperations::Single(_) => None,
        DocumentOperations::Multiple(operations) => {
            name.or_else(|| operations.keys().next().map(Name::as_str))
        }
    }
}

fn select_mut<'a>(
    document: &'a mut ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a mut Positioned<OperationDefinition>> {
    match &mut document.operations {
        DocumentOperations::Single(operation) => Some(operation),
        DocumentOperations::Multiple(operations) => match name {
            Some(name) => operations.get_mut(name),
            None => operations.values_mut().next(),
        },
    }
}
