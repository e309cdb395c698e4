//! Listings in the order of the names' hashes: what is given does not depend on where an entry is.
//!
//! Who calls it: `dir::read_dir_stable`. Whom it calls: `htree` for leaves, `dir` for their entries, `hash`.
//!
//! A tree is listed leaf by leaf: the way is gone from the root for each, the leaf's entries are picked and sorted, and given. Names of
//! a hash that goes on in further leaves are a span of their own, over all of those. A directory without a tree is one span. Within a
//! span entries are picked in as many passes as it takes (`picks`), which for a leaf of 4 KiB is one.
//!
//! BH-1. Each span begins behind the one before: the pointer behind a leaf is above the hash that led there, however the tree is
//! damaged. So a listing ends, and its cookies ascend. BH-2. A name whose hash is not of its leaf (other tables to fold by, damage) counts as
//! the leaf's lowest or highest, so that it is given with the leaf, once; it stays in that half when the leaf is split.
//! A tree that cannot be used from some place on (HT-1) is left: what remains is picked from all blocks, in the same order. So is a
//! directory that has no tree any more, or never had one and has grown out of its inode. That takes a pass over all blocks for each 170
//! names, and is right.
//!
//! Which directories begin in this order: those with a tree, and those that may get one; on mounts that are written. Where entries never
//! move (no index, and more than one block) and where nothing is written, the order of positions is as good and quicker.
//!
//! Memory: 5 KiB of the stack. Pins: see DIR-2. Failure: entries of spans before the broken one have been given.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::entry::{Broken, Entry};
use super::hash_cookie::{BEHIND_DOT, HashCookie, Order, Ordinals};
use super::picks::{Pick, Picks};
use super::{BlockPlace, Dir, Giver, Verdict, inline, is_dot};
use crate::hash::{HashVersion, NameHasher};
use crate::htree::{LeafBounds, Path, Step};
use crate::node::Ext4Node;
use core::ops::ControlFlow;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::DirCookie;

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());
/// Spans for each leaf: its own, and that of a hash which goes on in the next.
const SPANS_PER_LEAF: u64 = 2;

/// Entries that are picked together.
enum Span {
    /// Those of one leaf, up to hash `last`.
    Leaf { place: BlockPlace, bounds: LeafBounds, last: u32 },
    /// Those of one hash, in all leaves that have it.
    Hash(u32),
    /// All.
    All,
}

struct Listing<'l, 'v> {
    dir: &'l Dir<'l, 'v>,
    hasher: NameHasher,
    /// In the tree, as long as it leads to the entries.
    path: Option<Path<'l, 'v>>,
}

/// Gives what is behind `from`, without `.` and `..`.
pub(super) fn list(dir: &Dir<'_, '_>, from: HashCookie, giver: &mut Giver<'_, '_>) -> Result<()> {
    let mut listing = Listing::open(dir)?;
    let mut ordinals = Ordinals::new(from);
    let mut picks = Picks::new(from.order());
    for _ in 0..=dir.blocks.saturating_mul(SPANS_PER_LEAF) {
        let (span, next) = listing.span(picks.from().hash())?;
        loop {
            if listing.pick(&span, &mut picks)?.is_none() {
                // The tree ends in nothing: another span has the rest.
                listing.path = None;
                picks.forget();
                break;
            }
            if listing.give(&span, &mut picks, &mut ordinals, giver)?.is_break() {
                return Ok(());
            }
            if !picks.go_on() {
                let Some(hash) = next else { return Ok(()) };
                picks.restart(Order::new(hash, 0));
                break;
            }
        }
    }
    Err(dir.corrupt("directory: index"))
}

impl Dir<'_, '_> {
    /// Whether a listing that begins now is in the order of hashes.
    pub(super) fn is_kept_by_hash(&self) -> Result<bool> {
        if self.fs.writer.is_none() || self.is_encrypted() {
            return Ok(false);
        }
        if self.is_indexed() {
            return Ok(Path::open(self)?.is_some());
        }
        let gets_index = || {
            self.fs.sb.features.has_dir_index()
                && HashVersion::from_raw(self.fs.sb.default_hash_version).is_some()
        };
        Ok(self.node.is_inline() || (self.blocks == 1 && gets_index()))
    }

