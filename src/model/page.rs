//! Keyset pages: which part of an ordered list is asked for, and what was found.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Which end of the list the page is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slice {
    First(u32),
    Last(u32),
}

/// A page of a list whose rows are ordered by `K`. `after` and `before` are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest<K> {
    pub slice: Slice,
    pub after: Option<K>,
    pub before: Option<K>,
}

/// The rows of one page, in the list's order.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Rows come before the first one: known when the page was counted from the end, else told
    /// by the key that it starts after.
    pub has_previous: bool,
    /// Rows come after the last one; likewise.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// From the rows that a query found which asked for one more than the page holds, so as to
    /// learn whether there is one. A page counted from the end was read backwards.
    pub fn from_overfull<K>(mut rows: Vec<T>, request: &PageRequest<K>) -> Self {
        let (Slice::First(limit) | Slice::Last(limit)) = request.slice;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        match request.slice {
            Slice::First(_) => Self {
                items: rows,
                has_previous: request.after.is_some(),
                has_next: more,
            },
            Slice::Last(_) => {
                rows.reverse();
                Self {
                    items: rows,
                    has_previous: more,
                    has_next: request.before.is_some(),
                }
            }
        }
    }
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            has_previous: false,
            has_next: false,
        }
    }
}
