//! Blocks: all of them, in any order, and where they are.

use super::{Image, KINDS, Mounted};
use crate::alloc::{BlockRun, Use};
use rumpcap_host::Error;
use rumpcap_testing::seed::Random;

/// Allocates until there is no space; runs of random lengths, near random goals.
fn fill(mounted: &Mounted, random: &mut Random) -> Vec<BlockRun> {
    let mut runs = Vec::new();
    let blocks = mounted.fs.sb.blocks_count;
    loop {
        let most = if random.one_in(4) { random.below(4000) as u32 + 1 } else { random.below(9) as u32 + 1 };
        let goal = if random.one_in(3) {
            random.below(blocks + 10)
        } else {
            runs.last().map_or(0, |run: &BlockRun| run.first + u64::from(run.count))
        };
        match mounted.change(|h| h.allocate_blocks(goal, most)) {
            Ok(run) => {
                assert!(run.count >= 1 && run.count <= most, "{run:?} for {most}");
                runs.push(run);
            }
            Err(Error::NoSpace { .. }) => return runs,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn all_blocks_come_and_go_on_every_kind_of_file_system() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let before = image.dump();
        let mounted = image.mount();
        let free = mounted.free();
        let mut random = Random::new(seed as u64);
        let mut runs = fill(&mounted, &mut random);
        assert_eq!(mounted.free(), (0, free.1), "{kind:?}");
        assert_eq!(runs.iter().map(|run| u64::from(run.count)).sum::<u64>(), free.0, "{kind:?}");
        let mut sorted = runs.clone();
        sorted.sort_by_key(|run| run.first);
        assert!(sorted.windows(2).all(|w| w[0].first + u64::from(w[0].count) <= w[1].first), "{kind:?}");
        while !runs.is_empty() {
            let run = runs.swap_remove(random.below(runs.len() as u64) as usize);
            let of = if run.count < 4 && random.one_in(2) { Use::Metadata } else { Use::Content };
            mounted.change(|h| h.free_blocks(run.first, run.count.into(), of)).unwrap();
        }
        assert_eq!(mounted.free(), free, "{kind:?}");
        mounted.unmount();
        image.assert_clean(&format!("{kind:?}"));
        image.assert_dump(&before, &format!("{kind:?}"));
    }
}
