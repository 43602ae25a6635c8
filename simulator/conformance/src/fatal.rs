//! Cases that must end the guest: the processor or the hypervisor cannot go on, and the machine says why. One boot each;
//! `cases/fatal.txt` has what each must end in.

use crate::ram;
use core::arch::asm;
use guest_rt::context::Context;
use guest_rt::exec::{self, CodePage, Registers};
use guest_rt::ghcb::{Field, Ghcb};
use guest_rt::paging::{self, Mapping};
use guest_rt::report::fail;
use guest_rt::{cpu, levels, msr_protocol, nae, params, println, smp, time, vmsa};
use snp_abi::vmsa::Vmsa;
use snp_abi::{RmpPermissions, SevFeatures, Vmpl, exit, msr};

/// A case's name and what it does; it returns if the machine goes on.
type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("private-read-of-hypervisor-page", || read(ram::shared())),
    ("private-write-to-hypervisor-page", || write(ram::shared())),
    ("private-fetch-of-hypervisor-page", || call(ram::shared())),
    ("pvalidate-hypervisor-page", pvalidate),
    ("rmpadjust-hypervisor-page", rmpadjust),
    ("shared-write-to-private-page", shared_write),
    ("vmpl2-read", || denied(RmpPermissions::empty(), read)),
    ("vmpl2-write", || denied(RmpPermissions::empty(), write)),
    ("vmpl2-write-to-read-only", || {
        denied(RmpPermissions::READ, write)
    }),
    ("vmpl2-execute-supervisor", || {
        denied(
            RmpPermissions::READ | RmpPermissions::WRITE | RmpPermissions::EXECUTE_USER,
            call,
        )
    }),
    ("vmpl2-execute-user", execute_user),
    ("vmpl2-execute-data", || {
        denied(RmpPermissions::READ | RmpPermissions::WRITE, call)
    }),
    ("vmpl2-page-table", page_table),
    ("vmpl1-write-to-vmsa", write_to_vmsa),
    ("vmsa-not-marked", || with_vmsa(|_| {}, false)),
    ("vmsa-without-svme", || {
        with_vmsa(|v| v.efer.set(v.efer.get() & !msr::EFER_SVME), true)
    }),
    ("vmsa-twice", vmsa_twice),
    ("vmsa-of-wrong-vmpl", || with_vmsa(|v| v.vmpl = 3, true)),
    ("restricted-and-alternate-injection", both_injections),
    ("terminate-msr", || msr_protocol::terminate(1, 2)),
    ("terminate-event", terminate_event),
    ("triple-fault", triple_fault),
    ("halted-for-good", || cpu::halt_forever()),
    ("panic", || panic!("as asked")),
];

/// Runs the case of that name, if there is one.
pub fn run(name: &str) -> bool {
    let Some((name, case)) = CASES.iter().find(|(known, _)| *known == name) else {
        return false;
    };
    println!("begin {name}");
    case();
    fail(name, "the machine to stop", "a machine that went on");
    true
}

fn read(va: u64) {
    let _ = exec::read(va);
}

fn pvalidate() {
    let _ = ram::pvalidate(ram::shared(), 0, 1);
}

fn rmpadjust() {
    let _ = ram::rmpadjust(ram::shared(), Vmpl::Vmpl1, RmpPermissions::READ);
}

fn write(va: u64) {
    // SAFETY: a page of the case's own.
    let _ = unsafe { exec::write(va, 1) };
}

fn call(va: u64) {
    // SAFETY: the page is the case's own; if it can be executed at all it holds a RET.
    let _ = unsafe { exec::call(va) };
}

fn shared_write() {
    let Ok(page) = ram::valid() else { return };
    let Ok(va) = ram::alias(0, page, Mapping::SHARED) else {
        return;
    };
    write(va);
}

/// Gives VMPL2 these permissions for a page with a RET in it, and lets it do `access`.
fn denied(permissions: RmpPermissions, access: fn(u64)) {
    let Ok(page) = ram::valid() else { return };
    // SAFETY: a page of the case's own.
    let _ = unsafe { exec::write(page, 0xC3) };
    if levels::set_up().is_err() || ram::rmpadjust(page, Vmpl::Vmpl2, permissions) != Ok(0) {
        return;
    }
    ACCESS.store(access as usize, core::sync::atomic::Ordering::Relaxed);
    let result = levels::run(
        Vmpl::Vmpl2,
        |page| {
            let access = ACCESS.load(core::sync::atomic::Ordering::Relaxed);
            // SAFETY: `denied` stores a `fn(u64)` before it runs this.
            let access: fn(u64) = unsafe { core::mem::transmute(access) };
            access(page);
            0
        },
        page,
    );
    println!("{result:x?}");
}

