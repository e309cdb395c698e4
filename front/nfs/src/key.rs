//! [`Key`]: the secret that makes file handles unforgeable, and the file that it outlives a restart in.
//!
//! Who calls it: the program around a server. A key is made when it is first asked for: 32 bytes of the host's random numbers, in a file that
//! appears whole or not at all, of which two servers that start at once make one. A file that others may read or write is refused: whoever
//! knows the key can name any inode.

use crate::error::KeyError;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The file's name in the directory.
const FILE_NAME: &str = "nfs.key";

/// Permission bits of others.
const OTHERS: u32 = 0o077;

/// A secret.
#[derive(Clone)]
pub struct Key(pub(crate) [u8; KEY_BYTES]);

impl Key {
    /// A key for this run alone: no handle outlives it.
    ///
    /// # Errors
    /// The host's.
    pub fn ephemeral() -> Result<Key, KeyError> {
        Ok(Key(random()?))
    }

    /// The key that is kept in `directory`, which is made if need be.
    ///
    /// # Errors
    /// What the host refused; [`KeyError::Exposed`], [`KeyError::Malformed`] for a file that is no secret or no key.
    pub fn kept_in(directory: &Path) -> Result<Key, KeyError> {
        let path = directory.join(FILE_NAME);
        let failed = |error| KeyError::Host { path: path.clone(), error };
        match Key::read(&path) {
            Err(KeyError::Host { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        // Of permissions 0600, as all files that `tempfile` makes.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(&random::<KEY_BYTES>()?).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?,
            // Another server was first.
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(e.error)),
        }
        Key::read(&path)
    }

    fn read(path: &Path) -> Result<Key, KeyError> {
        let failed = |error| KeyError::Host { path: path.to_owned(), error };
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.mode() & OTHERS != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(KeyError::Exposed { path: path.to_owned() });
        }
        if !metadata.is_file() || metadata.len() != KEY_BYTES as u64 {
            return Err(KeyError::Malformed { path: path.to_owned() });
        }
        let mut key = [0; KEY_BYTES];
        file.read_exact(&mut key).map_err(failed)?;
        Ok(Key(key))
    }
}

/// `N` random bytes of the host, at most 256: as many come at once.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    loop {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(n) if n == N => return Ok(bytes),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(KeyError::NoRandom(e.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_kept_secret() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("a/b");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| Key::kept_in(&directory).unwrap().0)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let path = directory.join(FILE_NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Key::kept_in(&directory), Err(KeyError::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(Key::kept_in(&directory), Err(KeyError::Malformed { .. })));
    }
}
