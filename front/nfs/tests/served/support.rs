//! An image, its server, and clients of it.

use nfs3_client::io::{AsyncRead, AsyncWrite};
use nfs3_client::nfs3_types::mount::dirpath;
use nfs3_client::nfs3_types::nfs3::*;
use nfs3_client::nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_client::nfs3_types::xdr_codec::Opaque;
use nfs3_client::{MountClient, Nfs3Client};
use rumpcap::block::{FileDevice, OpenOptions};
use rumpcap::{Access, Kernel, MountOptions};
use rumpcap_nfs::{Key, Options, Ports, Refused, Server, Writes};
use rumpcap_testing::tools::{command, output, run, run_args};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

/// The limit of a served kernel.
pub const LIMIT_BYTES: u64 = 1 << 20;

/// A directory with an image and a place for keys.
pub struct Place {
    /// Removed with it.
    _directory: Option<tempfile::TempDir>,
    pub image: PathBuf,
}

impl Place {
    /// An empty file system of `mebibytes`, made with `options` of mke2fs.
    pub fn new(mebibytes: u64, options: &[&str]) -> Place {
        Place::from_tree(mebibytes, options, None)
    }

    /// A file system with the tree of a directory.
    pub fn from_tree(mebibytes: u64, options: &[&str], tree: Option<&Path>) -> Place {
        let directory = tempfile::Builder::new().prefix("rumpcap-nfs-").tempdir().unwrap();
        let image = directory.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        let mut mke2fs = command("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4"]).args(options);
        if let Some(tree) = tree {
            mke2fs.arg("-d").arg(tree);
        }
        run(mke2fs.arg(&image));
        Place { _directory: Some(directory), image }
    }

    /// That of another process.
    pub fn at(image: PathBuf) -> Place {
        Place { _directory: None, image }
    }

    /// Where keys are kept.
    pub fn state(&self) -> PathBuf {
        self.image.with_file_name("state")
    }

    pub fn key(&self) -> Key {
        Key::kept_in(&self.state()).unwrap()
    }

    /// What e2fsck says, which must be nothing.
    pub fn fsck(&self) {
        let out = output(command("e2fsck").args(["-f", "-n"]).arg(&self.image));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }

    /// Runs debugfs, as a look from outside.
    pub fn debugfs(&self, request: &str) -> Vec<u8> {
        run_args("debugfs", &["-R", request, self.image.to_str().unwrap()])
    }
}

/// Options for tests, which have no superuser's ports.
pub fn options(writes: Writes) -> Options {
    Options { writes, ports: Ports::Any, ..Options::default() }
}

/// A server at work in this process.
pub struct Served {
    pub address: SocketAddr,
    pub kernel: Kernel,
    stop: Arc<AtomicBool>,
    pub refused: mpsc::Receiver<Refused>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn start(place: &Place, options: Options) -> Served {
        Served::at(place, options, "127.0.0.1:0".parse().unwrap())
    }

    pub fn at(place: &Place, options: Options, address: SocketAddr) -> Served {
        let write = options.writes == Writes::Served;
        let device = FileDevice::open_with(&place.image, OpenOptions { write, direct: false }).unwrap();
        let kernel = Kernel::builder().memory_limit(LIMIT_BYTES).boot().unwrap();
        let access = if write { Access::Write } else { Access::Read };
        let mount =
            kernel.mount(Arc::new(device), &MountOptions { access, ..MountOptions::default() }).unwrap();
        let server = Server::bind(mount, address, &place.key(), options).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, address) = (stop.clone(), server.address());
        let (tell, refused) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            server.run(&mut || asked.load(SeqCst), &mut |why| _ = tell.send(why)).unwrap();
            let mount = server.into_mount().expect("no thread of the server is left");
            if write {
                mount.unmount().unwrap();
            }
        });
        Served { address, kernel, stop, refused, thread: Some(thread) }
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

/// A blocking stream under a client that would rather wait otherwise.
pub struct Blocking(TcpStream);

impl AsyncRead for Blocking {
    async fn async_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }
}

impl AsyncWrite for Blocking {
    async fn async_write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }
}

