//! What the proofs share: attempts that end in words, the judges, and a failure made small.

use rumpcap::block::{MemoryDevice, OpenOptions};
use rumpcap::check::{Event, Severity};
use rumpcap::{DataMode, Kernel, MountOptions};
use rumpcap_testing::loop_mount;
use rumpcap_testing::oracle;
use rumpcap_testing::tools::{command, output, scratch};
use rumpcap_testing::writing::{
    Capabilities, Compared, Generator, LibraryTarget, Limit, Model, Op, Run, Setup, compare, first_model,
    shrink,
};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Says how many operations each configuration is given.
const OPS_VARIABLE: &str = "RUMPCAP_OPS";
/// Says where seeds begin.
const SEED_VARIABLE: &str = "RUMPCAP_SEED";
/// Says which configuration alone is looked at, where a test goes through all of them.
const SETUP_VARIABLE: &str = "RUMPCAP_SETUP";
/// A sequence is run again that often to make it small,
const TRIES: usize = 250;
/// or as often as makes that many operations.
const OPERATIONS_OF_TRIES: usize = 1_500_000;

/// Operations for each configuration: `few`, or what the environment says.
pub fn ops(few: usize) -> usize {
    std::env::var(OPS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// The first seed: another one each night.
pub fn first_seed() -> u64 {
    std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether a test that goes through all configurations is to look at this one.
pub fn is_wanted(setup: &Setup) -> bool {
    std::env::var(SETUP_VARIABLE).is_ok_and(|name| setup.spec.name == name)
        || std::env::var_os(SETUP_VARIABLE).is_none()
}

/// Whether more is wanted than fits every change.
pub fn is_thorough() -> bool {
    std::env::var_os(OPS_VARIABLE).is_some()
}

/// A file system to be written, and how.
#[derive(Clone)]
pub struct Case {
    pub setup: Setup,
    pub limit: Limit,
    pub data: DataMode,
}

/// What is to be done.
#[derive(Clone)]
pub enum Plan {
    Generated { seed: u64, count: usize },
    Given(Vec<Op>),
}

/// Runs `work`; a panic is a failure in words.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| panic.downcast_ref::<&str>().copied().unwrap_or("a panic").to_owned()))
    })
}

/// What e2fsck says of an image that it does not find clean.
pub fn fsck(image: &Path) -> Result<(), String> {
    let said = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    if said.status.code() == Some(0) { Ok(()) } else { Err(format!("e2fsck -fn: {text}")) }
}

/// Applies `plan` on a new image, and has everybody judge what is there then. Gives the operations and the verdict.
pub fn attempt(case: &Case, plan: &Plan) -> (Vec<Op>, Result<Run, String>) {
    let mut ops = Vec::new();
    let result = caught(|| {
        let device = Arc::new(MemoryDevice::from_bytes(&case.setup.image()));
        let target = LibraryTarget::new(device.clone(), case.limit, case.data);
        let mut target = target.map_err(|error| format!("mounting: {error}"))?;
        let mut run = Run::new(first_model());
        let result = drive(&mut run, &mut target, plan, case.setup.can, &mut ops);
        result.map_err(|failure| failure.to_string())?;
        target.unmount().map_err(|error| format!("unmounting: {error}"))?;
        judge(&case.setup, &device.to_bytes(), &mut run.model, case.limit)?;
        Ok(run)
    });
    (ops, result)
}

/// The operations are noted before they are applied, so that they are known when one panics.
fn drive(
    run: &mut Run,
    target: &mut LibraryTarget,
    plan: &Plan,
    can: Capabilities,
    noted: &mut Vec<Op>,
) -> Result<(), rumpcap_testing::writing::Failure> {
    match plan {
        Plan::Given(ops) => {
            noted.clone_from(ops);
            run.replay(target, ops)
        }
        Plan::Generated { seed, count } => {
            let mut generator = Generator::new(*seed, can);
            let interval = (count / 10).clamp(20, 1000);
            for n in 1..=*count {
                noted.push(generator.next(&run.model));
                run.step(target, &noted[n - 1])?;
                if n % interval == 0 || n == *count {
                    run.compare(target)?;
                }
            }
            Ok(())
        }
    }
}

/// What our own check says of an image in which it finds something.
pub fn own_check(image: &[u8]) -> Result<(), String> {
    let kernel = Kernel::builder().memory_limit(512 << 10).boot().expect("booting");
    let device = Arc::new(MemoryDevice::from_bytes(image));
    let mount = kernel.mount(device, &MountOptions::default()).map_err(|error| error.to_string())?;
    let mut found = None;
    let summary = mount.check(&mut |event| {
        if let Event::Finding(finding) = event
            && finding.severity == Severity::Error
        {
            found.get_or_insert_with(|| finding.to_string());
        }
        ControlFlow::Continue(())
    });
    summary.map_err(|error| format!("our check: {error}"))?;
    found.map_or(Ok(()), |what| Err(format!("our check: {what}")))
}

/// e2fsck, the kernel (or debugfs), our check and the library itself on an unmounted image.
pub fn judge(setup: &Setup, image: &[u8], model: &mut Model, limit: Limit) -> Result<(), String> {
    model.apply(&Op::Remount, None);
    let directory = scratch();
    let path = directory.path().join("image");
    std::fs::write(&path, image).expect("an image");
    fsck(&path)?;
    own_check(image)?;
    if setup.is_known_to_kernel() && loop_mount::available() {
        let kernel = oracle::by_kernel(&path).map_err(|error| format!("the kernel: {error}"))?;
        difference("the kernel", compare(model, &kernel, Compared::Everything))?;
    }
    let library = oracle::by_library(&path, limit).map_err(|error| format!("read again: {error}"))?;
    difference("read again", compare(model, &library, Compared::Everything))
}

pub fn difference(who: &str, difference: Option<String>) -> Result<(), String> {
    difference.map_or(Ok(()), |text| Err(format!("{who}: {text}")))
}

/// Whether two failures are most likely one: they begin alike, numbers aside.
pub fn is_alike(one: &str, other: &str) -> bool {
    let begin = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>();
    begin(one) == begin(other)
}

/// Fails the test if `plan` fails, with the smallest sequence that does.
pub fn require(case: &Case, plan: &Plan) -> Run {
    let (ops, result) = attempt(case, plan);
    let what = match result {
        Ok(run) => return run,
        Err(what) => what,
    };
    // Said at once: to make it small takes a while.
    let seed = if let Plan::Generated { seed, .. } = plan { *seed } else { 0 };
    eprintln!("{}, seed {seed}, {} operations: {what}", case.setup.spec.name, ops.len());
    let fails =
        |ops: &[Op]| attempt(case, &Plan::Given(ops.to_vec())).1.is_err_and(|why| is_alike(&why, &what));
    let small = shrink(&ops, TRIES.min(OPERATIONS_OF_TRIES / ops.len().max(1)), fails);
    let of_that = attempt(case, &Plan::Given(small.clone())).1.err();
    panic!(
        "{}, limit {:?}, {:?}, seed {seed}, {} operations: {what}\n{small:?}\ngives: {}",
        case.setup.spec.name,
        case.limit,
        case.data,
        ops.len(),
        of_that.unwrap_or_else(|| "nothing now".to_owned())
    )
}

/// To open an image for writing.
pub fn writable() -> OpenOptions {
    OpenOptions { write: true, ..OpenOptions::default() }
}
