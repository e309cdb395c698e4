//! Images of ext2, ext3 and ext4 made by the real tools: what there is ([`matrix`]), how one is described ([`Spec`]),
//! made ([`build`]) and kept ([`cache`]).
//!
//! Who calls it: tests ask [`Spec::image`] for the path of an image; it is made the first time and found afterwards.

pub mod build;
pub mod cache;
pub mod journal;
pub mod matrix;
mod spec;
pub mod ten_gib;

pub use spec::{Filling, Kind, Spec, Step, Tree};
