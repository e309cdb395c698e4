//! The bytes of the FUSE protocol, version 7: what Linux sends and what it wants to hear.
//!
//! Who calls it: `request` parses, `reply` and `ops` build. All structures are in the host's byte order; their names are those of
//! `linux/fuse.h` without `fuse_`.
//!
//! Source: `include/uapi/linux/fuse.h` of Linux, which its tests compare sizes with.

pub mod flags;
pub mod opcode;
pub mod received;
pub mod sent;

/// The protocol's major version.
pub const MAJOR: u32 = 7;

/// The minor version that is spoken here: that of `STATX`.
pub const MINOR: u32 = 39;

/// The least minor version that is understood: that of `INIT_EXT`, of Linux 5.17.
pub const MINOR_MIN: u32 = 36;

/// Node id of the root.
pub const ROOT: u64 = 1;

#[cfg(test)]
mod tests {
    use super::received::*;
    use super::sent::*;
    use rumpcap_testing::skip::skip;
    use rumpcap_testing::tools::{command, exists, run};
    use std::fmt::Write;

    /// Sizes of structures by the host's own header.
    #[test]
    fn structures_are_as_large_as_in_the_hosts_header() {
        if !exists("cc") || !std::path::Path::new("/usr/include/linux/fuse.h").exists() {
            return skip("no C compiler, or no headers of Linux");
        }
        macro_rules! sizes {
            ($($ours:ident $theirs:literal)*) => { [$(($theirs, size_of::<$ours>())),*] };
        }
        let sizes = sizes! {
            InHeader "in_header" InitIn "init_in" GetattrIn "getattr_in" MknodIn "mknod_in" MkdirIn "mkdir_in" RenameIn "rename_in"
            Rename2In "rename2_in" LinkIn "link_in" SetattrIn "setattr_in" OpenIn "open_in" CreateIn "create_in" ReadIn "read_in"
            WriteIn "write_in" FsyncIn "fsync_in" SetxattrIn "setxattr_in" GetxattrIn "getxattr_in" IoctlIn "ioctl_in"
            FallocateIn "fallocate_in" LseekIn "lseek_in" CopyFileRangeIn "copy_file_range_in" OutHeader "out_header"
            InitOut "init_out" Attr "attr" AttrOut "attr_out" EntryOut "entry_out" OpenOut "open_out" WriteOut "write_out"
            GetxattrOut "getxattr_out" IoctlOut "ioctl_out" LseekOut "lseek_out" StatfsOut "statfs_out" Dirent "dirent"
        };
        let mut program = "#include <linux/fuse.h>\n#include <stdio.h>\nint main(void) {\n".to_owned();
        for (name, _) in sizes {
            writeln!(program, "printf(\"%zu \", sizeof(struct fuse_{name}));").unwrap();
        }
        program.push_str("return 0; }\n");
        let directory = tempfile::tempdir().unwrap();
        let (source, binary) = (directory.path().join("sizes.c"), directory.path().join("sizes"));
        std::fs::write(&source, program).unwrap();
        run(command("cc").arg("-o").arg(&binary).arg(&source));
        let said = String::from_utf8(run(&mut command(binary.to_str().unwrap()))).unwrap();
        let theirs: Vec<usize> = said.split_whitespace().map(|size| size.parse().unwrap()).collect();
        for ((name, ours), theirs) in sizes.iter().zip(theirs) {
            assert_eq!(*ours, theirs, "fuse_{name}");
        }
    }
}