/// Runs what never waits but in the host.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a blocking stream is always ready"),
    }
}

/// Credentials of AUTH_SYS.
pub fn user(uid: u32, gid: u32, groups: &[u32]) -> opaque_auth<'static> {
    let machinename = Opaque::borrowed(b"test");
    opaque_auth::auth_unix(&auth_unix { stamp: 1, machinename, uid, gid, gids: groups.to_vec() })
}

/// A client, with the root of the export.
pub struct Client {
    pub nfs: Nfs3Client<Blocking>,
    pub root: nfs_fh3,
}

impl Client {
    pub fn new(address: SocketAddr, credentials: opaque_auth<'static>) -> Client {
        let root = mount(address, "/", credentials.clone()).unwrap();
        Client { nfs: Client::connect(address, credentials), root }
    }

    pub fn connect(address: SocketAddr, credentials: opaque_auth<'static>) -> Nfs3Client<Blocking> {
        Nfs3Client::new_with_auth(stream(address), credentials, opaque_auth::default())
    }

    pub fn lookup(&mut self, dir: &nfs_fh3, name: &str) -> Result<nfs_fh3, nfsstat3> {
        let what = diropargs3 { dir: dir.clone(), name: name.as_bytes().into() };
        result(now(self.nfs.lookup(&LOOKUP3args { what })).unwrap()).map(|ok| ok.object)
    }

