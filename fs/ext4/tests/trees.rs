//! Extent trees that the tools do not make: five levels deep, and broken in every way that a header or a key can be.

mod support;

use rumpcap_host::{Error, Result};
use rumpcap_vfs::Node;
use support::{Image, have_tools, noise};
use tempfile::TempDir;

/// Bytes of a block of these images.
const BLOCK: u64 = 1024;
/// Blocks that the trees are put into: free ones, near the end.
const FIRST_FREE: u64 = 7000;

/// The inode's number and place of `/file` in an image without checksums.
fn image() -> (Image, u64, u64) {
    let tree = TempDir::new().expect("a directory");
    std::fs::write(tree.path().join("file"), noise(1, 5000)).expect("written");
    let arguments = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"];
    let image = Image::make(&arguments, "8M", Some(tree.path()));
    let ino = image.stat(&["/file".to_owned()])["/file"].ino;
    let place = image.debugfs(&["imap /file".to_owned()]);
    // "located at block 259, offset 0x0b00"
    let word = |name: &str| {
        let text = place.split(name).nth(1).expect("imap says it").trim();
        text.split([',', '\n']).next().expect("a number").to_owned()
    };
    let block: u64 = word("at block ").parse().expect("a number");
    let offset = u64::from_str_radix(word("offset ").trim_start_matches("0x"), 16).expect("a hex number");
    (image, ino, block * BLOCK + offset)
}

fn header(entries: u16, max: u16, depth: u16) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [0xF30A, entries, max, depth].iter().flat_map(|v: &u16| v.to_le_bytes()).collect();
    bytes.extend([0; 4]);
    bytes
}

fn index(logical: u32, child: u64) -> Vec<u8> {
    let mut bytes = logical.to_le_bytes().to_vec();
    bytes.extend((child as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

fn leaf(logical: u32, len: u16, first: u64) -> Vec<u8> {
    let mut bytes = logical.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend((first as u32).to_le_bytes());
    bytes
}

/// Content of the file with `root` in its inode and `size` bytes.
fn content(image: &Image, ino: u64, place: u64, root: &[Vec<u8>], size: u32) -> Result<Vec<u8>> {
    image.patch(place + 40, &root.concat());
    image.patch(place + 4, &size.to_le_bytes());
    let mounted = image.mount();
    let node: Node = mounted.node(ino)?;
    mounted.content(&node)
}

#[test]
fn five_levels() {
    if !have_tools() {
        return;
    }
    let (image, ino, place) = image();
    let data = FIRST_FREE + 20;
    image.patch(data * BLOCK, &noise(7, 2 * BLOCK as usize));
    for level in 1..5u16 {
        let at = FIRST_FREE + u64::from(level);
        // The second child is never entered, but ends what the first covers.
        let node = [header(2, 84, 5 - level), index(0, at + 1), index(40 - u32::from(level), 0)].concat();
        image.patch(at * BLOCK, &node);
    }
    let last = [header(2, 84, 0), leaf(3, 2, data), leaf(7, 0x8000 + 4, data)].concat();
    image.patch((FIRST_FREE + 5) * BLOCK, &last);
    let root = [header(1, 4, 5), index(0, FIRST_FREE + 1)];
    let mut expected = vec![0; 3 * BLOCK as usize];
    expected.extend(noise(7, 2 * BLOCK as usize));
    expected.resize(36 * BLOCK as usize, 0);
    assert!(content(&image, ino, place, &root, 36 * BLOCK as u32) == Ok(expected));
    let root = [header(1, 4, 6), index(0, FIRST_FREE + 1)];
    let error = Error::Corrupt { what: "extent tree: depth", at: ino };
    assert_eq!(content(&image, ino, place, &root, 36 * BLOCK as u32), Err(error));
}

#[test]
fn broken_trees_say_what_and_where() {
    if !have_tools() {
        return;
    }
    let (image, ino, place) = image();
    let child = FIRST_FREE;
    let corrupt = |what, at| Err(Error::Corrupt { what, at });
    let check = |root: &[Vec<u8>], node: &[Vec<u8>], expected: Result<Vec<u8>>| {
        image.patch(child * BLOCK, &node.concat());
        assert_eq!(content(&image, ino, place, root, 4096), expected);
    };
    let good = [header(1, 4, 1), index(0, child)];
    let hole = Ok(vec![0; 4096]);
    check(&good, &[header(1, 84, 0), leaf(100, 1, 5000)], hole.clone());
    check(&good, &[header(0, 84, 0)], hole.clone());
    check(&[header(0, 4, 0)], &[], hole);
    check(&[vec![0; 12]], &[], corrupt("extent tree: magic number", ino));
    check(&[header(5, 4, 0)], &[], corrupt("extent tree: number of entries", ino));
    check(&[header(5, 5, 0)], &[], corrupt("extent tree: number of entries", ino));
    check(&[header(0, 0, 0)], &[], corrupt("extent tree: number of entries", ino));
    check(&[header(0, 4, 1)], &[], corrupt("extent tree: depth", ino));
    check(
        &[header(2, 4, 0), leaf(2, 1, 5000), leaf(1, 1, 5001)],
        &[],
        corrupt("extent tree: order of keys", ino),
    );
    check(
        &[header(2, 4, 0), leaf(0, 2, 5000), leaf(1, 1, 5001)],
        &[],
        corrupt("extent tree: order of keys", ino),
    );
    check(&[header(1, 4, 0), leaf(0, 0, 5000)], &[], corrupt("extent tree: order of keys", ino));
    check(&[header(1, 4, 0), leaf(u32::MAX, 2, 5000)], &[], corrupt("extent tree: order of keys", ino));
    check(&[header(1, 4, 0), leaf(0, 2, 8191)], &[], corrupt("extent outside the file system", ino));
    check(&[header(1, 4, 0), leaf(0, 2, 1)], &[], corrupt("extent outside the file system", ino));
    check(&[header(1, 4, 0), leaf(0, 0x8002, 8191)], &[], corrupt("extent outside the file system", ino));
    let outside = corrupt("block number past the end of the file system", 8192);
    check(&[header(1, 4, 1), index(0, 8192)], &[], outside);
    check(&good, &[vec![0; 12]], corrupt("extent tree: magic number", child));
    check(&good, &[header(1, 85, 0), leaf(0, 1, 5000)], corrupt("extent tree: number of entries", child));
    check(&good, &[header(1, 84, 1), index(0, child)], corrupt("extent tree: depth", child));
    check(&good, &[header(1, 84, 2), index(0, child)], corrupt("extent tree: depth", child));
    check(
        &good,
        &[header(2, 84, 0), leaf(9, 1, 5000), leaf(9, 1, 5001)],
        corrupt("extent tree: order of keys", child),
    );
    check(&good, &[header(1, 84, 0), leaf(1, 9, 8190)], corrupt("extent outside the file system", child));
}
