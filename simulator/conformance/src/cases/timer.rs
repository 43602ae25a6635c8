//! The APIC timer of a level with restricted injection: it ends code at CPL 0 and CPL 3 by #HV, and leaves the timer of the
//! level below alone.

use super::doorbell::{self, Page, wait};
use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::context::{Context, KERNEL_CS, USER_CS};
use guest_rt::exec::{CodePage, Registers};
use guest_rt::report::{Fault, check, check_that, skip};
use guest_rt::trap::{self, Frame, vector};
use guest_rt::{apic, cpu, levels, msr_protocol, nae, need, time};
use snp_abi::{Vmpl, exit};

const TIMER: u8 = 0x62;
const MASKED: u64 = 1 << 16;
const PERIODIC: u64 = 1 << 17;
const MS: u32 = 1_000_000;
const HV: u8 = vector::HV as u8;
/// DEC RAX; JNZ to itself.
const LOOP: &[u8] = &[0x48, 0xFF, 0xC8, 0x75, 0xFB];
/// Some tenths of a second of it.
const ROUNDS: u64 = 1 << 27;

static CS: AtomicU64 = AtomicU64::new(0);
static FRAME: AtomicU64 = AtomicU64::new(0);
/// The guest's timer: interrupts, and the TSC at the last one.
static TIMERS: AtomicU64 = AtomicU64::new(0);
static FIRED: AtomicU64 = AtomicU64::new(0);

/// Remembers where it came from; code at CPL 3 is led out of its loop, which counts down in RAX.
fn hook(frame: &mut Frame) -> bool {
    CS.store(frame.cs, Ordering::Relaxed);
    FRAME.store(frame as *const Frame as u64, Ordering::Relaxed);
    if frame.cs == USER_CS as u64 {
        frame.rax = 1;
    }
    doorbell::hook(frame)
}

/// Runs the group.
pub fn run() {
    if !doorbell::restricted() {
        return skip("hv-timer", "no restricted injection");
    }
    let page = need!("hv-timer", Page::set());
    check(
        "hv-timer-page",
        Ok(page),
        nae::hv_doorbell(exit::DOORBELL_SET, page),
    );
    trap::set_hook(HV, Some(hook));
    check("hv-timer-apic", Ok(()), apic::enable());
    cpu::cli();
    kernel();
    user();
    masked();
    guest_undisturbed();
    let cleared = nae::hv_doorbell(exit::DOORBELL_CLEAR, 0);
    check("hv-timer-page-cleared", true, cleared.is_ok());
    trap::set_hook(HV, None);
}

fn kernel() {
    Page::reset();
    let begin = cpu::rdtsc();
    let started = apic::start_timer(TIMER, 5 * MS);
    let count = wait(1);
    let took = (cpu::rdtsc() - begin) * 1000 / time::ticks_per_ms();
    let from = CS.load(Ordering::Relaxed);
    let left = apic::read(apic::register::TIMER_CURRENT);
    time::sleep_ms(20);
    let after = Page::count();
    let ended = apic::end_of_interrupt();
    check("hv-timer-started", Ok(()), started);
    check("hv-timer-fires", (1, TIMER.into()), (count, Page::taken()));
    check("hv-timer-from-ring-0", KERNEL_CS as u64, from);
    check_that(
        "hv-timer-time",
        (4_900..500_000).contains(&took),
        "5000 us",
        took,
    );
    check("hv-timer-expired", Ok(0), left);
    check("hv-timer-once", (1, Ok(())), (after, ended));
    // A halted level is woken, whatever RFLAGS.IF says. (Time enough to get to HLT on a busy host.)
    let started = apic::start_timer(TIMER, 200 * MS);
    cpu::hlt();
    let count = Page::count();
    let ended = apic::end_of_interrupt();
    check(
        "hv-timer-wakes",
        (Ok(()), 2, Ok(())),
        (started, count, ended),
    );
    // Periodic, with an EOI each time.
    Page::reset();
    let begin = cpu::rdtsc();
    let set = apic::write(apic::register::LVT_TIMER, PERIODIC | TIMER as u64)
        .and_then(|()| apic::write(apic::register::TIMER_INITIAL, 2 * MS as u64));
    for count in 1..=5 {
        wait(count);
        let _ = apic::end_of_interrupt();
    }
    let took = (cpu::rdtsc() - begin) * 1000 / time::ticks_per_ms();
    let stopped = apic::write(apic::register::TIMER_INITIAL, 0);
    // One more can be in service by now, and another one requested.
    for _ in 0..2 {
        let _ = apic::end_of_interrupt();
    }
    check("hv-timer-periodic", (Ok(()), Ok(())), (set, stopped));
    check_that(
        "hv-timer-five-times",
        Page::count() >= 5,
        "5",
        Page::count(),
    );
    check_that(
        "hv-timer-period",
        (9_800..500_000).contains(&took),
        "10000 us",
        took,
    );
}

