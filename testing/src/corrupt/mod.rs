//! The seeded corruptor: real images with damage in a structure of the file system's choice, by the number.
//!
//! Who calls it: the corruption tests and the fuzz targets. A [`Base`] is a real image in memory and the places of its
//! structures ([`structures`]); [`Base::damage`] gives a device of it with a few changes ([`edit`]), with checksums left
//! wrong or made right again ([`checksum`]) so that the parsers behind them are reached. The same seed gives
//! the same damage on the same image.

pub mod checksum;
pub mod edit;
mod overlay;
mod structures;

pub use overlay::DamagedImage;
pub use structures::{Geometry, Place, Structure};

use crate::seed::Random;
use std::path::Path;
use std::sync::Arc;

/// A real image in memory, and the places of its structures.
pub struct Base {
    /// Its name in reports.
    pub name: String,
    bytes: Arc<Vec<u8>>,
    geometry: Geometry,
    places: Vec<Place>,
}

/// What was done to an image, for reports.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The seed it came from.
    pub seed: u64,
    /// Whether checksums were made right again.
    pub checksums_right: bool,
    /// The changes, in words.
    pub changes: Vec<String>,
}

impl Base {
    /// Loads the image at `path`.
    ///
    /// # Panics
    /// When it is no whole image of ext2, ext3 or ext4.
    pub fn load(name: &str, path: &Path) -> Base {
        let bytes = std::fs::read(path).expect("reading an image");
        let geometry = Geometry::of(&bytes).expect("a real super block");
        let places = structures::find(&bytes, &geometry);
        Base { name: name.to_owned(), bytes: Arc::new(bytes), geometry, places }
    }

    /// The places of all structures.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The image itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The image's geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The image without damage, to be changed.
    pub fn undamaged(&self) -> DamagedImage {
        DamagedImage::new(Arc::clone(&self.bytes))
    }

    /// The image with the damage of `seed`.
    pub fn damage(&self, seed: u64) -> (DamagedImage, Damage) {
        let mut random = Random::new(seed);
        let mut image = self.undamaged();
        let checksums_right = !random.one_in(3);
        let mut damage = Damage { seed, checksums_right, changes: Vec::new() };
        for _ in 0..=random.below(3) {
            let kind = *random.pick(&structures::KINDS);
            let of_kind: Vec<&Place> = self.places.iter().filter(|place| place.structure == kind).collect();
            if of_kind.is_empty() {
                continue;
            }
            let place = *random.pick(&of_kind);
            damage.changes.push(edit::edit(&mut image, place, self, &mut random));
            if checksums_right {
                checksum::mend(&mut image, place, &self.geometry);
            }
        }
        if random.one_in(12) {
            let len = random.below(self.bytes.len() as u64 + 1);
            image.truncate(len);
            damage.changes.push(format!("cut to {len} bytes"));
        }
        (image, damage)
    }
}