    /// Gives `.` and `..`, those that are behind `from`.
    pub(super) fn give_dots(&self, from: DirCookie, giver: &mut Giver<'_, '_>) -> Result<ControlFlow<()>> {
        let mut flow = CONTINUE;
        let mut visit = |_: u64, entry: Entry<'_>| match entry.name {
            b"." if from == BEHIND_DOT => CONTINUE,
            b"." => {
                flow = giver.give(&entry, BEHIND_DOT.0);
                flow
            }
            b".." => {
                flow = giver.give(&entry, HashCookie::FIRST.write().0);
                ControlFlow::Break(())
            }
            _ => CONTINUE,
        };
        if self.node.is_inline() {
            inline::scan(self, 0, &mut visit)?;
        } else {
            self.scan(0, self.blocks.min(1), &mut visit)?;
        }
        Ok(flow)
    }
}

impl<'l, 'v> Listing<'l, 'v> {
    fn open(dir: &'l Dir<'l, 'v>) -> Result<Listing<'l, 'v>> {
        let tree = if dir.is_indexed() { Path::open(dir)? } else { None };
        if let Some((path, hasher)) = tree {
            return Ok(Listing { dir, hasher, path: Some(path) });
        }
        // That of the tree which it may get; without any, one is as good as another.
        let version = HashVersion::from_raw(dir.fs.sb.default_hash_version).unwrap_or(HashVersion::HalfMd4);
        Ok(Listing { dir, hasher: NameHasher::of(&dir.fs.sb, version), path: None })
    }

    /// The span that `hash` is in, and the hash that the next one begins with.
    fn span(&mut self, hash: u32) -> Result<(Span, Option<u32>)> {
        let Some(path) = &mut self.path else { return Ok((Span::All, None)) };
        let Step::To(place) = path.descend(hash)? else {
            self.path = None;
            return Ok((Span::All, None));
        };
        let bounds = path.bounds()?;
        Ok(match bounds.next {
            Some(next) if next & 1 == 1 && next & !1 <= hash => (Span::Hash(hash), hash.checked_add(2)),
            Some(next) if next & 1 == 1 => {
                let shared = next & !1;
                (Span::Leaf { place, bounds, last: shared.saturating_sub(2) }, Some(shared))
            }
            next => (Span::Leaf { place, bounds, last: u32::MAX }, next),
        })
    }

