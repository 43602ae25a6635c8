//! Tests of the APIC rules. Expectations: APM vol. 2 §16.3 (APIC_BASE), §16.5 (ICR), §16.6 (destinations), §16.9-16.12
//! (x2APIC).

use super::*;

const XAPIC: u64 = BASE_ADDRESS | BASE_ENABLE;
const X2APIC: u64 = XAPIC | BASE_EXTD;
const OFF: u64 = BASE_ADDRESS;

#[test]
fn mode_transitions() {
    let gp = Err(GeneralProtection);
    for (old, new, expected) in [
        (XAPIC, X2APIC, Ok(X2APIC)),
        (XAPIC, OFF, Ok(OFF)),
        (X2APIC, OFF, Ok(OFF)),
        (OFF, XAPIC, Ok(XAPIC)),
        (X2APIC, X2APIC, Ok(X2APIC)),
        (X2APIC, XAPIC, gp),
        (OFF, X2APIC, gp),
        (XAPIC, OFF | BASE_EXTD, gp),
        // The BSP bit cannot be changed.
        (XAPIC | BASE_BSP, X2APIC, Ok(X2APIC | BASE_BSP)),
        (XAPIC, X2APIC | BASE_BSP, Ok(X2APIC)),
        // Reserved bits, another address.
        (XAPIC, XAPIC | 1, gp),
        (XAPIC, XAPIC | 1 << 9, gp),
        (XAPIC, XAPIC | 1 << 52, gp),
        (XAPIC, 0xFEE1_0000 | BASE_ENABLE, gp),
    ] {
        assert_eq!(write_base(old, new), expected, "{old:#x} -> {new:#x}");
    }
}

#[test]
fn x2apic_registers_and_their_directions() {
    for (msr, read, write) in [
        (0x802, true, false),
        (0x803, true, false),
        (0x808, true, true),
        (0x80A, true, false),
        (0x80B, false, true),
        (0x80D, true, false),
        (0x80E, false, false),
        (0x80F, true, true),
        (0x810, true, false),
        (0x827, true, false),
        (0x828, true, true),
        (0x830, true, true),
        (0x831, false, false),
        (0x832, true, true),
        (0x837, true, true),
        (0x838, true, true),
        (0x839, true, false),
        (0x83E, true, true),
        (0x83F, false, true),
        (0x800, false, false),
        (0x829, false, false),
        (0x840, false, false),
        (0x8FF, false, false),
        (0x7FF, false, false),
        (0x900, false, false),
    ] {
        assert_eq!(x2apic_register(msr, false).is_ok(), read, "read {msr:#x}");
        assert_eq!(x2apic_register(msr, true).is_ok(), write, "write {msr:#x}");
    }
    assert_eq!(x2apic_register(0x830, true), Ok(ICR_LOW));
    assert_eq!(x2apic_register(0x80F, true), Ok(0xF0));
}

#[test]
fn reserved_bits_of_x2apic_writes() {
    for (register, value, allowed) in [
        (EOI, 0, true),
        (EOI, 1, false),
        (ESR, 0, true),
        (ESR, 1, false),
        (TPR, 0xFF, true),
        (TPR, 0x100, false),
        (SELF_IPI, 0x30, true),
        (SELF_IPI, 0x130, false),
        (SVR, 0x1FF, true),
        (SVR, 0x8000, false),
        (ICR_LOW, 0x0000_0003_0000_08FD, true),
        (ICR_LOW, 0xFFFF_FFFF_000C_00FB, true),
        (ICR_LOW, 1 << 13, false),
        (ICR_LOW, 1 << 16, false),
        (ICR_LOW, 1 << 20, false),
        // Linux: periodic timer, masked; LINT0 ExtINT level.
        (LVT_TIMER, 0x3_00EC, true),
        (LVT_TIMER, 0x8_00EC, false),
        (LVT_LINT0, 0x1_8700, true),
        (LVT_TIMER, 1 << 32, false),
        (TIMER_INITIAL, 0xFFFF_FFFF, true),
        (TIMER_INITIAL, 1 << 32, false),
        (TIMER_DIVIDE, 0xB, true),
        (TIMER_DIVIDE, 0x4, false),
    ] {
        assert_eq!(
            check_x2apic_write(register, value).is_ok(),
            allowed,
            "{register:#x} {value:#x}"
        );
    }
}

