//! Interrupts for a level without restricted injection: the APIC timer and IPIs, to a running and to a halted vCPU.
//! All of it runs at VMPL2, whose SEV_STATUS has no injection feature.

use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::need;
use guest_rt::report::{check, check_that, skip};
use guest_rt::trap::{self, Frame};
use guest_rt::{apic, cpu, levels, msr_protocol, nae, smp, time};
use snp_abi::{SevFeatures, Vmpl, exit, msr};

const TIMER: u8 = 0x50;
const IPI: u8 = 0x51;

static TIMERS: AtomicU64 = AtomicU64::new(0);
static IPIS: AtomicU64 = AtomicU64::new(0);
/// 1 once the other vCPU is about to halt, 2 when it woke.
static OTHER: AtomicU64 = AtomicU64::new(0);

fn timer(_: &mut Frame) -> bool {
    TIMERS.fetch_add(1, Ordering::Relaxed);
    apic::end_of_interrupt().is_ok()
}

fn ipi(_: &mut Frame) -> bool {
    IPIS.fetch_add(1, Ordering::Relaxed);
    apic::end_of_interrupt().is_ok()
}

/// Runs the group.
pub fn run() {
    trap::set_hook(TIMER, Some(timer));
    trap::set_hook(IPI, Some(ipi));
    check(
        "apic-enable",
        Ok(1),
        levels::run(Vmpl::Vmpl2, |_| apic::enable().is_ok() as u64, 0),
    );
    check(
        "apic-id",
        Ok(0),
        levels::run(
            Vmpl::Vmpl2,
            |_| apic::read(apic::register::ID).unwrap_or(99),
            0,
        ),
    );
    let base = levels::run(Vmpl::Vmpl2, |_| nae::rdmsr(msr::APIC_BASE).unwrap_or(0), 0);
    check("apic-x2apic-mode", Ok(0xFEE0_0D00), base);
    check(
        "timer-wakes-halted",
        Ok(1),
        levels::run(Vmpl::Vmpl2, timer_job, 0),
    );
    check(
        "timer-held-while-interrupts-off",
        Ok(1 << 32),
        levels::run(Vmpl::Vmpl2, masked_timer_job, 0),
    );
    held_for_vmpl0();
    check(
        "ipi-to-self",
        Ok(1),
        levels::run(Vmpl::Vmpl2, self_ipi_job, 0),
    );
    check(
        "ipi-twice",
        Ok(2),
        levels::run(Vmpl::Vmpl2, self_ipi_job, 1),
    );
    if super::vcpu::count() >= 2 {
        ipi_to_halted();
    } else {
        skip("ipi-wakes-halted-vcpu", "one vCPU");
    }
    trap::set_hook(TIMER, None);
    trap::set_hook(IPI, None);
}

/// Starts the timer and halts until it fires; how many interrupts came.
fn timer_job(_: u64) -> u64 {
    TIMERS.store(0, Ordering::Relaxed);
    cpu::cli();
    if apic::start_timer(TIMER, 1_000_000).is_err() {
        return 100;
    }
    for _ in 0..10 {
        cpu::sti_hlt();
        if TIMERS.load(Ordering::Relaxed) != 0 {
            break;
        }
    }
    cpu::cli();
    TIMERS.load(Ordering::Relaxed)
}

/// A timer that expires with interrupts off: counts before they are on (low half) and after (high half).
fn masked_timer_job(_: u64) -> u64 {
    TIMERS.store(0, Ordering::Relaxed);
    cpu::cli();
    if apic::start_timer(TIMER, 100_000).is_err() {
        return 100;
    }
    time::sleep_ms(50);
    let before = TIMERS.load(Ordering::Relaxed);
    cpu::sti();
    time::wait_until(1000, || TIMERS.load(Ordering::Relaxed) != 0);
    cpu::cli();
    before | TIMERS.load(Ordering::Relaxed) << 32
}

/// Arms the timer, gives the processor to VMPL0, and counts what came afterwards.
fn yield_with_timer_job(_: u64) -> u64 {
    TIMERS.store(0, Ordering::Relaxed);
    cpu::cli();
    if apic::start_timer(TIMER, 100_000).is_err() || msr_protocol::run_vmpl(0).is_err() {
        return 100;
    }
    cpu::sti();
    time::wait_until(1000, || TIMERS.load(Ordering::Relaxed) != 0);
    cpu::cli();
    TIMERS.load(Ordering::Relaxed)
}

/// An interrupt that arrives while VMPL0 runs waits for the level that it belongs to.
fn held_for_vmpl0() {
    let vmpl = Vmpl::Vmpl2;
    check(
        "timer-armed-and-yielded",
        Ok(false),
        levels::begin(vmpl, yield_with_timer_job, 0),
    );
    time::sleep_ms(50);
    check(
        "timer-held-while-vmpl0-runs",
        0,
        TIMERS.load(Ordering::Relaxed),
    );
    check("timer-level-resumed", Ok(true), levels::resume(vmpl));
    check("timer-delivered-to-its-level", 1, levels::result(vmpl));
}

fn self_ipi_job(more: u64) -> u64 {
    IPIS.store(0, Ordering::Relaxed);
    let id = apic::read(apic::register::ID).unwrap_or(0) as u32;
    for sent in 1..=more + 1 {
        // Off while the GHCB is being filled: the handler uses it too.
        if apic::send_ipi(id, IPI).is_err() {
            break;
        }
        cpu::sti();
        time::wait_until(1000, || IPIS.load(Ordering::Relaxed) == sent);
        cpu::cli();
    }
    IPIS.load(Ordering::Relaxed)
}

extern "C" fn halt_for_ipi(_: u64) {
    cpu::cli();
    if apic::enable().is_err() {
        return;
    }
    OTHER.store(1, Ordering::Release);
    while IPIS.load(Ordering::Acquire) == 0 {
        cpu::sti_hlt();
        cpu::cli();
    }
    OTHER.store(2, Ordering::Release);
}

fn send_job(_: u64) -> u64 {
    // Time for the other one to be halted.
    time::sleep_ms(50);
    apic::send_ipi(1, IPI).is_ok() as u64
}

/// A second vCPU at VMPL2, halted, is woken by an IPI from the first one's VMPL2.
fn ipi_to_halted() {
    IPIS.store(0, Ordering::Release);
    OTHER.store(0, Ordering::Release);
    let name = "ipi-wakes-halted-vcpu";
    let features = SevFeatures::SNP_ACTIVE;
    let context = need!(
        name,
        smp::prepare(1, Vmpl::Vmpl2, features, halt_for_ipi, 0)
    );
    need!(name, smp::make_vmsa(context));
    let page = context.vmsa.load(Ordering::Relaxed);
    need!(
        name,
        nae::ap_creation(exit::AP_CREATE, 1, 2, page, features.bits())
    );
    let halted = time::wait_until(5000, || OTHER.load(Ordering::Acquire) == 1);
    check("ipi-other-vcpu-halts", true, halted);
    check("ipi-sent", Ok(1), levels::run(Vmpl::Vmpl2, send_job, 0));
    let woken = time::wait_until(5000, || OTHER.load(Ordering::Acquire) == 2);
    check_that(name, woken, "woken", OTHER.load(Ordering::Acquire));
    check("ipi-count", 1, IPIS.load(Ordering::Acquire));
}
