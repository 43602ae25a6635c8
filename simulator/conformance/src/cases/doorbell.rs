//! The #HV doorbell page of a level with restricted injection (56421 §4.1.10, §5): the operations, and what reaches the
//! level through it. Interrupts are IPIs of the level to itself, by its own APIC in x2APIC mode.

use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::ghcb::GhcbError;
use guest_rt::report::{check, check_that, skip};
use guest_rt::trap::{self, Frame, vector};
use guest_rt::{apic, cpu, memory, nae, need, pool, time};
use snp_abi::ghcb::malformed;
use snp_abi::{SevFeatures, exit, msr};

const NONE: u64 = u64::MAX;
const IPI: u8 = 0x61;
/// In the page's byte 1.
const NO_FURTHER_SIGNAL: u8 = 1 << 7;

static COUNT: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);
static PAGE: AtomicU64 = AtomicU64::new(0);

/// What the level's doorbell says, as the tests use it.
pub struct Page;

impl Page {
    /// Makes a shared page and sets it.
    pub fn set() -> Result<u64, memory::MemoryError> {
        let page = memory::shared_pages(1)?;
        for offset in 0..3 {
            write(page, offset, 0);
        }
        PAGE.store(page, Ordering::Relaxed);
        Ok(page)
    }

    /// Counts from zero.
    pub fn reset() {
        COUNT.store(0, Ordering::Relaxed);
        TAKEN.store(0, Ordering::Relaxed);
    }

    /// How many #HV came.
    pub fn count() -> u64 {
        COUNT.load(Ordering::Relaxed)
    }

    /// The vector that the last one found.
    pub fn taken() -> u64 {
        TAKEN.load(Ordering::Relaxed)
    }
}

fn write(page: u64, offset: u64, value: u8) {
    // SAFETY: the page is mapped and shared.
    unsafe { ((page + offset) as *mut u8).write_volatile(value) };
}

fn read(page: u64, offset: u64) -> u8 {
    // SAFETY: as above.
    unsafe { ((page + offset) as *const u8).read_volatile() }
}

/// Takes the vector. It uses no GHCB: #HV comes whatever RFLAGS.IF says, also while one is being filled.
pub fn hook(_: &mut Frame) -> bool {
    let page = PAGE.load(Ordering::Relaxed);
    write(page, 1, read(page, 1) & !NO_FURTHER_SIGNAL);
    TAKEN.store(read(page, 0).into(), Ordering::Relaxed);
    write(page, 0, 0);
    COUNT.fetch_add(1, Ordering::Relaxed);
    true
}

/// Whether this level has restricted injection.
pub fn restricted() -> bool {
    cpu::rdmsr(msr::SEV_STATUS) >> 2 & SevFeatures::RESTRICTED_INJECTION.bits() != 0
}

/// Waits that an #HV comes; `count` in all.
pub fn wait(count: u64) -> u64 {
    time::wait_until(1000, || Page::count() >= count);
    Page::count()
}

/// Runs the group.
pub fn run() {
    if !restricted() {
        return skip("doorbell", "no restricted injection");
    }
    let page = need!("doorbell-page", Page::set());
    operations(page);
    trap::set_hook(vector::HV as u8, Some(hook));
    own_apic();
    signals(page);
    held(page);
    withdrawn(page);
    check("doorbell-cleared", Ok(0), clear());
    trap::set_hook(vector::HV as u8, None);
}

fn clear() -> Result<u64, GhcbError> {
    nae::hv_doorbell(exit::DOORBELL_CLEAR, 0).map(|_| 0)
}

fn query() -> Result<u64, GhcbError> {
    nae::hv_doorbell(exit::DOORBELL_QUERY, 0)
}

fn set(gpa: u64) -> Result<u64, GhcbError> {
    nae::hv_doorbell(exit::DOORBELL_SET, gpa)
}

fn operations(page: u64) {
    let preferred = nae::hv_doorbell(exit::DOORBELL_PREFERRED, 0);
    let good = preferred.is_ok_and(|gpa| gpa == NONE || gpa.is_multiple_of(4096));
    check_that("doorbell-preferred", good, "none, or a page", preferred);
    check("doorbell-none-at-first", Ok(NONE), query());
    let invalid = Err(GhcbError::Malformed(malformed::INVALID_INPUT));
    let private = pool::pages(1);
    for (name, gpa) in [
        ("doorbell-misaligned", page + 8),
        ("doorbell-c-bit", page | guest_rt::paging::c_bit()),
        ("doorbell-private-page", private),
        ("doorbell-no-memory", 0xFD00_0000),
        ("doorbell-apic", 0xFEE0_0000),
        ("doorbell-beyond-memory", 1 << 46),
        ("doorbell-all-ones", !0xFFF),
    ] {
        check("doorbell-set", Ok(page), set(page));
        check("doorbell-set-query", Ok(page), query());
        check(name, invalid, set(gpa));
        // As in KVM's series for restricted injection: a refusal leaves none.
        check("doorbell-none-after-refusal", Ok(NONE), query());
    }
    check("doorbell-operation-4", invalid, nae::hv_doorbell(4, page));
    check(
        "doorbell-operation-64-bits",
        invalid,
        nae::hv_doorbell(1 << 32 | 1, page),
    );
    check("doorbell-set-again", Ok(page), set(page));
    check("doorbell-clear", Ok(0), clear());
    check("doorbell-none-after-clear", Ok(NONE), query());
}

