//! How large a document is once its fragments are expanded, without expanding them.
//!
//! A fragment is tallied once and its tally added wherever it is spread, so that the work is
//! linear while the numbers may be exponential (they saturate).

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned,
    parser::types::{ExecutableDocument, FragmentDefinition, Selection, SelectionSet},
};

use super::{Limit, Limits, Refusal};

/// What the operations of a document amount to, fragments expanded.
pub(super) struct Sizes {
    pub fields: u64,
    pub aliases: u64,
    pub directives: u64,
    /// Of the deepest.
    pub depth: u64,
    /// The selections that were looked at to find this.
    pub visited: u64,
}

/// Checks every operation and fragment.
pub(super) fn check(document: &ExecutableDocument, limits: &Limits) -> Result<Sizes, Refusal> {
    let definitions = document.operations.iter().len() + document.fragments.len();
    within(
        Limit::Definitions,
        definitions as u64,
        limits.chosen.definitions,
        None,
    )?;

    let mut expansion = Expansion {
        fragments: &document.fragments,
        tallies: HashMap::new(),
        limits,
        visited: 0,
    };
    let mut total = Tally::default();
    for (_, operation) in document.operations.iter() {
        let tally = expansion.tally(&operation.node.selection_set, 0)?;
        let at = Some(operation.pos);
        total = total.beside(tally);
        total.directives = total
            .directives
            .saturating_add(operation.node.directives.len() as u64);
        expansion.within_totals(&total, operation.pos)?;
        within(Limit::RootFields, tally.own_fields, limits.root_fields, at)?;
        within(Limit::Depth, tally.depth, limits.chosen.depth, at)?;
    }
    // Validation also walks fragments that no operation uses.
    for (name, fragment) in &document.fragments {
        let tally = expansion.fragment(name, fragment, 0)?;
        expansion.within_totals(&tally, fragment.pos)?;
    }
    Ok(Sizes {
        fields: total.fields,
        aliases: total.aliases,
        directives: total.directives,
        depth: total.depth,
        visited: expansion.visited,
    })
}

/// What a selection set amounts to, with everything below it.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Fields of this very set, those that its fragments bring included.
    own_fields: u64,
    fields: u64,
    aliases: u64,
    directives: u64,
    /// Fields inside each other.
    depth: u64,
    /// Selection sets below this one.
    nesting: u64,
    /// Introspection lists inside each other, wherever they stand.
    introspection_lists: u64,
}

impl Tally {
    fn beside(self, other: Self) -> Self {
        Self {
            own_fields: self.own_fields.saturating_add(other.own_fields),
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            introspection_lists: self.introspection_lists.max(other.introspection_lists),
        }
    }
}

/// Set while a fragment is being tallied, so that a cycle is seen.
enum State {
    Entered,
    Done(Tally),
}

struct Expansion<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    tallies: HashMap<&'a Name, State>,
    limits: &'a Limits,
    visited: u64,
}

impl<'a> Expansion<'a> {
    /// `level`: how deep the recursion is; it is refused before it can exhaust the stack.
    fn tally(&mut self, set: &'a Positioned<SelectionSet>, level: u64) -> Result<Tally, Refusal> {
        within(Limit::Nesting, level, self.limits.nesting, Some(set.pos))?;
        let mut tally = Tally::default();
        for selection in &set.node.items {
            self.visited += 1;
            let mut part = match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let mut below = if field.selection_set.node.items.is_empty() {
                        Tally::default()
                    } else {
                        self.tally(&field.selection_set, level + 1)?.raised()
                    };
                    match field.name.node.as_str() {
                        "fields" | "inputFields" | "interfaces" | "possibleTypes" => {
                            below.introspection_lists += 1;
                        }
                        "__schema" | "__type" => {
                            within(
                                Limit::IntrospectionLists,
                                below.introspection_lists,
                                self.limits.introspection_lists,
                                Some(selection.pos),
                            )?;
                            below.introspection_lists = 0;
                            below.depth = 0;
                        }
                        _ => {}
                    }
                    Tally {
                        own_fields: 1,
                        fields: below.fields.saturating_add(1),
                        aliases: below
                            .aliases
                            .saturating_add(u64::from(field.alias.is_some())),
                        depth: below.depth + 1,
                        ..below
                    }
                }
                Selection::InlineFragment(inline) => {
                    self.tally(&inline.node.selection_set, level + 1)?.raised()
                }
                Selection::FragmentSpread(spread) => {
                    let fragments = self.fragments;
                    // An unknown fragment is for validation to report.
                    match fragments.get_key_value(&spread.node.fragment_name.node) {
                        None => Tally::default(),
                        Some((name, fragment)) => {
                            self.fragment(name, fragment, level + 1)?.raised()
                        }
                    }
                }
            };
            part.directives = part
                .directives
                .saturating_add(selection.node.directives().len() as u64);
            tally = tally.beside(part);
        }
        within(
            Limit::Nesting,
            level + tally.nesting,
            self.limits.nesting,
            Some(set.pos),
        )?;
        Ok(tally)
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        fragment: &'a Positioned<FragmentDefinition>,
        level: u64,
    ) -> Result<Tally, Refusal> {
        match self.tallies.get(name) {
            Some(State::Done(tally)) => return Ok(*tally),
            Some(State::Entered) => {
                return Err(Refusal::Invalid {
                    message: format!("Fragment \"{name}\" cannot be spread within itself."),
                    at: Some(fragment.pos),
                });
            }
            None => {}
        }
        self.tallies.insert(name, State::Entered);
        let mut tally = self.tally(&fragment.node.selection_set, level)?;
        tally.directives = tally
            .directives
            .saturating_add(fragment.node.directives.len() as u64);
        self.tallies.insert(name, State::Done(tally));
        Ok(tally)
    }

    fn within_totals(&self, tally: &Tally, at: Pos) -> Result<(), Refusal> {
        let at = Some(at);
        within(Limit::Fields, tally.fields, self.limits.chosen.fields, at)?;
        within(
            Limit::Aliases,
            tally.aliases,
            self.limits.chosen.aliases,
            at,
        )?;
        within(
            Limit::Directives,
            tally.directives,
            self.limits.chosen.directives,
            at,
        )
    }
}

impl Tally {
    /// The same, seen from one selection set further out.
    fn raised(self) -> Self {
        Self {
            nesting: self.nesting + 1,
            ..self
        }
    }
}

fn within(limit: Limit, value: u64, allowed: u64, at: Option<Pos>) -> Result<(), Refusal> {
    if value > allowed {
        return Err(Refusal::Limit {
            limit,
            value: allowed,
            at,
        });
    }
    Ok(())
}
