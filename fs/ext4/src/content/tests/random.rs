//! Random writes, cuts, holes and allocations on several files, on every kind of file system.

use super::model::{Model, byte};
use super::{debugfs, free_blocks, image_with_files};
use crate::alloc::tests::{Image, Mounted, assert_clean};
use rumpcap_host::Error;
use rumpcap_vfs::{Allocate, InodeNo};

/// What is made, and how far files reach.
struct Kind {
    mke2fs: (&'static str, &'static str),
    has_extents: bool,
    reach: u64,
}

const fn kind(arguments: &'static str, size: &'static str, has_extents: bool, reach: u64) -> Kind {
    Kind { mke2fs: (arguments, size), has_extents, reach }
}

/// Pieces of a block or two, so that maps become deep.
const FINE: &[Kind] = &[
    kind("-t ext4 -b 1024 -g 2048", "20M", true, 3 << 20),
    kind("-t ext4 -b 1024 -O ^metadata_csum,^has_journal", "20M", true, 3 << 20),
    kind("-t ext2 -b 1024", "20M", false, 3 << 20),
    kind("-t ext4 -b 1024 -O bigalloc -C 8192", "24M", true, 3 << 20),
    kind("-t ext4 -b 1024 -O bigalloc,^has_journal -C 2048", "20M", true, 3 << 20),
];

const KINDS: &[Kind] = &[
    kind("-t ext4 -b 1024", "24M", true, 6 << 20),
    kind("-t ext4 -b 4096 -O ^has_journal", "64M", true, 20 << 20),
    kind("-t ext4 -b 1024 -g 1024 -O ^metadata_csum,^64bit", "20M", true, 5 << 20),
    kind("-t ext4 -b 2048 -O inline_data -I 512", "40M", true, 4000),
    kind("-t ext2 -b 1024", "24M", false, 6 << 20),
    kind("-t ext3 -b 4096", "64M", false, 20 << 20),
    kind("-t ext2 -b 1024 -O ^large_file", "20M", false, 16 << 30),
    kind("-t ext4 -b 1024", "20M", true, 1 << 41),
    kind("-t ext4 -b 4096 -O bigalloc -C 16384", "64M", true, 20 << 20),
    kind("-t ext4 -b 4096 -O bigalloc -C 65536", "64M", true, 20 << 20),
    kind("-t ext4 -b 1024 -O bigalloc -C 8192", "24M", true, 6 << 20),
    kind("-t ext4 -b 1024 -O bigalloc -C 65536", "40M", true, 1 << 41),
    kind("-t ext4 -b 2048 -O bigalloc,inline_data -C 16384 -I 512", "40M", true, 4000),
];

/// Numbers that look random, the same for a seed.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 3) % end.max(1)
    }
}

struct World {
    image: Image,
    kind: &'static Kind,
    inodes: Vec<InodeNo>,
    files: Vec<Model>,
    random: Random,
    tag: u64,
    /// Most blocks of a piece.
    most: u64,
}

const FILES: u64 = 3;
const ROUNDS: u32 = 4;

impl World {
    fn operate(&mut self, mounted: &Mounted) {
        let at = self.random.below(FILES) as usize;
        let (ino, block) = (self.inodes[at], u64::from(mounted.fs.sb.block_size));
        let reach = self.kind.reach;
        let offset = match self.random.below(4) {
            0 => self.files[at].size,
            1 => self.random.below(reach),
            2 => self.random.below(reach) / block * block,
            _ => self.random.below(reach.min(40 * block)) / block * block,
        };
        let len = 1 + match self.random.below(4) {
            0 => self.random.below(3 * block),
            1 => self.random.below(200 * block),
            _ => block - 1,
        };
        let len = len.min(self.most * block).min(reach.saturating_sub(offset)).max(1);
        let before = free_blocks(&mounted.fs);
        match self.random.below(16) {
            0..9 => self.write(mounted, at, offset, len),
            9 if self.most > 2 || self.random.below(100) == 0 => {
                mounted.set_size(ino, offset).unwrap();
                self.files[at].set_size(offset);
            }
            9..14 => {
                mounted.punch(ino, offset..offset + len).unwrap();
                self.files[at].zero(offset, offset + len);
            }
            _ => {
                let how = [Allocate::Extend, Allocate::KeepSize][self.random.below(2) as usize];
                match mounted.allocate(ino, offset..offset + len, how) {
                    Ok(()) if how == Allocate::Extend => {
                        self.files[at].size = self.files[at].size.max(offset + len)
                    }
                    Ok(()) => assert!(self.kind.has_extents),
                    Err(Error::NoSpace { .. }) => {
                        mounted.set_size(ino, 0).unwrap();
                        self.files[at].set_size(0);
                    }
                    Err(error) => {
                        assert!(!self.kind.has_extents && before == free_blocks(&mounted.fs), "{error:?}")
                    }
                }
            }
        }
    }