/// The level's APIC is not the one that VMPL2 has programmed before.
fn own_apic() {
    check("own-apic-base", Ok(0xFEE0_0900), nae::rdmsr(msr::APIC_BASE));
    check("own-apic-enable", Ok(()), apic::enable());
    check(
        "own-apic-x2apic",
        Ok(0xFEE0_0D00),
        nae::rdmsr(msr::APIC_BASE),
    );
    check("own-apic-id", Ok(0), apic::read(apic::register::ID));
    check(
        "own-apic-timer-masked",
        Ok(1 << 16),
        apic::read(apic::register::LVT_TIMER),
    );
    let gp = Err(GhcbError::Exception(guest_rt::ghcb::EVENT_GP));
    check(
        "own-apic-reserved-register",
        gp.map(|_: u64| ()),
        apic::write(0x0E, 0),
    );
    check(
        "own-apic-reserved-bits",
        gp.map(|_: u64| ()),
        apic::write(apic::register::SPURIOUS, 1 << 20),
    );
    check("own-apic-tpr", Ok(()), apic::write(0x08, 0));
}

fn signals(page: u64) {
    Page::reset();
    cpu::cli();
    // Without a page it waits.
    check("hv-ipi-without-page", Ok(()), apic::send_ipi(0, IPI));
    time::sleep_ms(5);
    check("hv-none-without-page", 0, Page::count());
    write(page, 2, 1);
    let got = set(page);
    let count = Page::count();
    check("hv-page-set", Ok(page), got);
    check(
        "hv-with-interrupts-off",
        (1, IPI.into()),
        (count, Page::taken()),
    );
    check("hv-needs-eoi", 0, read(page, 2));
    // In service until EOI.
    let sent = apic::send_ipi(0, IPI);
    let before = Page::count();
    let ended = apic::end_of_interrupt();
    let after = Page::count();
    check(
        "hv-in-service",
        (Ok(()), 1, Ok(()), 2),
        (sent, before, ended, after),
    );
    // A higher class interrupts.
    let sent = apic::send_ipi(0, 0x71);
    let higher = (Page::count(), Page::taken());
    let ended = (apic::end_of_interrupt(), apic::end_of_interrupt());
    check("hv-higher-class", (Ok(()), (3, 0x71)), (sent, higher));
    check("hv-ended", (Ok(()), Ok(())), ended);
    // TPR keeps it away.
    let tpr = apic::write(0x08, 0x60);
    let sent = apic::send_ipi(0, IPI);
    let before = Page::count();
    let lowered = apic::write(0x08, 0);
    let after = Page::count();
    let ended = apic::end_of_interrupt();
    check("hv-tpr", (Ok(()), Ok(()), 3), (tpr, sent, before));
    check(
        "hv-tpr-lowered",
        (Ok(()), 4, Ok(())),
        (lowered, after, ended),
    );
}

/// Flags and vector in the page keep #HV away.
fn held(page: u64) {
    Page::reset();
    write(page, 1, NO_FURTHER_SIGNAL);
    let sent = apic::send_ipi(0, IPI);
    let (count, content) = (Page::count(), (read(page, 0), read(page, 1)));
    check("hv-no-further-signal", (Ok(()), 0), (sent, count));
    check(
        "hv-no-further-signal-vector",
        (IPI, NO_FURTHER_SIGNAL),
        content,
    );
    // It was taken by looking.
    write(page, 0, 0);
    write(page, 1, 0);
    let ended = apic::end_of_interrupt();
    check("hv-polled", (Ok(()), 0), (ended, Page::count()));
    // A vector that was not taken is not overwritten.
    write(page, 0, 0x33);
    let sent = apic::send_ipi(0, IPI);
    let (count, content) = (Page::count(), (read(page, 0), read(page, 1)));
    write(page, 0, 0);
    let queried = query();
    let after = (Page::count(), Page::taken());
    let ended = apic::end_of_interrupt();
    check(
        "hv-vector-not-taken",
        (Ok(()), 0, (0x33, 0)),
        (sent, count, content),
    );
    check(
        "hv-vector-taken",
        (Ok(page), (1, IPI.into())),
        (queried, after),
    );
    check("hv-vector-ended", Ok(()), ended);
    // The flags say so while the handler has not cleared them.
    trap::set_hook(vector::HV as u8, Some(|_| true));
    let sent = apic::send_ipi(0, IPI);
    let content = (read(page, 0), read(page, 1));
    trap::set_hook(vector::HV as u8, Some(hook));
    write(page, 0, 0);
    write(page, 1, 0);
    let ended = apic::end_of_interrupt();
    check(
        "hv-flags",
        (Ok(()), (IPI, NO_FURTHER_SIGNAL)),
        (sent, content),
    );
    check("hv-flags-ended", Ok(()), ended);
}

/// A page that is no longer shared is not written.
fn withdrawn(page: u64) {
    Page::reset();
    let other = need!("hv-withdrawn", memory::shared_pages(1));
    check("hv-withdrawn-set", Ok(other), set(other));
    need!("hv-withdrawn", memory::unshare_page(other));
    for offset in 0..3 {
        write(other, offset, 0);
    }
    let sent = apic::send_ipi(0, IPI);
    let (count, content) = (Page::count(), [0, 1, 2].map(|offset| read(other, offset)));
    check(
        "hv-withdrawn-page",
        (Ok(()), 0, [0; 3]),
        (sent, count, content),
    );
    let got = set(page);
    let count = Page::count();
    let ended = apic::end_of_interrupt();
    check("hv-page-back", (Ok(page), 1, Ok(())), (got, count, ended));
}
