//! [`Info`]: what a file system says of itself, for people.
//!
//! Who calls it: front ends, through the kernel's API. It is not part of the steady state: it uses the heap.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::Ext4;
use crate::features::Features;
use crate::layout::{RawSuperBlock, STATE_ERRORS, STATE_VALID, SUPER_BLOCK_BYTES};
use rumpcap_host::Result;
use rumpcap_vfs::InodeNo;
use rumpcap_vm::Reservation;
use zerocopy::FromZeros;
use zerocopy::IntoBytes;

/// What a file system says of itself.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// `ext2`, `ext3`, `ext4`: the oldest that has all of the features.
    pub kind: &'static str,
    /// Volume label.
    pub label: String,
    /// UUID in its usual spelling.
    pub uuid: String,
    /// Names of the features, as `dumpe2fs` spells them.
    pub features: Vec<&'static str>,
    /// Everything else: names in `snake_case` and values.
    pub details: Vec<(&'static str, String)>,
    /// What the user should know: a journal that was replayed or was not, errors recorded.
    pub warnings: Vec<String>,
}

impl Ext4 {
    /// What the file system says of itself. Reads the super block again.
    ///
    /// # Errors
    /// `Io`.
    pub fn info(&self, r: &Reservation<'_>) -> Result<Info> {
        let mut bytes = [0; SUPER_BLOCK_BYTES];
        self.device.copy(r, self.super_block_offset, &mut bytes)?;
        let mut raw = RawSuperBlock::new_zeroed();
        raw.as_mut_bytes().copy_from_slice(&bytes);
        let features = self.sb.features.names().collect();
        let mut details = self.geometry();
        details.extend(self.history(&raw));
        details.extend(self.hashes_and_checksums(&raw));
        details.extend(self.journal_details(r, &raw));
        if let Some(usage) = self.log_usage() {
            details.push(("checkpoints", usage.checkpoints.to_string()));
            details.push(("checkpoints_in_background", usage.background_checkpoints.to_string()));
        }
        Ok(Info {
            kind: self.sb.features.kind(),
            label: text(&raw.volume_name),
            uuid: uuid(&self.sb.uuid),
            features,
            details,
            warnings: self.warnings(&raw),
        })
    }

    fn geometry(&self) -> Vec<(&'static str, String)> {
        let sb = &self.sb;
        let mut details = vec![
            ("block_size", sb.block_size.to_string()),
            ("block_count", sb.blocks_count.to_string()),
            ("free_blocks", sb.counts.blocks_free.to_string()),
            ("reserved_blocks", sb.counts.blocks_reserved.to_string()),
            ("overhead_clusters", sb.counts.overhead_clusters.to_string()),
            ("first_block", sb.first_data_block.to_string()),
            ("inode_count", sb.inodes_count.to_string()),
            ("free_inodes", sb.counts.inodes_free.to_string()),
            ("inode_size", sb.inode_size.to_string()),
            ("group_count", sb.group_count.to_string()),
            ("blocks_per_group", sb.blocks_per_group.to_string()),
            ("inodes_per_group", sb.inodes_per_group.to_string()),
            ("group_descriptor_size", sb.desc_size.to_string()),
            ("reserved_gdt_blocks", sb.reserved_gdt_blocks.to_string()),
        ];
        if sb.features.has_bigalloc() {
            details.push(("cluster_size", (u64::from(sb.block_size) << sb.cluster_log).to_string()));
        }
        let unnamed = sb.features.unnamed();
        if unnamed != Features::default() {
            let bits = format!("compat {:#x}, ro_compat {:#x}", unnamed.compat, unnamed.ro_compat);
            details.push(("unnamed_features", bits));
        }
        if sb.features.has_meta_bg() {
            details.push(("first_meta_block_group", sb.first_meta_bg.to_string()));
        }
        details
    }

    fn history(&self, raw: &RawSuperBlock) -> Vec<(&'static str, String)> {
        let time = |lo: u32, hi: u8| date(u64::from(lo) | u64::from(hi) << 32);
        let mut details = vec![
            ("revision", format!("{}.{}", raw.revision, raw.minor_revision)),
            ("state", state(raw.state.get()).to_owned()),
            ("created", time(raw.mkfs_time.get(), raw.mkfs_time_hi)),
            ("last_mounted_on", text(&raw.last_mounted)),
            ("last_mount_time", time(raw.mount_time.get(), raw.mount_time_hi)),
            ("last_write_time", time(raw.write_time.get(), raw.write_time_hi)),
            ("last_checked", time(raw.last_check.get(), raw.last_check_hi)),
            ("mount_count", raw.mount_count.to_string()),
            ("lifetime_writes_kib", raw.kbytes_written.to_string()),
            ("error_count", raw.error_count.to_string()),
        ];
        if raw.error_count.get() != 0 {
            details.push(("first_error_time", time(raw.first_error_time.get(), raw.first_error_time_hi)));
            details.push(("first_error_function", text(&raw.first_error_function)));
            details.push(("last_error_time", time(raw.last_error_time.get(), raw.last_error_time_hi)));
            details.push(("last_error_function", text(&raw.last_error_function)));
        }
        details
    }

