//! [`curves`]: the misses of every policy at every limit.
//!
//! Who calls it: the front ends. Whom it calls: `product`, `belady`, `simulators`.
//! A limit means as many frames as `vm` derives from it; it is asked, not imitated.

use crate::load::Trace;
use crate::product::{ReadAhead, replay};
use crate::{belady, simulators};
use rumpcap_host::Result;
use rumpcap_vm::PolicyKind;
use rumpcap_vm::plan::Plan;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Belady's optimum: it knows the future, and never reads ahead.
    Optimum,
    /// A policy of the product, by running it.
    Product(PolicyKind),
    /// S3-FIFO as published, simulated.
    S3FifoPublished,
    /// CLOCK-Pro, simulated.
    ClockPro,
}

impl Contender {
    /// All of them, in the order of tables.
    pub const ALL: [Contender; 5] = [
        Contender::Optimum,
        Contender::Product(PolicyKind::S3Fifo),
        Contender::Product(PolicyKind::Lru),
        Contender::S3FifoPublished,
        Contender::ClockPro,
    ];

    /// Its name in options, tables and legends.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Optimum => "optimum",
            Contender::Product(PolicyKind::S3Fifo) => "s3-fifo",
            Contender::Product(PolicyKind::Lru) => "lru",
            Contender::S3FifoPublished => "s3-fifo-published",
            Contender::ClockPro => "clock-pro",
        }
    }

    fn misses(self, trace: &Trace, limit: Limit, read_ahead: ReadAhead) -> Result<Misses> {
        let pages = trace.pages.len();
        let demanded = |misses| Misses { misses, metadata_misses: None, pages_read: misses };
        let frames = limit.frames as usize;
        Ok(match self {
            Contender::Optimum => demanded(belady::misses(trace, limit.frames)),
            Contender::S3FifoPublished => {
                demanded(simulators::misses(&mut simulators::S3Fifo::new(frames, pages), trace, limit.frames))
            }
            Contender::ClockPro => demanded(simulators::misses(
                &mut simulators::ClockPro::new(frames, pages),
                trace,
                limit.frames,
            )),
            Contender::Product(policy) => {
                let replayed = replay(trace, policy, limit.bytes, read_ahead)?;
                let metadata_misses = Some(replayed.metadata_misses);
                Misses { misses: replayed.misses, metadata_misses, pages_read: replayed.pages_read }
            }
        })
    }
}

/// A limit and the frames that it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The limit.
    pub bytes: u64,
    /// Frames for pages, pools and buffers.
    pub frames: u32,
}

impl Limit {
    /// The frames of `bytes`.
    ///
    /// # Errors
    /// `LimitTooSmall`.
    pub fn new(bytes: u64) -> Result<Limit> {
        Ok(Limit { bytes, frames: Plan::new(bytes)?.frames })
    }
}

/// Of one contender at one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misses {
    /// Accesses that did not find their page.
    pub misses: u64,
    /// Of these, of metadata, where it was counted.
    pub metadata_misses: Option<u64>,
    /// Pages that were read, those ahead included.
    pub pages_read: u64,
}

/// Misses by contender and limit.
#[derive(Clone, Debug)]
pub struct Curves {
    /// The limits, ascending.
    pub limits: Vec<Limit>,
    /// For each contender its misses, one for each limit.
    pub contenders: Vec<(Contender, Vec<Misses>)>,
}

impl Curves {
    /// The misses of a contender at a limit.
    pub fn at(&self, contender: Contender, limit_bytes: u64) -> Option<Misses> {
        let at = self.limits.iter().position(|limit| limit.bytes == limit_bytes)?;
        let (_, misses) = self.contenders.iter().find(|(of, _)| *of == contender)?;
        misses.get(at).copied()
    }
}

/// Replays `trace` for every contender at every limit. Limits are sorted; one that is named twice counts once.
///
/// # Errors
/// `LimitTooSmall`; `Host` when the host refuses memory.
pub fn curves(
    trace: &Trace,
    limits_bytes: &[u64],
    who: &[Contender],
    read_ahead: ReadAhead,
) -> Result<Curves> {
    let mut limits = limits_bytes.iter().map(|bytes| Limit::new(*bytes)).collect::<Result<Vec<_>>>()?;
    limits.sort_by_key(|limit| limit.bytes);
    limits.dedup();
    let of = |contender: &Contender| {
        let misses = limits.iter().map(|limit| contender.misses(trace, *limit, read_ahead));
        Ok((*contender, misses.collect::<Result<_>>()?))
    };
    let contenders = who.iter().map(of).collect::<Result<_>>()?;
    Ok(Curves { limits, contenders })
}
