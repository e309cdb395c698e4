//! One run of one seed, from boot to the end of the kernel, and what must hold there (SIM-3).

use crate::disk::{Failures, Faults};
use crate::image::Image;
use crate::plan::{Part, Plan};
use crate::schedule::Schedule;
use crate::trace::{Event, Summary, Trace};
use crate::work::{Worker, World};
use rumpcap::{Error, Kernel, MemoryReport};
use shuttle::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Stack of a simulated thread: two paths and what is above and below them, in code that is not optimised.
const STACK_BYTES: usize = 512 << 10;

/// Steps after which a run is going round in circles: a hundred times what the longest of 5,000 took.
const MOST_STEPS: usize = 10_000_000;

/// Steps that the daemon gets to end its round in: it is the only thread besides, and a round is shorter.
const ROUND_STEPS: usize = 10_000;

/// A run that failed: what was done to that point, and what the thread that failed said.
#[derive(Debug)]
pub struct Failure {
    /// What happened to that point.
    pub summary: Summary,
    /// Why.
    pub why: String,
}

/// Runs `seed`. `prints`: requests and actions are printed to stderr as they happen.
///
/// # Errors
/// What did not hold, and what had happened.
pub fn run(seed: u64, images: &Arc<[Image]>, prints: bool) -> Result<Summary, Failure> {
    run_plan(Plan::new(seed), images, prints)
}

/// Runs `plan`, of a seed or changed by hand.
///
/// # Errors
/// As [`run`].
pub fn run_plan(plan: Plan, images: &Arc<[Image]>, prints: bool) -> Result<Summary, Failure> {
    let trace = Arc::new(Trace::new(prints));
    let schedule = Schedule::new(plan.schedule, plan.random(Part::Schedule).next(), trace.clone());
    let mut config = shuttle::Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.max_steps = shuttle::MaxSteps::FailAfter(MOST_STEPS);
    let runner = shuttle::Runner::new(schedule, config);
    let (images, traced) = (images.clone(), trace.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| runner.run(move || simulate(plan, &images, &traced))));
    let summary = trace.summary();
    match ran {
        Ok(_) => Ok(summary),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let why = text.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
            Err(Failure { summary, why: why.unwrap_or_else(|| "a panic".to_owned()) })
        }
    }
}

fn simulate(plan: Plan, images: &Arc<[Image]>, trace: &Arc<Trace>) {
    // The kernel holds its trace as long as it lives: that is how its end is seen.
    let alive = Arc::new(());
    let kernel = boot(&plan, trace, alive.clone());
    let failures = Arc::new(Failures::default());
    let world = Arc::new(World::new(plan, kernel, images.clone(), failures.clone(), trace.clone()));
    let before = failures.of_this_thread();
    match world.mount(world.image(plan.image)) {
        Ok(mount) => {
            let start = |number: u64| {
                let (world, mount) = (world.clone(), mount.clone());
                thread::spawn(move || {
                    let random = world.plan.random(Part::Worker(number));
                    let image = world.image(world.plan.image);
                    Worker::new(&world, image, mount, random, number).work(world.plan.actions);
                })
            };
            let workers: Vec<_> = (0..plan.workers).map(start).collect();
            drop(mount);
            workers.into_iter().for_each(|worker| worker.join().expect("a panic ends the run before this"));
        }
        Err(Error::ShortDevice { .. } | Error::NotAFileSystem)
            if matches!(plan.disk.faults, Faults::Short(_)) => {}
        Err(error) => {
            assert!(failures.of_this_thread() > before, "SIM-2: not mounted, and no disk failed: {error:?}");
        }
    }
    check_end(&world);
    drop(world);
    // The daemon may hold the kernel for the rest of its round.
    while Arc::strong_count(&alive) > 1 {
        thread::yield_now();
    }
}

fn boot(plan: &Plan, trace: &Arc<Trace>, alive: Arc<()>) -> Kernel {
    let Err(Error::LimitTooSmall { need, .. }) = Kernel::builder().memory_limit(0).boot() else {
        panic!("a kernel without memory booted");
    };
    let trace = trace.clone();
    Kernel::builder()
        .memory_limit(need + plan.limit_above_smallest)
        .policy(plan.policy)
        .daemon(plan.daemon)
        .trace(Arc::new(move |event| {
            let _held = &alive;
            trace.add(Event::Memory(event));
        }))
        .boot()
        .expect("every limit from the smallest on boots")
}

/// Everything is unmounted: no page is left but those that were lent out, and nothing is held.
fn check_end(world: &World) {
    let report = report_of_a_quiet_kernel(&world.kernel);
    world.trace.note(&report);
    assert!(report.peak_bytes <= report.limit_bytes, "over the limit: {report:?}");
    assert_eq!(report.stuck, 0, "{report:?}");
    assert_eq!((report.pages_pinned, report.pages_busy, report.pages_dirty), (0, 0, 0), "SIM-3: {report:?}");
    assert!(report.pages_clean <= world.lent.load(Relaxed), "SIM-3: pages of nobody: {report:?}");
    assert_eq!(report.buffers_bytes, 0, "SIM-3: {report:?}");
    assert_eq!(report.in_use_bytes, explained_bytes(&report), "SIM-3: frames of nobody: {report:?}");
}

/// The report once the daemon has ended its round: in the middle of it, two figures may be of different moments.
fn report_of_a_quiet_kernel(kernel: &Kernel) -> MemoryReport {
    let mut report = kernel.memory_report();
    for _ in 0..ROUND_STEPS {
        if report.in_use_bytes == explained_bytes(&report) {
            break;
        }
        thread::yield_now();
        report = kernel.memory_report();
    }
    report
}

fn explained_bytes(report: &MemoryReport) -> u64 {
    report.tables_bytes + report.pools_bytes + report.buffers_bytes + report.pages_clean * 4096
}
