//! What a document costs, whatever its pages are.

use async_graphql::Variables;
use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::{Guard, guard};
use crate::config::DocumentLimits;

/// Where a page stands, and how its size is written.
#[derive(Clone, Copy, Debug)]
enum Written {
    First,
    Last,
    Variable,
    Default,
}

/// Pages inside pages, and beside each page a fragment that asks for one of its own.
fn document(pages: &[(Written, u32)]) -> (String, Variables) {
    let (mut below, mut variables, mut given) = ("name".to_owned(), Vec::new(), json!({}));
    for (index, (written, size)) in pages.iter().enumerate() {
        let argument = match written {
            Written::First => format!("first: {size}"),
            Written::Last => format!("last: {size}"),
            Written::Variable => {
                variables.push(format!("$v{index}: Int"));
                given[format!("v{index}")] = json!(size);
                format!("first: $v{index}")
            }
            Written::Default => {
                variables.push(format!("$v{index}: Int = {size}"));
                format!("last: $v{index}")
            }
        };
        below = format!("a{index}: items({argument}) {{ nodes {{ ...F {below} }} }}");
    }
    let head = match variables.as_slice() {
        [] => String::new(),
        variables => format!("query ({})", variables.join(", ")),
    };
    (
        format!(
            "{head} {{ item {{ {below} }} }} \
             fragment F on Item {{ items(first: 2) {{ nodes {{ name }} }} }}"
        ),
        Variables::from_json(given),
    )
}

/// Where nothing is too much.
fn generous() -> Guard {
    let limits = DocumentLimits {
        cost: u64::MAX,
        ..DocumentLimits::default()
    };
    Guard::new(limits.into(), &super::schema().sdl())
}

fn cost(guard: &Guard, pages: &[(Written, u32)]) -> u64 {
    let (query, variables) = document(pages);
    let read = guard
        .read(&query)
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    guard
        .check(read.document, None, &variables)
        .unwrap_or_else(|error| panic!("{query}: {error:?}"))
        .cost
}

fn a_page() -> impl Strategy<Value = (Written, u32)> {
    let written = prop_oneof![
        Just(Written::First),
        Just(Written::Last),
        Just(Written::Variable),
        Just(Written::Default),
    ];
    (written, 0..=150_u32)
}

proptest! {
    #[test]
    fn a_larger_page_never_costs_less(
        pages in vec(a_page(), 1..=6),
        which in any::<prop::sample::Index>(),
        more in 0..=150_u32,
    ) {
        let guard = generous();
        let mut larger = pages.clone();
        let page = which.get(&larger).1 + more;
        let place = which.index(larger.len());
        larger[place].1 = page;
        prop_assert!(cost(&guard, &larger) >= cost(&guard, &pages));
    }

    #[test]
    fn how_a_page_is_written_does_not_change_what_it_costs(pages in vec(a_page(), 1..=6)) {
        let guard = generous();
        let literal: Vec<_> = pages.iter().map(|(_, size)| (Written::First, *size)).collect();
        prop_assert_eq!(cost(&guard, &pages), cost(&guard, &literal));
    }
}

#[test]
fn a_refusal_by_cost_tells_what_the_operation_would_have_cost() {
    let pages = [(Written::First, 100), (Written::Last, 100)];
    let (query, variables) = document(&pages);
    let guard = guard();
    let document = guard.read(&query).expect("a document").document;
    let error = guard
        .check(document, None, &variables)
        .expect_err("too much");
    super::refused_by(&error, "cost");
    let told = super::extension(&error, "cost").expect("the cost");
    assert_eq!(told.to_string(), cost(&generous(), &pages).to_string());
}
