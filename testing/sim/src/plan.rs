//! [`Plan`]: everything that a seed decides before the run.
//!
//! Each part of the world has numbers of its own, derived from the seed, so that a change of one part moves no other.

use crate::disk::{Character, Faults};
use crate::schedule::Kind;
use rumpcap::{Daemon, PolicyKind};
use rumpcap_testing::seed::Random;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Bytes of the limit above the smallest that boots.
    pub limit_above_smallest: u64,
    /// The order of eviction.
    pub policy: PolicyKind,
    /// Who runs the pagedaemon.
    pub daemon: Daemon,
    /// Who runs next.
    pub schedule: Kind,
    /// Which image is mounted first, of as many as there are.
    pub image: u64,
    /// The disks' manners.
    pub disk: Character,
    /// Threads that use the first mount.
    pub workers: u64,
    /// Things that each of them does.
    pub actions: u64,
}

/// Parts of the world that draw numbers of their own during the run.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Who runs next.
    Schedule,
    /// A disk, by number.
    Disk(u64),
    /// A thread, by number.
    Worker(u64),
}

impl Plan {
    /// What `seed` means.
    pub fn new(seed: u64) -> Plan {
        let mut random = Random::new(seed ^ 0x5eed_0000_0000_0000);
        let random = &mut random;
        // A third at the very smallest, a third within 64 KiB of it, and a third up to half a megabyte above.
        let limit_above_smallest = match random.below(3) {
            0 => 0,
            1 => random.below(64 << 10),
            _ => random.below(512 << 10),
        };
        Plan {
            seed,
            limit_above_smallest,
            policy: if random.one_in(3) { PolicyKind::Lru } else { PolicyKind::S3Fifo },
            daemon: if random.one_in(3) { Daemon::Inline } else { Daemon::Thread },
            schedule: match random.below(3) {
                0 => Kind::Uniform,
                1 => Kind::Sticky(2 + random.below(60)),
                _ => Kind::Priorities(20 + random.below(2000)),
            },
            image: random.next(),
            disk: Plan::disk(random),
            workers: 2 + random.below(8),
            actions: 2 + random.below(8),
        }
    }

    fn disk(random: &mut Random) -> Character {
        let faults = match random.below(8) {
            0 | 1 => Faults::OneIn(3 + random.below(60)),
            2 => Faults::GoneFrom(random.below(200)),
            3 => Faults::CutAt(random.next()),
            4 if random.one_in(2) => Faults::Short(random.next()),
            _ => Faults::None,
        };
        Character {
            faults,
            latency_steps: [0, 4, 30][random.below(3) as usize],
            is_cached_by_host: random.one_in(2),
        }
    }

    /// Numbers for a part of the world.
    pub fn random(&self, part: Part) -> Random {
        let (kind, number) = match part {
            Part::Schedule => (1, 0),
            Part::Disk(number) => (2, number),
            Part::Worker(number) => (3, number),
        };
        let mut random = Random::new(self.seed ^ (kind << 56) ^ (number << 40));
        // The first number of neighbouring seeds is mixed as well as any, but the state behind it is not.
        Random::new(random.next())
    }
}
