//! What the hard cases share: a device that computes its bytes, small threads, waiting for a condition.

use rumpcap::block::BlockDevice;
use rumpcap::{Error, Result};
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_vm::{BootOptions, BusyPages, Daemon, Pager, PolicyKind, Vm};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

/// Far beyond what the slowest host takes: what takes longer is stuck.
pub const HANGS: Duration = Duration::from_secs(180);

/// A device of any size that takes no room: its bytes are a function of their position.
pub struct Pattern {
    pub len_bytes: u64,
}

/// The eight bytes at `at`, a multiple of eight.
pub fn word(at: u64) -> [u8; 8] {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at >> 7)).to_le_bytes()
}

impl BlockDevice for Pattern {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let mut at = offset;
        for buf in bufs {
            for chunk in buf.chunks_mut(8) {
                chunk.copy_from_slice(&word(at)[..chunk.len()]);
                at += chunk.len() as u64;
            }
        }
        assert!(at <= self.len_bytes, "read past the end of the device");
        Ok(())
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// Reads pages of an object from the same places of a device: for objects that a test makes and destroys itself.
pub struct FromDevice(pub Arc<dyn BlockDevice>);

impl Pager for FromDevice {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        let (offset, len_bytes) = (pages.first().offset(), pages.len_bytes());
        self.0.read_at(offset, &mut pages.slices(len_bytes))
    }
}

/// A kernel's memory.
pub fn boot(limit_bytes: u64, policy: PolicyKind, daemon: Daemon) -> Arc<Vm> {
    let options = BootOptions { limit_bytes: Some(limit_bytes), policy, daemon, trace: None };
    Vm::boot(options).expect("a limit that does")
}

/// Watches `workers` workers, and tells the memory's report when one hangs.
pub fn watch(vm: &Arc<Vm>, workers: usize) -> Watchdog {
    let vm = Arc::clone(vm);
    Watchdog::showing(workers, HANGS, move || format!("{:#?}", vm.report()))
}

/// Starts a thread with a small stack: there are a thousand of them.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    Builder::new().stack_size(256 << 10).spawn_scoped(scope, work).expect("a thread")
}

/// Waits until `condition` holds, which it must in the end: the caller has a watchdog.
pub fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_micros(100));
    }
}