    fn write(&mut self, mounted: &Mounted, at: usize, offset: u64, len: u64) {
        self.tag += 1;
        let data: Vec<u8> = (offset..offset + len).map(|at| byte(self.tag, at)).collect();
        let ino = self.inodes[at];
        match mounted.write(ino, offset, &data) {
            Ok(()) => self.files[at].write(offset, len, self.tag),
            Err(Error::NoSpace { .. }) => {
                mounted.set_size(ino, 0).unwrap();
                self.files[at].set_size(0);
            }
            Err(error) => panic!("write {offset} {len}: {error:?}"),
        }
    }

    fn check(&self, mounted: &Mounted) {
        for (&ino, file) in self.inodes.iter().zip(&self.files) {
            assert_eq!(mounted.file(ino).attributes.size_bytes, file.size);
            // What is far from anything that was written is looked at by debugfs alone.
            let mut places = vec![(0, file.size.min(64 << 10))];
            places.extend(file.pieces().map(|(from, to, _)| (from.saturating_sub(5000), to + 5000)));
            for (from, to) in places {
                let content = mounted.read(ino, from..to);
                assert_eq!(file.differs(from, &content), None, "inode {ino:?}, bytes from {from}");
            }
        }
    }

    /// debugfs finds the same content.
    fn check_by_debugfs(&self) {
        let out = self.image.path().with_file_name("out");
        for (at, file) in self.files.iter().enumerate().filter(|(_, file)| file.size < 64 << 20) {
            debugfs(&self.image.path(), &format!("dump f{at} {}\n", out.display()));
            let content = std::fs::read(&out).unwrap();
            assert_eq!(content.len() as u64, file.size);
            assert_eq!(file.differs(0, &content), None, "file {at}");
        }
    }
}

fn run(kind: &'static Kind, seed: u64, most: u64, operations: u32) {
    let Some((image, inodes)) = image_with_files(kind.mke2fs, FILES) else { return };
    let files = vec![Model::default(); FILES as usize];
    let random = Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1);
    let mut world = World { image, kind, inodes, files, random, tag: 0, most };
    for round in 0..ROUNDS {
        let mounted = world.image.mount();
        for _ in 0..operations {
            world.operate(&mounted);
        }
        world.check(&mounted);
        mounted.unmount();
        let what = format!("{:?} seed {seed} round {round}", kind.mke2fs);
        assert_clean(&world.image.path(), &what);
        world.check_by_debugfs();
    }
    let mounted = world.image.mount();
    for (file, &ino) in world.files.iter_mut().zip(&world.inodes) {
        mounted.set_size(ino, 0).unwrap();
        assert_eq!(mounted.file(ino).attributes.blocks_512, 0);
        file.set_size(0);
    }
    mounted.unmount();
    assert_clean(&world.image.path(), "emptied");
}

/// How many seeds: more by `RUMPCAP_CONTENT_SEEDS`.
fn seeds() -> u64 {
    std::env::var("RUMPCAP_CONTENT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn random_operations_on_every_kind() {
    for seed in 1..=seeds() {
        for kind in KINDS {
            run(kind, seed, 200, 150);
        }
    }
}

#[test]
fn many_small_operations() {
    for seed in 1..=seeds() {
        for kind in FINE {
            run(kind, seed, 2, 3000);
        }
    }
}