#[test]
fn commands_are_decoded() {
    let fixed = Icr::from_x2apic(0x0000_0103_0000_08FD);
    assert_eq!(
        (fixed.vector, fixed.destination, fixed.logical),
        (0xFD, 0x103, true)
    );
    assert_eq!(
        (fixed.mode, fixed.shorthand),
        (DeliveryMode::Fixed, Shorthand::None)
    );
    let init = Icr::from_xapic(0x0000_C500, 0x0200_0000);
    assert_eq!((init.mode, init.destination), (DeliveryMode::Init, 2));
    assert!(init.assert && init.level_triggered && !init.is_init_deassert());
    assert!(Icr::from_xapic(0x0000_8500, 0x0200_0000).is_init_deassert());
    let startup = Icr::from_xapic(0x0000_069A, 0x0100_0000);
    assert_eq!(
        (startup.mode, startup.vector),
        (DeliveryMode::Startup, 0x9A)
    );
    let nmi = Icr::from_x2apic(0x000C_0400);
    assert_eq!(
        (nmi.mode, nmi.shorthand),
        (DeliveryMode::Nmi, Shorthand::AllButSelf)
    );
    let own = Icr::self_ipi(0x77);
    assert_eq!(
        (own.vector, own.shorthand, own.mode),
        (0x77, Shorthand::SelfOnly, DeliveryMode::Fixed)
    );
}

const fn xapic(apic_id: u32, logical: u32, dfr: u32) -> Target {
    Target {
        apic_id,
        mode: Mode::XApic,
        ldr: logical << 24,
        dfr,
    }
}

const fn x2apic(apic_id: u32) -> Target {
    Target {
        apic_id,
        mode: Mode::X2Apic,
        ldr: 0,
        dfr: 0,
    }
}

#[test]
fn destinations() {
    const FLAT: u32 = u32::MAX;
    const CLUSTER: u32 = 0x0FFF_FFFF;
    let physical = |to: u32| Icr::from_xapic(0x40, to << 24);
    let logical = |to: u32| Icr::from_xapic(0x840, to << 24);
    let physical_x2 = |to: u64| Icr::from_x2apic(to << 32 | 0x40);
    let logical_x2 = |to: u64| Icr::from_x2apic(to << 32 | 0x840);
    for (icr, target, expected) in [
        (physical(2), xapic(2, 0, FLAT), true),
        (physical(2), xapic(3, 0, FLAT), false),
        (physical(0xFF), xapic(3, 0, FLAT), true),
        (physical_x2(0x102), x2apic(0x102), true),
        (physical_x2(0x102), x2apic(2), false),
        (physical_x2(0xFF), x2apic(2), false),
        (physical_x2(0xFFFF_FFFF), x2apic(2), true),
        // Flat: a bit each.
        (logical(0b101), xapic(0, 0b001, FLAT), true),
        (logical(0b101), xapic(0, 0b010, FLAT), false),
        // Cluster: 7:4 must be equal, or all of them.
        (logical(0x21), xapic(0, 0x21, CLUSTER), true),
        (logical(0x23), xapic(0, 0x22, CLUSTER), true),
        (logical(0x12), xapic(0, 0x22, CLUSTER), false),
        (logical(0x21), xapic(0, 0x22, CLUSTER), false),
        (logical(0xF2), xapic(0, 0x22, CLUSTER), true),
        // x2APIC: cluster = ID / 16, bit = ID % 16.
        (logical_x2(0x0001_0004), x2apic(0x12), true),
        (logical_x2(0x0001_0006), x2apic(0x11), true),
        (logical_x2(0x0000_0004), x2apic(0x12), false),
        (logical_x2(0x0001_0004), x2apic(0x11), false),
        (logical_x2(0xFFFF_FFFF), x2apic(0x11), true),
    ] {
        assert_eq!(icr.reaches(0, &target), expected, "{icr:?} {target:?}");
    }
}

#[test]
fn shorthands_and_disabled_apics() {
    let send = |shorthand: u32| Icr::from_xapic(shorthand << 18 | 0x40, 0);
    for (shorthand, to_self, to_other) in [(1, true, false), (2, true, true), (3, false, true)] {
        assert_eq!(send(shorthand).reaches(5, &x2apic(5)), to_self);
        assert_eq!(send(shorthand).reaches(5, &x2apic(6)), to_other);
    }
    let disabled = Target {
        mode: Mode::Disabled,
        ..x2apic(6)
    };
    assert!(!send(2).reaches(5, &disabled));
}

#[test]
fn logical_x2apic_ids() {
    assert_eq!(x2apic_ldr(0), 1);
    assert_eq!(x2apic_ldr(0x12), 0x0001_0004);
    assert_eq!(x2apic_ldr(0xFF), 0x000F_8000);
}
