//! Cookies of a listing in the order of hashes, and which entry each stands for. Pure.
//!
//! Who calls it: `dir`, `dir::by_hash`.
//!
//! ```text
//! 63  62  61           31  30          7  6     0
//! 0   1   hash, high 31    minor, high 24  ordinal
//! ```
//! A cookie is made of the name alone, so it outlives whatever moves entries: splits, the first tree, the way out of the inode, a
//! restart. Bit 62 tells it from the positions of the other order, which are below 2^48. Names that are equal in the 55 bits of hash
//! and minor are told apart by their ordinal among them. HC-1. The cookie behind an entry is its own plus 1.
//!
//! What that leaves: if two names share the 55 bits, a listing stops just between them, and the first is removed before it goes
//! on, then the second is passed over. Two names of 10,000,000 share them by chance once in 700 directories; whoever knows the file
//! system's seed can make such names. More than [`ORDINALS`] of them are an error: not lost, and not given again for ever.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use rumpcap_host::{Error, Result};
use rumpcap_vfs::DirCookie;

/// Where every listing begins.
pub(super) const START: DirCookie = DirCookie(0);
/// Behind `.` in this order: no position of a record. What is behind `..` is [`HashCookie::FIRST`].
pub(super) const BEHIND_DOT: DirCookie = DirCookie(1);

/// Set in a cookie of this order.
const BY_HASH: u64 = 1 << 62;
const ORDINAL_BITS: u32 = 7;
/// Names of the same hash and minor that can be told apart.
const ORDINALS: u64 = 1 << ORDINAL_BITS;
/// Low bits of the minor that a cookie does not have.
const MINOR_REST_BITS: u32 = 8;

/// What names are ordered by: the hash without its low bit, then the minor; 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order(u64);

/// What a cookie can tell of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group(u64);

/// A place in the order of hashes: before the entry of that ordinal in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashCookie {
    group: Group,
    ordinal: u64,
}

impl Order {
    pub fn new(hash: u32, minor: u32) -> Order {
        Order(u64::from(hash >> 1) << 32 | u64::from(minor))
    }

    /// Its hash, the low bit 0.
    pub fn hash(self) -> u32 {
        ((self.0 >> 32) as u32) << 1
    }

    fn group(self) -> Group {
        Group(self.0 >> MINOR_REST_BITS)
    }
}

impl HashCookie {
    /// Before all names.
    pub const FIRST: HashCookie = HashCookie { group: Group(0), ordinal: 0 };

    /// That of `cookie`; `None` if it is one of another order.
    pub fn read(cookie: DirCookie) -> Option<HashCookie> {
        let place = cookie.0 ^ BY_HASH;
        let group = Group(place >> ORDINAL_BITS);
        (place < BY_HASH).then_some(HashCookie { group, ordinal: place & (ORDINALS.wrapping_sub(1)) })
    }

    pub fn write(self) -> DirCookie {
        DirCookie(BY_HASH | self.group.0 << ORDINAL_BITS | self.ordinal)
    }

    /// The lowest order of its group.
    pub fn order(self) -> Order {
        Order(self.group.0 << MINOR_REST_BITS)
    }
}

/// Gives entries, which come in order, their ordinals.
#[derive(Debug)]
pub(super) struct Ordinals {
    from: HashCookie,
    next: HashCookie,
}

impl Ordinals {
    /// For a listing that goes on at `from`: all entries of its group come again.
    pub fn new(from: HashCookie) -> Ordinals {
        Ordinals { from, next: HashCookie { ordinal: 0, ..from } }
    }

    /// The cookie behind the next entry; `None` if the entry is before the place where the listing goes on.
    ///
    /// # Errors
    /// `Unsupported` for more than [`ORDINALS`] of one group.
    pub fn behind(&mut self, order: Order) -> Result<Option<DirCookie>> {
        let group = order.group();
        if group != self.next.group {
            self.next = HashCookie { group, ordinal: 0 };
        }
        let own = self.next;
        if own.ordinal >= ORDINALS {
            return Err(Error::Unsupported {
                what: "directory: more than 128 names of one hash, listed stably",
            });
        }
        self.next.ordinal = own.ordinal.wrapping_add(1);
        let is_before = group == self.from.group && own.ordinal < self.from.ordinal;
        // HC-1: the last ordinal carries into the next group.
        Ok((!is_before).then_some(DirCookie(own.write().0.wrapping_add(1))))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cookies_ascend_and_have_63_bits(mut orders in proptest::collection::vec((any::<u32>(), any::<u32>()), 1..50)) {
            for (hash, _) in &mut orders {
                // Few values, so that some are the same, the highest hash among them.
                *hash = 0xFFFF_FFFC - (*hash % 5) * 2;
            }
            let mut orders: Vec<Order> = orders.iter().map(|&(hash, minor)| Order::new(hash, minor % 1000)).collect();
            orders.sort();
            let mut ordinals = Ordinals::new(HashCookie::FIRST);
            let mut last = HashCookie::FIRST.write();
            for (at, &order) in orders.iter().enumerate() {
                let cookie = ordinals.behind(order).unwrap().unwrap();
                prop_assert!(cookie.0 > last.0 && cookie.0 < 1 << 63);
                // From there on, exactly those behind are given.
                let from = HashCookie::read(cookie).unwrap();
                prop_assert_eq!(from.write(), cookie);
                let mut again = Ordinals::new(from);
                let rest = orders.iter().filter(|&&order| order >= from.order());
                let given = rest.filter(|&&order| again.behind(order).unwrap().is_some()).count();
                prop_assert_eq!(given, orders.len() - at - 1);
                last = cookie;
            }
        }

        #[test]
        fn any_cookie_is_of_one_order(cookie in any::<u64>()) {
            let is_hash = cookie >> 62 == 1;
            prop_assert_eq!(HashCookie::read(DirCookie(cookie)).is_some(), is_hash);
        }
    }

    #[test]
    fn too_many_of_one_hash_are_told() {
        let mut ordinals = Ordinals::new(HashCookie::FIRST);
        let order = Order::new(8, 9);
        let cookies: Vec<_> = (0..128).map(|_| ordinals.behind(order).unwrap().unwrap()).collect();
        assert!(cookies.is_sorted_by(|a, b| a.0 < b.0));
        assert!(matches!(ordinals.behind(order), Err(Error::Unsupported { .. })));
        // The last of a full group is behind it, and before the next.
        let behind = HashCookie::read(cookies[127]).unwrap();
        assert!(behind.order() > order && behind.order() < Order::new(8, 9 + 256));
        assert_eq!(
            Ordinals::new(behind).behind(Order::new(8, 9 + 256)).unwrap().map(|c| c.0),
            Some(cookies[127].0 + 1)
        );
    }
}