static ACCESS: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// Code that VMPL2 may execute at CPL 0 to 2 only, at CPL 3.
fn execute_user() {
    let code = CodePage::allocate();
    if levels::set_up().is_err() {
        return;
    }
    let all = RmpPermissions::RWX;
    let supervisor = all.difference(RmpPermissions::EXECUTE_USER);
    if ram::rmpadjust(code.address(), Vmpl::Vmpl2, supervisor) != Ok(0) {
        return;
    }
    let result = levels::run(
        Vmpl::Vmpl2,
        |code| {
            // SAFETY: the address of a `CodePage` that outlives the job.
            let code = unsafe { &*(code as *const CodePage) };
            code.run_user(&[0x90], Registers::default(), 0).is_ok() as u64
        },
        &code as *const CodePage as u64,
    );
    println!("{result:x?}");
}

/// A page table that VMPL2 has no permission for.
fn page_table() {
    let (Ok(page), Ok(table)) = (ram::valid(), ram::valid()) else {
        return;
    };
    let va = 0x58_0000_0000;
    if levels::set_up().is_err() || paging::map(va, page, Mapping::PRIVATE).is_err() {
        return;
    }
    let Ok(entry) = paging::entry(va) else { return };
    // SAFETY: a page of the case's own.
    let _ = unsafe { exec::write(table, entry) };
    let granted = ram::rmpadjust(page, Vmpl::Vmpl2, RmpPermissions::RWX) == Ok(0);
    if !granted || paging::replace_table(va, table).is_err() || exec::read(va).is_err() {
        return;
    }
    let _ = levels::flush(Vmpl::Vmpl2);
    let result = levels::run(Vmpl::Vmpl2, |va| exec::read(va).unwrap_or(1), va);
    println!("{result:x?}");
}

/// A level writes to a VMSA, which no level but VMPL0 may.
fn write_to_vmsa() {
    if levels::set_up().is_err() {
        return;
    }
    let Some(page) = levels::vmsa_page(Vmpl::Vmpl2) else {
        return;
    };
    let result = levels::run(
        Vmpl::Vmpl1,
        |page| {
            write(page + 0xE00);
            0
        },
        page,
    );
    println!("{result:x?}");
}

extern "C" fn spin(_: u64) {
    loop {
        core::hint::spin_loop();
    }
}

/// Starts vCPU 1 with a VMSA that `change` has changed, marked as a VMSA or not.
fn with_vmsa(change: fn(&mut Vmsa), marked: bool) {
    let features = params::sev_features();
    let Ok(context) = smp::prepare(1, Vmpl::Vmpl0, features, spin, 0) else {
        return;
    };
    let mut state = vmsa::for_context(context, Vmpl::Vmpl0, features, spin, 0);
    change(&mut state);
    start(context, &state, features, marked);
}

fn start(context: &'static Context, state: &Vmsa, features: SevFeatures, marked: bool) {
    let page = context.vmsa.load(core::sync::atomic::Ordering::Relaxed);
    // SAFETY: the page is the context's, and not in use yet.
    unsafe { vmsa::write(page, state) };
    if marked && smp::make_vmsa(context).is_err() {
        return;
    }
    let result = nae::ap_creation(exit::AP_CREATE, 1, 0, page, features.bits());
    println!("{result:x?}");
    time::sleep_ms(1000);
}

/// The VMSA of a running vCPU is given to another level of another vCPU.
fn vmsa_twice() {
    let features = params::sev_features();
    let Ok(context) = smp::start(1, spin, 0) else {
        return;
    };
    let page = context.vmsa.load(core::sync::atomic::Ordering::Relaxed);
    let created = nae::ap_creation(exit::AP_CREATE_ON_INIT, 0, 0, page, features.bits());
    let created_again = nae::ap_creation(exit::AP_CREATE, 0, 0, page, features.bits());
    println!("{created:x?} {created_again:x?}");
    time::sleep_ms(1000);
}

/// SEV_FEATURES that contradict each other, for a level whose features are not fixed yet.
fn both_injections() {
    let features = SevFeatures::SNP_ACTIVE
        | SevFeatures::RESTRICTED_INJECTION
        | SevFeatures::ALTERNATE_INJECTION;
    let Ok(context) = smp::prepare(1, Vmpl::Vmpl1, features, spin, 0) else {
        return;
    };
    if smp::make_vmsa(context).is_err() {
        return;
    }
    let page = context.vmsa.load(core::sync::atomic::Ordering::Relaxed);
    let result = nae::ap_creation(exit::AP_CREATE, 1, 1, page, features.bits());
    println!("{result:x?}");
    time::sleep_ms(1000);
}

/// Termination by the GHCB event, as Linux's decompressor does for features it does not know.
fn terminate_event() {
    let ghcb = Ghcb::current();
    ghcb.begin();
    ghcb.set(Field::Rax, 0);
    ghcb.set_exit(exit::TERMINATE, 0x20, 1 << 3);
    ghcb.exit_raw();
}

/// An exception without an IDT.
fn triple_fault() {
    let empty = [0u16; 5];
    // SAFETY: this is meant to end the guest.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) empty.as_ptr()) };
}
