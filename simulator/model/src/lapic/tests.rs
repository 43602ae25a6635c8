//! Tests of the local APIC of a VMPL with restricted injection. Expectations: APM vol. 2 §16.4 (timer), §16.6 (priorities),
//! §16.9 to §16.12 (x2APIC); 56421 §5 (doorbell).

use super::*;
use proptest::prelude::*;

const OWNER: Owner = Owner {
    apic_id: 3,
    bootstrap: false,
};
const MS: u64 = 1_000_000;
const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;

fn msr(register: Offset) -> u32 {
    0x800 + u32::from(register >> 4)
}

/// In x2APIC mode, enabled by software.
fn enabled() -> LocalApic {
    let mut apic = LocalApic::new();
    assert!(apic.write_base(OWNER, 0xFEE0_0C00).is_ok());
    assert!(apic.write_msr(OWNER, msr(apic::SVR), 0x1FF, 0));
    apic
}

fn write(apic: &mut LocalApic, register: Offset, value: u64, now: u64) {
    assert!(apic.write_msr(OWNER, msr(register), value, now));
}

fn read(apic: &LocalApic, register: Offset, now: u64) -> u64 {
    apic.read_msr(OWNER, msr(register), now).unwrap()
}

fn one_shot(count: u32) -> Timer {
    let mut timer = Timer::new();
    timer.write_divide(0xB, 0);
    timer.write_lvt(0x50, 0);
    timer.write_initial(count, 0);
    timer
}

#[test]
fn a_one_shot_timer_counts_down_and_fires_once() {
    let mut timer = one_shot(1000);
    assert_eq!(timer.current(0), 1000);
    assert_eq!(timer.current(400), 600);
    assert_eq!(timer.next(), Some(1000));
    assert_eq!(timer.expire(999), None);
    assert_eq!(timer.expire(1000), Some(0x50));
    assert_eq!(timer.expire(5000), None);
    assert_eq!(timer.current(5000), 0);
    assert_eq!(timer.initial(), 1000);
    assert_eq!(timer.next(), None);
}

#[test]
fn divide_values() {
    for (register, by) in [
        (0, 2),
        (1, 4),
        (2, 8),
        (3, 16),
        (8, 32),
        (9, 64),
        (0xA, 128),
        (0xB, 1),
    ] {
        let mut timer = Timer::new();
        timer.write_divide(register, 0);
        timer.write_lvt(0x50, 0);
        timer.write_initial(100, 0);
        assert_eq!(timer.next(), Some(100 * by), "{register:#x}");
    }
    // A running timer goes on with the count that is left.
    let mut timer = one_shot(1000);
    timer.write_divide(0, 400);
    assert_eq!(timer.current(400), 600);
    assert_eq!(timer.next(), Some(400 + 1200));
}

#[test]
fn a_periodic_timer_keeps_its_phase_and_does_not_make_up_for_what_was_missed() {
    let mut timer = one_shot(MS as u32);
    timer.write_lvt(0x51 | PERIODIC, 0);
    assert_eq!(timer.expire(MS), Some(0x51));
    assert_eq!(timer.next(), Some(2 * MS));
    assert_eq!(timer.expire(5 * MS + 7), Some(0x51));
    assert_eq!(timer.expire(5 * MS + 8), None);
    assert_eq!(timer.next(), Some(6 * MS));
    assert_eq!(timer.current(5 * MS + 10), MS as u32 - 10);
    timer.write_initial(0, 5 * MS);
    assert_eq!(timer.next(), None);
    assert_eq!(timer.expire(100 * MS), None);
    // Shorter than 0.2 ms is not.
    timer.write_initial(1, 0);
    assert_eq!(timer.expire(1), Some(0x51));
    assert_eq!(timer.next(), Some(200_001));
}

#[test]
fn what_expires_while_masked_never_fires() {
    let mut timer = one_shot(1000);
    timer.write_lvt(0x50 | MASKED, 10);
    assert_eq!(timer.next(), None);
    timer.write_lvt(0x50, 2000);
    assert_eq!(timer.expire(3000), None);
    // Masked, it still counts.
    let mut timer = one_shot(1000);
    timer.write_lvt(0x50 | MASKED, 10);
    assert_eq!(timer.current(500), 500);
    timer.write_lvt(0x50, 600);
    assert_eq!(timer.expire(1000), Some(0x50));
}

#[test]
fn the_timers_interrupt_is_pending_until_accepted_and_in_service_until_eoi() {
    let mut apic = enabled();
    write(&mut apic, apic::TIMER_DIVIDE, 0xB, 0);
    write(&mut apic, apic::LVT_TIMER, 0x60, 0);
    write(&mut apic, apic::TIMER_INITIAL, 100, 0);
    apic.expire(50);
    assert_eq!((apic.pending(), apic.next()), (None, Some(100)));
    assert_eq!(read(&apic, apic::TIMER_CURRENT, 50), 50);
    apic.expire(100);
    assert_eq!((apic.pending(), apic.next()), (Some(0x60), None));
    assert_eq!(read(&apic, 0x230, 100), 1);
    apic.accept(0x60);
    assert_eq!(apic.pending(), None);
    assert_eq!(read(&apic, 0x130, 100), 1);
    assert_eq!(read(&apic, apic::PPR, 100), 0x60);
    // The same class waits, a higher one does not.
    write(&mut apic, apic::SELF_IPI, 0x6F, 100);
    assert_eq!(apic.pending(), None);
    write(&mut apic, apic::SELF_IPI, 0x70, 100);
    assert_eq!(apic.pending(), Some(0x70));
    apic.accept(0x70);
    write(&mut apic, apic::EOI, 0, 100);
    assert_eq!(apic.pending(), None);
    write(&mut apic, apic::EOI, 0, 100);
    assert_eq!(apic.pending(), Some(0x6F));
    write(&mut apic, apic::TPR, 0x60, 100);
    assert_eq!(apic.pending(), None);
}