    pub fn path(&mut self, path: &str) -> Result<nfs_fh3, nfsstat3> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(self.root.clone(), |here, name| self.lookup(&here, name))
    }

    pub fn attributes(&mut self, file: &nfs_fh3) -> Result<fattr3, nfsstat3> {
        let args = GETATTR3args { object: file.clone() };
        result(now(self.nfs.getattr(&args)).unwrap()).map(|ok| ok.obj_attributes)
    }

    pub fn read(&mut self, file: &nfs_fh3, offset: u64, count: u32) -> Result<READ3resok<'static>, nfsstat3> {
        result(now(self.nfs.read(&READ3args { file: file.clone(), offset, count })).unwrap())
    }

    pub fn read_all(&mut self, file: &nfs_fh3) -> Result<Vec<u8>, nfsstat3> {
        let mut all = Vec::new();
        loop {
            let part = self.read(file, all.len() as u64, 1 << 20)?;
            assert_eq!(part.count as usize, part.data.len());
            all.extend_from_slice(&part.data);
            if part.eof {
                return Ok(all);
            }
            assert!(part.count > 0, "a read that makes no progress");
        }
    }

    pub fn create(&mut self, dir: &nfs_fh3, name: &str, how: createhow3) -> Result<CREATE3resok, nfsstat3> {
        let where_ = diropargs3 { dir: dir.clone(), name: name.as_bytes().into() };
        result(now(self.nfs.create(&CREATE3args { where_, how })).unwrap())
    }

    pub fn make(&mut self, dir: &nfs_fh3, name: &str, mode: u32) -> Result<nfs_fh3, nfsstat3> {
        self.create(dir, name, createhow3::GUARDED(with_mode(mode))).map(|ok| ok.obj.unwrap())
    }

    pub fn mkdir(&mut self, dir: &nfs_fh3, name: &str, mode: u32) -> Result<MKDIR3resok, nfsstat3> {
        let where_ = diropargs3 { dir: dir.clone(), name: name.as_bytes().into() };
        result(now(self.nfs.mkdir(&MKDIR3args { where_, attributes: with_mode(mode) })).unwrap())
    }

    pub fn write(
        &mut self,
        file: &nfs_fh3,
        offset: u64,
        data: &[u8],
        stable: stable_how,
    ) -> Result<WRITE3resok, nfsstat3> {
        let count = u32::try_from(data.len()).unwrap();
        let args = WRITE3args { file: file.clone(), offset, count, stable, data: Opaque::borrowed(data) };
        result(now(self.nfs.write(&args)).unwrap())
    }

    pub fn commit(&mut self, file: &nfs_fh3) -> Result<writeverf3, nfsstat3> {
        let args = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
        result(now(self.nfs.commit(&args)).unwrap()).map(|ok| ok.verf)
    }

    pub fn setattr(&mut self, file: &nfs_fh3, new: sattr3, guard: sattrguard3) -> Result<wcc_data, nfsstat3> {
        let args = SETATTR3args { object: file.clone(), new_attributes: new, guard };
        result(now(self.nfs.setattr(&args)).unwrap()).map(|ok| ok.obj_wcc)
    }

    pub fn remove(&mut self, dir: &nfs_fh3, name: &str) -> Result<wcc_data, nfsstat3> {
        let object = diropargs3 { dir: dir.clone(), name: name.as_bytes().into() };
        result(now(self.nfs.remove(&REMOVE3args { object })).unwrap()).map(|ok| ok.dir_wcc)
    }

    pub fn rmdir(&mut self, dir: &nfs_fh3, name: &str) -> Result<(), nfsstat3> {
        let object = diropargs3 { dir: dir.clone(), name: name.as_bytes().into() };
        result(now(self.nfs.rmdir(&RMDIR3args { object })).unwrap()).map(drop)
    }

    pub fn rename(&mut self, from: (&nfs_fh3, &str), to: (&nfs_fh3, &str)) -> Result<(), nfsstat3> {
        let name = |(dir, name): (&nfs_fh3, &str)| diropargs3 {
            dir: dir.clone(),
            name: name.as_bytes().to_vec().into(),
        };
        result(now(self.nfs.rename(&RENAME3args { from: name(from), to: name(to) })).unwrap()).map(drop)
    }

    pub fn access(&mut self, file: &nfs_fh3) -> u32 {
        let args = ACCESS3args { object: file.clone(), access: 0x3f };
        result(now(self.nfs.access(&args)).unwrap()).unwrap().access
    }

    /// All names of a directory, by READDIR in answers of `count` bytes.
    pub fn list(&mut self, dir: &nfs_fh3, count: u32) -> Result<Vec<(Vec<u8>, u64)>, nfsstat3> {
        let (mut names, mut cookie, mut cookieverf) = (Vec::new(), 0, cookieverf3::default());
        loop {
            let args = READDIR3args { dir: dir.clone(), cookie, cookieverf, count };
            let part = result(now(self.nfs.readdir(&args)).unwrap())?;
            cookieverf = part.cookieverf;
            for entry in part.reply.entries.into_inner() {
                cookie = entry.cookie;
                names.push((entry.name.as_ref().to_vec(), entry.fileid));
            }
            if part.reply.eof {
                return Ok(names);
            }
        }
    }

    /// One answer of READDIRPLUS.
    pub fn list_plus(
        &mut self,
        dir: &nfs_fh3,
        cookie: u64,
        dircount: u32,
        maxcount: u32,
    ) -> Result<READDIRPLUS3resok<'static>, nfsstat3> {
        let cookieverf = cookieverf3::default();
        let args = READDIRPLUS3args { dir: dir.clone(), cookie, cookieverf, dircount, maxcount };
        result(now(self.nfs.readdirplus(&args)).unwrap())
    }
}

pub fn stream(address: SocketAddr) -> Blocking {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    Blocking(stream)
}

/// The handle of a directory, by MOUNT.
pub fn mount(address: SocketAddr, path: &str, credentials: opaque_auth<'static>) -> Result<nfs_fh3, String> {
    let mut client = MountClient::new_with_auth(stream(address), credentials, opaque_auth::default());
    let mounted = now(client.mnt(dirpath(Opaque::borrowed(path.as_bytes()))));
    mounted.map(|ok| nfs_fh3 { data: ok.fhandle.0 }).map_err(|e| e.to_string())
}

pub fn result<T, E>(result: Nfs3Result<T, E>) -> Result<T, nfsstat3> {
    match result {
        Nfs3Result::Ok(ok) => Ok(ok),
        Nfs3Result::Err((status, _)) => Err(status),
    }
}

pub fn with_mode(mode: u32) -> sattr3 {
    sattr3 { mode: Nfs3Option::Some(mode), ..sattr3::default() }
}
