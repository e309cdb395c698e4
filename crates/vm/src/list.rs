//! Doubly linked lists threaded through a table of links: no memory of their own.
//!
//! Who uses it: `page_queue` (free list, eviction queues), `object` (an object's pages).
//!
//! LI-1. An item is in at most one list of a kind at a time. LI-2. Zeroed links are those of an item in no list.
//! Locks: whoever owns the links (the resident lock).

/// A link: a number plus one, so that zeroed memory is a table of empty links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, zerocopy::FromZeros)]
#[repr(transparent)]
pub(crate) struct Link(u32);

impl Link {
    pub(crate) const NONE: Link = Link(0);

    pub(crate) fn to(item: u32) -> Link {
        Link(item + 1)
    }

    pub(crate) fn get(self) -> Option<u32> {
        self.0.checked_sub(1)
    }

    pub(crate) fn raw(self) -> u32 {
        self.0
    }

    pub(crate) fn from_raw(raw: u32) -> Link {
        Link(raw)
    }
}

/// The two links of one item in one list.
#[derive(Clone, Copy, Debug, Default, zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct Links {
    prev: Link,
    next: Link,
}

/// Items that have links for one kind of list.
pub(crate) trait Linked {
    fn links(&mut self, item: u32) -> &mut Links;

    /// The item behind `item` in its list.
    fn next(&mut self, item: u32) -> Option<u32> {
        self.links(item).next.get()
    }
}

/// A list: both ends and the length.
#[derive(Clone, Copy, Debug, Default, zerocopy::FromZeros)]
#[repr(C)]
pub(crate) struct List {
    head: Link,
    tail: Link,
    len: u32,
}

impl List {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn front(&self) -> Option<u32> {
        self.head.get()
    }

    pub(crate) fn back(&self) -> Option<u32> {
        self.tail.get()
    }

    pub(crate) fn push_back(&mut self, all: &mut impl Linked, item: u32) {
        *all.links(item) = Links { prev: self.tail, next: Link::NONE };
        match self.tail.get() {
            Some(last) => all.links(last).next = Link::to(item),
            None => self.head = Link::to(item),
        }
        self.tail = Link::to(item);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, all: &mut impl Linked, item: u32) {
        let Links { prev, next } = core::mem::take(all.links(item));
        match prev.get() {
            Some(before) => all.links(before).next = next,
            None => self.head = next,
        }
        match next.get() {
            Some(behind) => all.links(behind).prev = prev,
            None => self.tail = prev,
        }
        assert!(self.len > 0, "LI-1: removed from an empty list");
        self.len -= 1;
    }

    pub(crate) fn pop_front(&mut self, all: &mut impl Linked) -> Option<u32> {
        let first = self.front()?;
        self.remove(all, first);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    struct Items(Vec<Links>);
    impl Linked for Items {
        fn links(&mut self, item: u32) -> &mut Links {
            &mut self.0[item as usize]
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_deque(steps in proptest::collection::vec((0u8..3, 0u32..20), 0..200)) {
            let mut items = Items(vec![Links::default(); 20]);
            let (mut list, mut model) = (List::default(), VecDeque::new());
            for (step, item) in steps {
                match step {
                    0 if !model.contains(&item) => {
                        list.push_back(&mut items, item);
                        model.push_back(item);
                    }
                    1 if model.contains(&item) => {
                        list.remove(&mut items, item);
                        model.retain(|i| *i != item);
                    }
                    2 => prop_assert_eq!(list.pop_front(&mut items), model.pop_front()),
                    _ => {}
                }
                prop_assert_eq!(list.len() as usize, model.len());
                let mut walked = Vec::new();
                let mut at = list.front();
                while let Some(i) = at {
                    walked.push(i);
                    at = items.next(i);
                }
                prop_assert_eq!(walked, Vec::from_iter(model.iter().copied()));
            }
        }
    }
}
