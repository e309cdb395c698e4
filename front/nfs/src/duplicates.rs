//! [`Duplicates`]: a call that comes a second time, because its answer was lost with a connection, gets the same answer and is not done again.
//!
//! Who calls it: `dispatch`, for the procedures that give another answer when they are done twice (to remove what is gone already is an
//! error). Known are the last [`ENTRIES`] such calls of all clients.
//!
//! DP-1. Of calls that are equal (address of the client, number, program, all bytes) one is worked on. One that comes meanwhile gets no answer;
//! the client asks again.
//! DP-2. Memory: a fixed table. An entry is given to another call only when its own is done.
//!
//! The table does not outlive the server: a call that was done before a restart and is sent again after it may be told `EXIST` or `NOENT`, as
//! with other servers of this version of the protocol.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls that are remembered: as many as some clients may have on the way at once, several times over.
const ENTRIES: usize = 512;

/// The most bytes of an answer that is kept: one of CREATE, the longest, has 24 of RPC, a status, a handle of 60 and attributes of 84
/// with their lengths, and 120 on the directory.
const ANSWER_BYTES_MAX: usize = 320;

/// What a call is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    client: IpAddr,
    xid: u32,
    /// Of all bytes, under a key that no client knows.
    hash: u64,
}

/// The table.
pub struct Duplicates {
    hasher: RandomState,
    table: Mutex<Table>,
}

struct Table {
    entries: Box<[Option<Entry>]>,
    /// The entry that was given away longest ago.
    next: usize,
}

struct Entry {
    name: Name,
    answer_bytes: [u8; ANSWER_BYTES_MAX],
    answer_len: Option<usize>,
}

/// What is to be done with a call.
pub enum Seen<'a> {
    /// To be worked on.
    New(Running<'a>),
    /// It is being worked on.
    Running,
    /// It was done; the answer is written.
    Answered,
}

/// A call that is worked on. It is forgotten if no answer is kept.
pub struct Running<'a> {
    duplicates: &'a Duplicates,
    name: Name,
}

impl Duplicates {
    /// An empty table.
    pub fn new() -> Duplicates {
        let entries = (0..ENTRIES).map(|_| None).collect();
        Duplicates { hasher: RandomState::new(), table: Mutex::new(Table { entries, next: 0 }) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a call; writes the answer that it got, if it was done.
    pub fn look(&self, client: IpAddr, xid: u32, record: &[u8], answer: &mut Vec<u8>) -> Seen<'_> {
        let name = Name { client, xid, hash: self.hasher.hash_one(record) };
        let mut table = self.table();
        if let Some(entry) = table.find(name) {
            let Some(len) = entry.answer_len else { return Seen::Running };
            answer.clear();
            answer.extend_from_slice(&entry.answer_bytes[..len]);
            return Seen::Answered;
        }
        table.remember(name);
        Seen::New(Running { duplicates: self, name })
    }
}

impl Table {
    fn find(&mut self, name: Name) -> Option<&mut Entry> {
        self.entries.iter_mut().flatten().find(|entry| entry.name == name)
    }

    /// In the entry that was given away longest ago and is done. If none is, the call is not remembered.
    fn remember(&mut self, name: Name) {
        for _ in 0..self.entries.len() {
            let place = self.next;
            self.next = (place + 1) % self.entries.len();
            let entry = &mut self.entries[place];
            if entry.as_ref().is_none_or(|entry| entry.answer_len.is_some()) {
                *entry = Some(Entry { name, answer_bytes: [0; ANSWER_BYTES_MAX], answer_len: None });
                return;
            }
        }
    }
}

impl Running<'_> {
    /// Keeps the answer.
    pub fn answered(self, answer: &[u8]) {
        if let Some(entry) = self.duplicates.table().find(self.name)
            && let Some(bytes) = entry.answer_bytes.get_mut(..answer.len())
        {
            bytes.copy_from_slice(answer);
            entry.answer_len = Some(answer.len());
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut table = self.duplicates.table();
        let mine = |entry: &Entry| entry.name == self.name && entry.answer_len.is_none();
        if let Some(entry) = table.entries.iter_mut().find(|entry| entry.as_ref().is_some_and(mine)) {
            *entry = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn one_of_equal_calls_is_worked_on() {
        let duplicates = Duplicates::new();
        let mut answer = Vec::new();
        let Seen::New(running) = duplicates.look(CLIENT, 1, b"call", &mut answer) else { panic!("not new") };
        assert!(matches!(duplicates.look(CLIENT, 1, b"call", &mut answer), Seen::Running));
        assert!(matches!(duplicates.look(CLIENT, 1, b"other", &mut answer), Seen::New(_)));
        assert!(matches!(duplicates.look(CLIENT, 2, b"call", &mut answer), Seen::New(_)));
        running.answered(b"answer");
        assert!(matches!(duplicates.look(CLIENT, 1, b"call", &mut answer), Seen::Answered));
        assert_eq!(answer, b"answer");
    }

    #[test]
    fn what_has_no_answer_is_forgotten_and_the_table_keeps_its_size() {
        let duplicates = Duplicates::new();
        let mut answer = Vec::new();
        drop(duplicates.look(CLIENT, 1, b"call", &mut answer));
        assert!(matches!(duplicates.look(CLIENT, 1, b"call", &mut answer), Seen::New(_)));
        let held = duplicates.look(CLIENT, 7, b"held", &mut answer);
        for xid in 100..100 + 2 * ENTRIES as u32 {
            let Seen::New(running) = duplicates.look(CLIENT, xid, b"x", &mut answer) else { panic!("seen") };
            running.answered(b"y");
        }
        assert!(matches!(duplicates.look(CLIENT, 7, b"held", &mut answer), Seen::Running));
        assert_eq!(duplicates.table().entries.len(), ENTRIES);
        drop(held);
    }
}