    fn hashes_and_checksums(&self, raw: &RawSuperBlock) -> Vec<(&'static str, String)> {
        let sb = &self.sb;
        let mut details = Vec::new();
        if sb.features.has_dir_index() {
            let hash = match sb.default_hash_version {
                0 => "legacy",
                1 => "half_md4",
                2 => "tea",
                6 => "siphash",
                _ => "unknown",
            };
            let sign = if sb.hash_unsigned { "unsigned" } else { "signed" };
            details.push(("directory_hash", format!("{hash} ({sign})")));
            let mut seed = [0; 16];
            seed.copy_from_slice(raw.hash_seed.as_bytes());
            details.push(("directory_hash_seed", uuid(&seed)));
        }
        let checksums = match (sb.features.has_metadata_csum(), sb.features.has_gdt_csum()) {
            (true, _) => "crc32c",
            (false, true) => "crc16 (group descriptors)",
            (false, false) => "none",
        };
        details.push(("checksums", checksums.to_owned()));
        if sb.features.has_metadata_csum_seed() {
            details.push(("checksum_seed", format!("{:#010x}", sb.csum_seed)));
        }
        if sb.features.has_casefold() {
            let encoding = if sb.encoding == 1 { "utf8-12.1" } else { "unknown" };
            let strict = if sb.encoding_flags & 1 != 0 { " (strict)" } else { "" };
            details.push(("encoding", format!("{encoding}{strict}")));
        }
        details
    }

    fn journal_details(&self, r: &Reservation<'_>, raw: &RawSuperBlock) -> Vec<(&'static str, String)> {
        let sb = &self.sb;
        if !sb.features.has_journal() {
            return Vec::new();
        }
        if sb.journal_inode == 0 {
            return vec![("journal_uuid", uuid(&raw.journal_uuid))];
        }
        let mut details = vec![("journal_inode", sb.journal_inode.to_string())];
        if let Ok(node) = self.inode(r, InodeNo(u64::from(sb.journal_inode)), 0) {
            details.push(("journal_size_bytes", node.attributes.size_bytes.to_string()));
        }
        details
    }

    fn warnings(&self, raw: &RawSuperBlock) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.recovery() {
            // Mounted to be written, it was replayed where it belongs, and the mark is the mount's own.
            _ if self.writer.is_some() => {}
            Some(done) => {
                let (count, blocks) = (done.transactions, done.blocks_replayed);
                warnings.push(format!(
                    "the journal was replayed in memory of the host's temporary directory: {count} transactions, \
                     {blocks} blocks; the image is untouched"
                ));
                if done.fast_commits > 0 {
                    warnings.push(format!(
                        "the journal's fast-commit area was not replayed: {} fast commits; what was written just \
                         before the crash may be missing",
                        done.fast_commits
                    ));
                }
            }
            None if self.sb.features.has_needs_recovery() => {
                warnings.push("the journal needs recovery and was ignored: content may be stale".to_owned());
            }
            None => {}
        }
        if raw.state.get() & STATE_ERRORS != 0 {
            warnings.push("the file system is marked as having errors".to_owned());
        }
        if raw.error_count.get() != 0 {
            warnings.push(format!("{} errors are recorded", raw.error_count));
        }
        let is_clean = raw.state.get() & STATE_VALID != 0;
        if !is_clean && !self.sb.features.has_journal() {
            warnings.push("the file system was not unmounted cleanly and has no journal".to_owned());
        }
        warnings
    }
}

fn state(state: u16) -> &'static str {
    match (state & STATE_VALID != 0, state & STATE_ERRORS != 0) {
        (true, false) => "clean",
        (true, true) => "clean with errors",
        (false, false) => "not clean",
        (false, true) => "not clean with errors",
    }
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn uuid(bytes: &[u8; 16]) -> String {
    let mut spelled = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            spelled.push('-');
        }
        spelled.push_str(&format!("{byte:02x}"));
    }
    spelled
}

/// A time as `2026-11-05T12:34:56Z`; `never` for 0. Years to 36812: seconds have 40 bits.
fn date(seconds: u64) -> String {
    if seconds == 0 {
        return "never".to_owned();
    }
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970-01-01. Counts years from March on, so that the leap day is the last of a year.
/// At most 2^40 seconds, so no sum here overflows.
#[allow(clippy::arithmetic_side_effects)]
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Dates as `date -u -d @N` of GNU coreutils prints them.
    #[test]
    fn dates() {
        assert_eq!(date(0), "never");
        assert_eq!(date(1), "1970-01-01T00:00:01Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(date(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(date(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(date(15_032_385_535), "2446-05-10T22:38:55Z");
    }
}