fn user() {
    let code = CodePage::allocate();
    let (rsp0, ist1, _) = Context::current().handler_stacks();
    for (name, stack_name, ist, stack) in [
        ("hv-timer-in-ring-3", "hv-timer-in-ring-3-rsp0", 0, rsp0),
        (
            "hv-timer-in-ring-3-with-ist",
            "hv-timer-in-ring-3-ist1",
            1,
            ist1,
        ),
    ] {
        trap::set_gate(HV, ist, 0);
        for interrupts in [0, 1 << 9] {
            let registers = Registers {
                rax: ROUNDS,
                rbx: 0xB0B0,
                r15: 0x1515,
                ..Registers::default()
            };
            // On a busy host the timer can fire before CPL 3 is reached.
            for attempt in 0..5 {
                Page::reset();
                let started = apic::start_timer(TIMER, (4 * MS) << attempt);
                let got = code
                    .run_user(LOOP, registers, interrupts)
                    .map(|r| (r.rbx, r.r15))
                    .map_err(Fault::from);
                let ended = apic::end_of_interrupt();
                let from = CS.load(Ordering::Relaxed);
                if Page::count() == 1 && from == KERNEL_CS as u64 {
                    continue;
                }
                check("hv-timer-in-ring-3-started", Ok(()), started);
                check(name, Ok((0xB0B0, 0x1515)), got);
                check(
                    "hv-timer-from-ring-3",
                    (1, USER_CS as u64, Ok(())),
                    (Page::count(), from, ended),
                );
                break;
            }
            let bytes = size_of::<Frame>() as u64;
            check(stack_name, stack, FRAME.load(Ordering::Relaxed) + bytes);
        }
    }
    trap::set_gate(HV, 0, 0);
}

fn masked() {
    Page::reset();
    let set = apic::write(apic::register::LVT_TIMER, MASKED | TIMER as u64)
        .and_then(|()| apic::write(apic::register::TIMER_INITIAL, MS as u64));
    time::sleep_ms(20);
    let left = apic::read(apic::register::TIMER_CURRENT);
    // What expired while it was masked is lost.
    let unmasked = apic::write(apic::register::LVT_TIMER, TIMER as u64);
    time::sleep_ms(5);
    check("hv-timer-masked-set", Ok(()), set);
    check("hv-timer-masked-counts", Ok(0), left);
    check("hv-timer-masked", (Ok(()), 0), (unmasked, Page::count()));
    // Stopped before it expires.
    let started = apic::start_timer(TIMER, 100 * MS);
    let stopped = apic::write(apic::register::TIMER_INITIAL, 0);
    time::sleep_ms(20);
    check(
        "hv-timer-stopped",
        (Ok(()), Ok(()), 0),
        (started, stopped, Page::count()),
    );
}

fn guest_timer(_: &mut Frame) -> bool {
    TIMERS.fetch_add(1, Ordering::Relaxed);
    FIRED.store(cpu::rdtsc(), Ordering::Relaxed);
    apic::end_of_interrupt().is_ok()
}

/// At VMPL2: starts a timer of 200 ms, gives the processor away and looks at the timer when it is back. Microseconds from
/// start to interrupt, or an error above 2^32.
fn guest_job(_: u64) -> u64 {
    const COUNT: u32 = 200 * MS;
    TIMERS.store(0, Ordering::Relaxed);
    cpu::cli();
    if apic::enable().is_err() {
        return 1 << 32;
    }
    let begin = cpu::rdtsc();
    if apic::start_timer(TIMER, COUNT).is_err() {
        return 1 << 32;
    }
    let started = cpu::rdtsc();
    if msr_protocol::run_vmpl(0).is_err() {
        return 2 << 32;
    }
    let before = cpu::rdtsc();
    let left = apic::read(apic::register::TIMER_CURRENT).unwrap_or(0);
    let after = cpu::rdtsc();
    // The count is nanoseconds: what has passed and what is left make the whole, as far as calibration allows.
    let passed = |from: u64, to: u64| (to - from) * 1_000_000 / time::ticks_per_ms();
    let slack = 4_000_000;
    let (low, high) = (passed(started, before) + left, passed(begin, after) + left);
    if left != 0 && (low > COUNT as u64 + slack || high + slack < COUNT as u64) {
        return 3 << 32 | (low / 1000) & 0xFFFF_FFFF;
    }
    cpu::sti();
    time::wait_until(1000, || TIMERS.load(Ordering::Relaxed) != 0);
    time::sleep_ms(20);
    cpu::cli();
    match TIMERS.load(Ordering::Relaxed) {
        1 => (FIRED.load(Ordering::Relaxed) - begin) * 1000 / time::ticks_per_ms(),
        count => 4 << 32 | count,
    }
}

/// VMPL0 uses its timer while one of VMPL2 runs.
fn guest_undisturbed() {
    time::ticks_per_ms();
    trap::set_hook(TIMER, Some(guest_timer));
    Page::reset();
    let begun = levels::begin(Vmpl::Vmpl2, guest_job, 0);
    let mut counts = [0; 3];
    for (i, count) in counts.iter_mut().enumerate() {
        let _ = apic::start_timer(TIMER, 5 * MS);
        *count = wait(i as u64 + 1);
        let _ = apic::end_of_interrupt();
    }
    // One that is running while VMPL2 has the processor waits for VMPL0.
    let started = apic::start_timer(TIMER, MS);
    let resumed = levels::resume(Vmpl::Vmpl2);
    let took = levels::result(Vmpl::Vmpl2);
    let count = wait(4);
    let ended = apic::end_of_interrupt();
    trap::set_hook(TIMER, None);
    check("guest-timer-begun", Ok(false), begun);
    check("hv-timer-beside-guest-timer", [1, 2, 3], counts);
    check(
        "guest-timer-resumed",
        (Ok(()), Ok(true)),
        (started, resumed),
    );
    check_that(
        "guest-timer-undisturbed",
        (199_000..2_000_000).contains(&took),
        "200000 us",
        took,
    );
    check("hv-timer-waited", (4, Ok(())), (count, ended));
}