#[test]
fn a_disabled_apic_has_a_masked_timer_and_nothing_pending() {
    let mut apic = enabled();
    write(&mut apic, apic::LVT_TIMER, 0x60, 0);
    write(&mut apic, apic::TIMER_INITIAL, 100, 0);
    write(&mut apic, apic::SELF_IPI, 0x80, 0);
    write(&mut apic, apic::SVR, 0xFF, 0);
    assert_eq!((apic.pending(), apic.next()), (None, None));
    write(&mut apic, apic::LVT_TIMER, 0x60, 0);
    assert_eq!(read(&apic, apic::LVT_TIMER, 0), 0x1_0060);
    assert!(apic.write_base(OWNER, 0xFEE0_0000).is_ok());
    assert_eq!(apic.read_msr(OWNER, msr(apic::VERSION), 0), None);
    assert!(apic.write_base(OWNER, 0xFEE0_0800).is_ok());
    assert_eq!(apic.read_mmio(OWNER, apic::SVR, 0), 0xFF);
}

#[test]
fn only_this_level_of_this_processor_is_reached_by_its_ipis() {
    const FIXED: u64 = 1 << 14;
    for (command, reached) in [
        (FIXED | 3 << 32 | 0x40, true),
        (FIXED | 1 << 18 | 0x40, true),
        (FIXED | 2 << 18 | 0x40, true),
        (FIXED | 3 << 18 | 0x40, false),
        (FIXED | 2 << 32 | 0x40, false),
        // NMI, INIT; an illegal vector.
        (FIXED | 3 << 32 | 4 << 8, false),
        (FIXED | 3 << 32 | 5 << 8, false),
        (FIXED | 3 << 32 | 15, false),
    ] {
        let mut apic = enabled();
        write(&mut apic, apic::ICR_LOW, command, 0);
        assert_eq!(apic.pending().is_some(), reached, "{command:#x}");
        assert_eq!(read(&apic, apic::ICR_LOW, 0), command);
    }
}

#[test]
fn modes_decide_which_interface_answers() {
    let mut apic = LocalApic::new();
    let bsp = Owner {
        apic_id: 0,
        bootstrap: true,
    };
    assert_eq!(apic.base(bsp), 0xFEE0_0900);
    assert_eq!(apic.base(OWNER), 0xFEE0_0800);
    assert_eq!(apic.read_msr(OWNER, msr(apic::ID), 0), None);
    assert!(!apic.write_msr(OWNER, msr(apic::TPR), 0, 0));
    assert_eq!(apic.read_mmio(OWNER, apic::ID, 0), 3 << 24);
    apic.write_mmio(OWNER, apic::TPR, 0x20, 0);
    assert_eq!(apic.read_mmio(OWNER, apic::TPR, 0), 0x20);
    assert!(apic.write_base(OWNER, 0xFEE0_0C00).is_ok());
    assert_eq!(apic.read_mmio(OWNER, apic::TPR, 0), u32::MAX);
    assert_eq!(read(&apic, apic::TPR, 0), 0x20);
    assert_eq!(read(&apic, apic::ID, 0), 3);
    assert_eq!(read(&apic, apic::LDR, 0), 8);
    assert_eq!(read(&apic, apic::VERSION, 0), 0x5_0014);
    assert!(apic.write_base(OWNER, 0xFEE0_0800).is_err());
    // Reserved bits, a read-only register, one that does not exist.
    assert!(!apic.write_msr(OWNER, msr(apic::TPR), 0x100, 0));
    assert!(!apic.write_msr(OWNER, msr(apic::TIMER_CURRENT), 0, 0));
    assert!(!apic.write_msr(OWNER, 0x80E, 0, 0));
}

#[test]
fn a_doorbell_rings_once_until_the_guest_clears_the_flag() {
    let page = Doorbell::from_bytes([0, 0]);
    assert!(page.is_free());
    assert_eq!(page.signal(), Signal::Raise { flags: 0x80 });
    assert_eq!(Doorbell::from_bytes([0, 0x80]).signal(), Signal::Held);
    // Bits of the guest's stay.
    assert_eq!(
        Doorbell::from_bytes([0, 0x03]).signal(),
        Signal::Raise { flags: 0x83 }
    );
    assert!(!Doorbell::from_bytes([0x50, 0]).is_free());
}

proptest! {
    /// Nothing that a guest writes makes the APIC panic, and time only ever brings the timer forward.
    #[test]
    fn any_sequence_of_writes_is_survived(
        writes in prop::collection::vec((0x800u32..0x840, any::<u64>(), 0u64..1 << 40), 0..40),
    ) {
        let mut apic = enabled();
        let mut now = 0;
        for (register, value, step) in writes {
            now += step;
            let _ = apic.write_msr(OWNER, register, value & 0xFFFF_FFFF, now);
            apic.expire(now);
            if let Some(vector) = apic.pending() {
                prop_assert!(vector >= 16);
                apic.accept(vector);
            }
            prop_assert!(apic.next().is_none_or(|at| at > now));
            let left = apic.read_msr(OWNER, 0x839, now).unwrap();
            let initial = apic.read_msr(OWNER, 0x838, now).unwrap();
            prop_assert!(left <= initial);
        }
    }
}
