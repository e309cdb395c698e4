//! rsext4, mounted read-only without replay. Directories are read in batches, through its per-directory reader.

use rsext4::{
    BlockIo, Clock, DeviceCapabilities, DeviceGeometry, DirectoryCursor, Ext4, Ext4Error, Ext4Result,
    Ext4Timestamp, InodeNumber, MountOptions, MountServices, MountedServices, NoopObserver, SectorId,
};
use rumpcap_bench_peers::{ImageReader, Options, Seen, Subject, run};

/// The device's sector; the crate reads whole file-system blocks in any case.
const SECTOR_BYTES: u64 = 4096;
/// Entries of one batch. A linear directory's blocks are mapped anew for each batch, so large ones suit it.
const BATCH_ENTRIES: usize = 1 << 18;

struct Device(ImageReader);

impl BlockIo for Device {
    fn write(&mut self, _: &[u8], _: SectorId, _: u32) -> Ext4Result<()> {
        Err(Ext4Error::unsupported())
    }

    fn read(&mut self, buffer: &mut [u8], sector: SectorId, _: u32) -> Ext4Result<()> {
        self.0.read_at(sector.raw() * SECTOR_BYTES, buffer).map_err(|_| Ext4Error::io())
    }

    fn geometry(&self) -> DeviceGeometry {
        DeviceGeometry::new(SECTOR_BYTES as u32, self.0.len_bytes() / SECTOR_BYTES)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities { read_only: true, ..DeviceCapabilities::default() }
    }

    fn flush(&mut self) -> Ext4Result<()> {
        Ok(())
    }
}

struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Ext4Result<Ext4Timestamp> {
        Ok(Ext4Timestamp::new(0, 0))
    }
}

struct Peer {
    image: ImageReader,
    fs: Ext4<Device, MountedServices<(), NoopObserver, ()>>,
    big: Option<InodeNumber>,
}

impl Peer {
    fn entries(
        &mut self,
        folder: InodeNumber,
        mut each: impl FnMut(&mut Self, InodeNumber, &[u8]),
    ) -> Result<(), String> {
        let mut reader = self.fs.open_directory_reader(folder).map_err(|e| format!("{e:?}"))?;
        let mut cursor = DirectoryCursor::Start;
        while cursor != DirectoryCursor::End {
            let batch = self.fs.read_directory_with_reader(&mut reader, cursor, BATCH_ENTRIES);
            let batch = batch.map_err(|e| format!("{e:?}"))?;
            let Some(last) = batch.last() else { break };
            cursor = last.next_cursor;
            for entry in &batch {
                if entry.name != b"." && entry.name != b".." {
                    each(self, entry.inode, &entry.name);
                }
            }
        }
        Ok(())
    }
}

impl Subject for Peer {
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String> {
        let mut folders = vec![self.fs.root_inode()];
        let mut failed = None;
        while let Some(folder) = folders.pop() {
            self.entries(folder, |peer, number, name| match peer.fs.inode(number) {
                Ok(inode) => {
                    seen.entry(name, u32::from(inode.mode), inode.uid, inode.gid, inode.size);
                    if inode.is_directory() {
                        folders.push(number);
                    }
                }
                Err(e) => failed = Some(format!("{e:?}")),
            })?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn open_big(&mut self) -> Result<u64, String> {
        let root = self.fs.root_inode();
        let mut found = None;
        self.entries(root, |_, number, name| {
            if name == b"big" {
                found = Some(number);
            }
        })?;
        let number = found.ok_or("no such file")?;
        self.big = Some(number);
        Ok(self.fs.inode(number).map_err(|e| format!("{e:?}"))?.size)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), String> {
        let number = self.big.ok_or("not open")?;
        let n = self.fs.read_inode(number, offset, buf).map_err(|e| format!("{e:?}"))?;
        if n == buf.len() { Ok(()) } else { Err("short read".to_owned()) }
    }

    fn image_reads(&self) -> Option<(u64, u64)> {
        self.image.image_reads()
    }
}

fn main() -> std::process::ExitCode {
    run(|options: &Options| {
        let image = ImageReader::open(&options.image, options.value("--reader"))?;
        let mut mount = MountOptions::read_only_no_journal_replay();
        if options.value("--validity") == Some("off") {
            mount = mount.with_block_validity(false);
        }
        let services = MountServices::new(NoClock, (), NoopObserver);
        let fs = Ext4::mount(Device(image.clone()), services, mount).map_err(|e| format!("{e:?}"))?;
        Ok(Peer { image, fs, big: None })
    })
}
