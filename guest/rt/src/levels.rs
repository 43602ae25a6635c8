//! Code at lower VMPLs of the boot processor, for a payload at VMPL0: each level has a context of its own that runs
//! jobs (a function of this image) and gives the processor back.

use crate::context::Context;
use crate::smp::{self, StartError};
use crate::{cpu, msr_protocol, nae, paging, snp};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use snp_abi::vmsa::Vmsa;
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl, exit};

/// What a level does: runs at that VMPL, returns a result.
pub type Job = fn(u64) -> u64;

struct Level {
    context: AtomicUsize,
    job: AtomicUsize,
    argument: AtomicU64,
    result: AtomicU64,
    /// Jobs given and jobs done.
    given: AtomicU64,
    done: AtomicU64,
}

static LEVELS: [Level; Vmpl::COUNT] = [const {
    Level {
        context: AtomicUsize::new(0),
        job: AtomicUsize::new(0),
        argument: AtomicU64::new(0),
        result: AtomicU64::new(0),
        given: AtomicU64::new(0),
        done: AtomicU64::new(0),
    }
}; Vmpl::COUNT];

/// Why a job did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The level was not set up.
    NotSetUp,
    /// The hypervisor would not run it.
    Refused(msr_protocol::BadResponse),
    /// VMPL0 runs again, but the job is not done: the level's exit code.
    NotDone(u64),
}

extern "C" fn worker(vmpl: u64) {
    let level = &LEVELS[vmpl as usize & 3];
    loop {
        if level.done.load(Ordering::Acquire) < level.given.load(Ordering::Acquire) {
            let job = level.job.load(Ordering::Acquire);
            // SAFETY: only `run` writes here, and it writes a `Job`.
            let job: Job = unsafe { core::mem::transmute(job) };
            let result = job(level.argument.load(Ordering::Relaxed));
            level.result.store(result, Ordering::Relaxed);
            level.done.fetch_add(1, Ordering::Release);
        }
        if msr_protocol::run_vmpl(0).is_err() {
            cpu::halt_forever();
        }
    }
}

/// Gives `vmpl` read, write and execute permission for the payload's image and for the pages the firmware filled.
/// Shared pages are left out.
pub fn grant_image(vmpl: Vmpl) -> Result<(), StartError> {
    unsafe extern "C" {
        static __image_start: u8;
        static __image_end: u8;
    }
    let (start, end) = (
        &raw const __image_start as u64,
        &raw const __image_end as u64,
    );
    let firmware = [crate::params::cpuid_gpa(), crate::params::secrets_gpa()];
    for page in (start..end).step_by(PAGE_SIZE as usize).chain(firmware) {
        if !crate::ghcb::is_private_mapping(page) {
            continue;
        }
        // SAFETY: it takes nothing away; callers grant before the pool has VMSAs.
        let code =
            unsafe { snp::rmpadjust(page, PageSize::Size4K, vmpl, RmpPermissions::RWX, false) };
        if code != 0 {
            return Err(StartError::Rmpadjust(code));
        }
    }
    Ok(())
}

/// Sets up VMPL1 to VMPL3 of the boot processor: the image is granted to them, and each has a VMSA with
/// `SNP_ACTIVE` as its only feature. To be called before other VMSAs are made.
pub fn set_up() -> Result<(), StartError> {
    let features = SevFeatures::SNP_ACTIVE;
    for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        let context = smp::prepare(0, vmpl, features, worker, vmpl as u64)?;
        LEVELS[vmpl.index()]
            .context
            .store(context as *const Context as usize, Ordering::Relaxed);
    }
    for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        grant_image(vmpl)?;
    }
    for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        let Some(context) = context(vmpl) else {
            continue;
        };
        smp::make_vmsa(context)?;
        let page = context.vmsa.load(Ordering::Relaxed);
        nae::ap_creation(
            exit::AP_CREATE_ON_INIT,
            0,
            vmpl as u8,
            page,
            features.bits(),
        )
        .map_err(StartError::ApCreation)?;
    }
    Ok(())
}

/// The level's context, once set up.
pub fn context(vmpl: Vmpl) -> Option<&'static Context> {
    let address = LEVELS[vmpl.index()].context.load(Ordering::Relaxed);
    // SAFETY: it is zero or a context, and contexts live for good.
    unsafe { (address as *const Context).as_ref() }
}

/// Gives `vmpl` a job and runs it once; returns whether the job is done. If it is not, the level gave the processor back
/// in between: [`resume`] goes on with it.
pub fn begin(vmpl: Vmpl, job: Job, argument: u64) -> Result<bool, RunError> {
    context(vmpl).ok_or(RunError::NotSetUp)?;
    let level = &LEVELS[vmpl.index()];
    level.job.store(job as usize, Ordering::Relaxed);
    level.argument.store(argument, Ordering::Relaxed);
    // A job that was given up is not waited for.
    level
        .given
        .store(level.done.load(Ordering::Relaxed) + 1, Ordering::Release);
    resume(vmpl)
}

/// Runs the level once more; returns whether its job is done.
pub fn resume(vmpl: Vmpl) -> Result<bool, RunError> {
    msr_protocol::run_vmpl(vmpl as u64).map_err(RunError::Refused)?;
    let level = &LEVELS[vmpl.index()];
    Ok(level.done.load(Ordering::Acquire) == level.given.load(Ordering::Acquire))
}

/// The result of the level's last job.
pub fn result(vmpl: Vmpl) -> u64 {
    LEVELS[vmpl.index()].result.load(Ordering::Relaxed)
}

/// Runs `job(argument)` at that VMPL of the boot processor; returns its result.
pub fn run(vmpl: Vmpl, job: Job, argument: u64) -> Result<u64, RunError> {
    let mut done = begin(vmpl, job, argument)?;
    // VMPL0 may run again before the job is done.
    for _ in 0..1000 {
        if done {
            return Ok(result(vmpl));
        }
        done = resume(vmpl)?;
    }
    Err(RunError::NotDone(exit_code(vmpl)))
}

/// Why the level last stopped: GUEST_EXITCODE of its VMSA.
pub fn exit_code(vmpl: Vmpl) -> u64 {
    vmsa_page(vmpl).map_or(0, |page| {
        crate::vmsa::read_field(page, core::mem::offset_of!(Vmsa, guest_exit_code))
    })
}

/// GPA of the level's VMSA.
pub fn vmsa_page(vmpl: Vmpl) -> Option<u64> {
    context(vmpl).map(|context| context.vmsa.load(Ordering::Relaxed))
}

/// Makes later changes to page tables known to a level: it flushes its TLB.
pub fn flush(vmpl: Vmpl) -> Result<(), RunError> {
    fn job(_: u64) -> u64 {
        paging::flush();
        0
    }
    run(vmpl, job, 0).map(|_| ())
}
