//! [`LinkMap`]: the first name of every file that has several, until all its names have been seen.
//!
//! Who calls it: `cp`, `tar`. Memory: this is all that grows in them with the tree: about 60 bytes and the name for each file with
//! several names of which some have been seen and some not. Files with one name, nearly all, are not in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// First names by inode number.
#[derive(Default)]
pub struct LinkMap {
    waiting: HashMap<u64, Waiting>,
}

struct Waiting {
    first: Box<[u8]>,
    left: u32,
}

impl LinkMap {
    /// Meets inode `ino`, of `nlink` names, under `name`. Gives the first name if this is not it.
    pub fn meet(&mut self, ino: u64, nlink: u32, name: &[u8]) -> Option<Box<[u8]>> {
        match self.waiting.entry(ino) {
            Entry::Vacant(vacant) => {
                if nlink > 1 {
                    vacant.insert(Waiting { first: name.into(), left: nlink - 1 });
                }
                None
            }
            Entry::Occupied(mut occupied) => {
                occupied.get_mut().left -= 1;
                if occupied.get().left == 0 {
                    return Some(occupied.remove().first);
                }
                Some(occupied.get().first.clone())
            }
        }
    }

    /// The first name could not be made: the next one is to be the first.
    pub fn forget(&mut self, ino: u64) {
        self.waiting.remove(&ino);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_remembered_until_its_last_name() {
        let mut map = LinkMap::default();
        assert_eq!(map.meet(7, 3, b"a"), None);
        assert_eq!(map.meet(7, 3, b"b").as_deref(), Some(b"a".as_slice()));
        assert_eq!(map.waiting.len(), 1);
        assert_eq!(map.meet(7, 3, b"c").as_deref(), Some(b"a".as_slice()));
        assert!(map.waiting.is_empty());
        // A broken link count: more names than it says.
        assert_eq!(map.meet(7, 3, b"d"), None);
        assert_eq!(map.meet(8, 1, b"e"), None);
        assert_eq!(map.meet(8, 0, b"f"), None);
        assert_eq!(map.waiting.len(), 1);
    }
}
