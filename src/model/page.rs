//! Keyset pages: which part of an ordered list is asked for, and what was found.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Which end of the list the page is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    First(u32),
    Last(u32),
}

/// A page of a list whose rows are ordered by `K`. `after` and `before` are exclusive.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<K> {
    pub slice: Slice,
    pub after: Option<K>,
    pub before: Option<K>,
}

/// The rows of one page, in the list's order.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub has_previous: bool,
    pub has_next: bool,
}