    /// Shows `picks` the entries of a span; `None` if the tree cannot be used for that.
    fn pick(&mut self, span: &Span, picks: &mut Picks) -> Result<Option<()>> {
        match *span {
            Span::All => {
                let is_inline = self.dir.node.is_inline();
                let log = self.dir.fs.sb.block_log;
                let mut visit = |base: u64, entry: Entry<'_>| {
                    let (block, at) = match is_inline {
                        true => (0, (base as u32).saturating_add(entry.at)),
                        false => ((base >> log) as u32, entry.at),
                    };
                    if let Some((hash, minor)) = self.hash(&entry) {
                        picks.offer(Pick { order: Order::new(hash, minor), block, at });
                    }
                    CONTINUE
                };
                self.dir.scan_all(0, &mut visit)?;
            }
            Span::Leaf { place, bounds, last } => {
                self.pick_leaf(place, bounds, picks, |hash| hash <= last)?;
            }
            Span::Hash(wanted) => return self.pick_hash(wanted, picks),
        }
        Ok(Some(()))
    }

    fn pick_hash(&mut self, wanted: u32, picks: &mut Picks) -> Result<Option<()>> {
        let Some(mut path) = self.path.take() else { return Ok(None) };
        let mut step = path.descend(wanted)?;
        for _ in 0..self.dir.blocks {
            match step {
                Step::To(place) => self.pick_leaf(place, path.bounds()?, picks, |hash| hash == wanted)?,
                Step::End => {
                    self.path = Some(path);
                    return Ok(Some(()));
                }
                Step::Unusable => return Ok(None),
            }
            step = path.next_leaf(wanted)?;
        }
        Ok(None)
    }

    /// Shows `picks` the entries of a leaf whose hash (BH-2) is wanted.
    fn pick_leaf(
        &self,
        place: BlockPlace,
        bounds: LeafBounds,
        picks: &mut Picks,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Result<()> {
        // The hash before the next leaf's, or that hash if it is in both.
        let high = bounds.next.map_or(u32::MAX, |next| next.saturating_sub(1)) & !1;
        let _ = self.dir.walk_block(place, 0, |entry| {
            if let Some((hash, minor)) = self.hash(&entry) {
                let hash = hash.max(bounds.low).min(high);
                if is_wanted(hash) {
                    let (order, block) = (Order::new(hash, minor), place.logical as u32);
                    picks.offer(Pick { order, block, at: entry.at });
                }
            }
            CONTINUE
        })?;
        Ok(())
    }

    /// Hash and minor of an entry that is not `.` or `..`.
    fn hash(&self, entry: &Entry<'_>) -> Option<(u32, u32)> {
        let hash = |name: &[u8]| self.hasher.hash_and_minor(name);
        (!is_dot(entry.name)).then(|| self.dir.with_hashed_bytes(entry.name, hash))
    }

    /// Gives what was picked.
    fn give(
        &self,
        span: &Span,
        picks: &mut Picks,
        ordinals: &mut Ordinals,
        giver: &mut Giver<'_, '_>,
    ) -> Result<ControlFlow<()>> {
        for picked in picks.sorted().chunk_by(|a, b| a.block == b.block) {
            let Some(&Pick { block, .. }) = picked.first() else { continue };
            let mut give = |pick: &Pick, entry: &Entry<'_>| -> Result<ControlFlow<()>> {
                Ok(ordinals.behind(pick.order)?.map_or(CONTINUE, |next| giver.give(entry, next.0)))
            };
            let flow = if self.dir.node.is_inline() {
                self.give_inline(picked, &mut give)?
            } else {
                let place = match *span {
                    Span::Leaf { place, .. } => place,
                    _ => self.place_of(u64::from(block))?,
                };
                self.give_block(place, picked, &mut give)?
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(CONTINUE)
    }

    fn give_inline<G>(&self, picked: &[Pick], give: &mut G) -> Result<ControlFlow<()>>
    where
        G: FnMut(&Pick, &Entry<'_>) -> Result<ControlFlow<()>>,
    {
        for pick in picked {
            let mut flow = Ok(CONTINUE);
            inline::scan(self.dir, u64::from(pick.at), &mut |_, entry| {
                flow = give(pick, &entry);
                ControlFlow::Break(())
            })?;
            if flow?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(CONTINUE)
    }

    /// Where a block is that was picked from.
    fn place_of(&self, logical: u64) -> Result<BlockPlace> {
        let dir = self.dir;
        let gone = Error::Corrupt { what: "directory: block that is gone", at: logical };
        let physical = dir.fs.map_block(dir.r, dir.node, logical)?.ok_or(gone)?;
        Ok(BlockPlace { logical, physical, ahead: 0 })
    }

    fn give_block<G>(&self, place: BlockPlace, picked: &[Pick], give: &mut G) -> Result<ControlFlow<()>>
    where
        G: FnMut(&Pick, &Entry<'_>) -> Result<ControlFlow<()>>,
    {
        let dir = self.dir;
        let window = dir.block_window(place, 0, &mut Verdict::Unknown)?;
        // A block that is in one page stays pinned for all of its entries.
        let whole = Some(window).filter(|window| window.bytes().len() == dir.rules.limit as usize);
        for pick in picked {
            let mut flow = Ok(CONTINUE);
            let mut visit = |entry: Entry<'_>| {
                flow = give(pick, &entry);
                ControlFlow::Break(())
            };
            let broken = |Broken(what)| Error::Corrupt { what, at: place.physical };
            let (mut at, from) = (pick.at, pick.at);
            let _ = match &whole {
                Some(window) => dir.rules.walk(window.bytes(), 0, &mut at, from, visit).map_err(broken)?,
                None => dir.walk_block_at(place, at, from, &mut visit)?,
            };
            if flow?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(CONTINUE)
    }
}
