//! Tests of the page walk. Expectations: APM vol. 2 §5.2-5.6 and §8.4.2 (error codes), §15.34.8 (C-bit).

use super::test_memory::{C, GEOMETRY, TestMemory};
use super::*;
use proptest::prelude::*;
use snp_abi::msr::EFER_NXE;

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const LARGE: u64 = 1 << 7;
const NX: u64 = 1 << 63;

const READ: LinearAccess = LinearAccess {
    write: false,
    fetch: false,
    user: false,
    implicit: false,
};
const WRITE: LinearAccess = LinearAccess {
    write: true,
    ..READ
};
const FETCH: LinearAccess = LinearAccess {
    fetch: true,
    ..READ
};

const fn user(access: LinearAccess) -> LinearAccess {
    LinearAccess {
        user: true,
        ..access
    }
}

fn long() -> Paging {
    Paging {
        geometry: GEOMETRY,
        cr0: CR0_PG | CR0_WP | CR0_PE,
        cr3: 0x1000 | C,
        cr4: CR4_PAE,
        efer: EFER_LMA | EFER_NXE,
        rflags: 2,
    }
}

/// Tables at 0x1000, 0x2000, 0x3000, 0x4000 that map the first pages of VA 0 with this leaf at `level`; all upper
/// entries allow everything.
fn tables(level: u32, leaf: u64) -> TestMemory {
    let mut memory = TestMemory::default();
    for page in 1..=4 {
        memory.add_page(page * 0x1000, true);
    }
    for (at, next, this) in [
        (0x1000, 0x2000, 3),
        (0x2000, 0x3000, 2),
        (0x3000, 0x4000, 1),
        (0x4000, 0, 0),
    ] {
        let value = if this == level {
            leaf
        } else {
            next | C | P | W | U
        };
        memory.poke_u64(at, value);
    }
    memory
}

fn look(
    memory: &mut TestMemory,
    paging: &Paging,
    va: u64,
    access: LinearAccess,
) -> Result<Translation, WalkFault> {
    translate(memory, paging, va, access, AccessedDirty::Leave)
}

fn error_code(result: Result<Translation, WalkFault>) -> Option<u32> {
    match result {
        Ok(_) => None,
        Err(WalkFault::PageFault { error_code, .. }) => Some(error_code),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn pages_of_each_size_with_and_without_the_c_bit() {
    for (level, address, flags, va, gpa, page_size) in [
        (0, 0x1234_5000, P | C, 0x678, 0x1234_5678, 0x1000),
        (0, 0x1234_5000, P, 0x678, 0x1234_5678, 0x1000),
        (1, 0x1220_0000, P | LARGE | C, 0x678, 0x1220_0678, 0x20_0000),
        // Bit 12 of a large entry is PAT, not address.
        (1, 0x1220_1000, P | LARGE, 0x1678, 0x1220_1678, 0x20_0000),
        (
            2,
            0x40_8000_0000,
            P | LARGE | C,
            0x1234_5678,
            0x40_9234_5678,
            0x4000_0000,
        ),
    ] {
        let mut memory = tables(level, address | flags);
        let result = look(&mut memory, &long(), va, READ).unwrap();
        assert_eq!((result.gpa, result.page_size), (gpa, page_size));
        assert_eq!(result.private, flags & C != 0);
        // Page tables are read as private walks, whatever the C-bit says.
        assert!(
            memory
                .log
                .iter()
                .all(|(_, private, access)| *private && *access == PhysicalAccess::TABLE_READ)
        );
    }
}

#[test]
fn indexes_are_nine_bits_each() {
    let mut memory = TestMemory::default();
    let va = 0xFFFF_8123_4567_89AB;
    let index = |level: u32| (va >> (12 + 9 * level) & 0x1FF) * 8;
    memory.poke_u64(0x1000 + index(3), 0x2000 | C | P | W);
    memory.poke_u64(0x2000 + index(2), 0x3000 | C | P | W);
    memory.poke_u64(0x3000 + index(1), 0x4000 | C | P | W);
    memory.poke_u64(0x4000 + index(0), 0xAAAA_A000 | C | P | W);
    let result = look(&mut memory, &long(), va, WRITE).unwrap();
    assert_eq!(result.gpa, 0xAAAA_A9AB);
}

#[test]
fn permissions_and_error_codes() {
    let wp_off = Paging {
        cr0: CR0_PG | CR0_PE,
        ..long()
    };
    let smep = Paging {
        cr4: CR4_PAE | CR4_SMEP,
        ..long()
    };
    let smap = Paging {
        cr4: CR4_PAE | CR4_SMAP,
        ..long()
    };
    let smap_ac = Paging {
        rflags: RFLAGS_AC,
        ..smap
    };
    let no_nx = Paging {
        efer: EFER_LMA,
        ..long()
    };
    let implicit = LinearAccess {
        implicit: true,
        ..READ
    };
    for (leaf, paging, access, expected) in [
        // Not present: neither P nor the page's own rights count.
        (0, long(), READ, Some(0)),
        (0, long(), WRITE, Some(PF_WRITE)),
        (0, long(), user(READ), Some(PF_USER)),
        (0, long(), FETCH, Some(PF_FETCH)),
        (W | U, long(), user(WRITE), Some(PF_WRITE | PF_USER)),
        // R/W.
        (P, long(), WRITE, Some(PF_PRESENT | PF_WRITE)),
        (P | W, long(), WRITE, None),
        (P, wp_off, WRITE, None),
        (
            P | U,
            wp_off,
            user(WRITE),
            Some(PF_PRESENT | PF_WRITE | PF_USER),
        ),
        // U/S.
        (P | W, long(), user(READ), Some(PF_PRESENT | PF_USER)),
        (P | W | U, long(), user(WRITE), None),
        // NX.
        (P | NX, long(), FETCH, Some(PF_PRESENT | PF_FETCH)),
        (P | NX, long(), READ, None),
        (P | NX, no_nx, READ, Some(PF_PRESENT | PF_RESERVED)),
        // SMEP.
        (P | U, long(), FETCH, None),
        (P | U, smep, FETCH, Some(PF_PRESENT | PF_FETCH)),
        (P | U, smep, user(FETCH), None),
        // SMAP.
        (P | U, smap, READ, Some(PF_PRESENT)),
        (P | U, smap_ac, READ, None),
        (P | U, smap_ac, implicit, Some(PF_PRESENT)),
        (P | U, smap, user(READ), None),
        (P, smap, READ, None),
        // An address beyond the physical address width; bit 47 is the C-bit.
        (P | 1 << 48, long(), READ, Some(PF_PRESENT | PF_RESERVED)),
        (
            P | 1 << 51,
            long(),
            WRITE,
            Some(PF_PRESENT | PF_RESERVED | PF_WRITE),
        ),
    ] {
        let mut memory = tables(0, 0x5000 | leaf);
        let result = look(&mut memory, &paging, 0, access);
        assert_eq!(
            error_code(result),
            expected,
            "{leaf:#x} {access:?} {paging:x?}"
        );
    }
}

#[test]
fn without_nxe_and_smep_the_fetch_bit_is_not_reported() {
    let paging = Paging {
        efer: EFER_LMA,
        ..long()
    };
    let result = look(&mut tables(0, 0), &paging, 0, FETCH);
    assert_eq!(error_code(result), Some(0));
}

#[test]
fn rights_of_upper_levels_count() {
    for (at, flags, access, expected) in [
        (0x2000, P | U, WRITE, PF_PRESENT | PF_WRITE),
        (0x3000, P | W, user(READ), PF_PRESENT | PF_USER),
        (0x1000, P | W | U | NX, FETCH, PF_PRESENT | PF_FETCH),
    ] {
        let mut memory = tables(0, 0x5000 | P | W | U);
        memory.poke_u64(at, memory.peek_u64(at) & !0xFFF | flags);
        assert_eq!(
            error_code(look(&mut memory, &long(), 0, access)),
            Some(expected)
        );
    }
}

#[test]
fn reserved_bits_of_large_pages() {
    for (level, leaf) in [
        (1, 0x20_2000 | P | LARGE),
        (2, 0x4020_0000 | P | LARGE),
        (3, 0x2000 | P | LARGE),
    ] {
        let result = look(&mut tables(level, leaf), &long(), 0, READ);
        assert_eq!(
            error_code(result),
            Some(PF_PRESENT | PF_RESERVED),
            "level {level}"
        );
    }
}

#[test]
fn accessed_and_dirty_bits_are_set_as_the_processor_sets_them() {
    let mut memory = tables(0, 0x5000 | P | W);
    let set = |memory: &mut TestMemory, access| {
        translate(memory, &long(), 0, access, AccessedDirty::Set).unwrap();
    };
    set(&mut memory, READ);
    for at in [0x1000, 0x2000, 0x3000, 0x4000] {
        assert_eq!(memory.peek_u64(at) & 0x60, 0x20, "{at:#x}");
    }
    set(&mut memory, WRITE);
    assert_eq!(memory.peek_u64(0x4000) & 0x60, 0x60);
    assert_eq!(memory.peek_u64(0x3000) & 0x60, 0x20);
    // Nothing left to do: no more writes to page tables.
    memory.log.clear();
    set(&mut memory, WRITE);
    assert!(memory.log.iter().all(|(_, _, access)| !access.write));
    // A walk that faults sets nothing here.
    let mut memory = tables(0, 0x5000 | P);
    let fault = translate(&mut memory, &long(), 0, WRITE, AccessedDirty::Set);
    assert!(fault.is_err());
    assert_eq!(memory.peek_u64(0x4000) & 0x60, 0);
}

#[test]
fn without_paging_everything_is_private_and_identity() {
    let paging = Paging {
        cr0: CR0_PE,
        cr4: 0,
        efer: 0,
        ..long()
    };
    let result = look(&mut TestMemory::default(), &paging, 0x1_0000_1234, WRITE).unwrap();
    assert_eq!((result.gpa, result.private), (0x1234, true));
}

#[test]
fn legacy_32_bit_paging_has_no_c_bit() {
    let paging = Paging {
        cr3: 0x1000,
        cr4: CR4_PSE,
        efer: 0,
        ..long()
    };
    let mut memory = TestMemory::default();
    memory.poke(0x1000 + 4, &0x0000_2003u32.to_le_bytes());
    memory.poke(0x2000 + 8, &0x0abc_d003u32.to_le_bytes());
    // 4 MiB at 0x00800000, address bits 39:32 in 20:13.
    memory.poke(0x1000 + 8, &(0x0C40_0083u32 | 5 << 13).to_le_bytes());
    let small = look(&mut memory, &paging, 0x0040_2123, READ).unwrap();
    assert_eq!(
        small,
        Translation {
            gpa: 0x0abc_d123,
            private: true,
            page_size: 0x1000
        }
    );
    let large = look(&mut memory, &paging, 0x0091_2345, READ).unwrap();
    assert_eq!((large.gpa, large.page_size), (0x5_0C51_2345, 0x40_0000));
    // Without PSE bit 7 means nothing.
    let no_pse = Paging { cr4: 0, ..paging };
    assert!(matches!(
        look(&mut memory, &no_pse, 0x0091_2345, READ),
        Err(WalkFault::Memory(_))
    ));
}

#[test]
fn pae_paging_has_a_c_bit_and_rights_only_below_the_root() {
    let paging = Paging {
        cr3: 0x1020,
        efer: EFER_NXE,
        ..long()
    };
    let mut memory = TestMemory::default();
    memory.poke_u64(0x1020 + 8, 0x2000 | C | P);
    memory.poke_u64(0x2000 + 8, 0x3000 | C | P | W | U);
    memory.poke_u64(0x3000, 0x7000 | C | P | W | U);
    let result = look(&mut memory, &paging, 0x4020_0042, user(WRITE)).unwrap();
    assert_eq!((result.gpa, result.private), (0x7042, true));
    // R/W in a page-directory-pointer entry is reserved.
    memory.poke_u64(0x1020 + 8, 0x2000 | C | P | W);
    let result = look(&mut memory, &paging, 0x4020_0042, READ);
    assert_eq!(error_code(result), Some(PF_PRESENT | PF_RESERVED));
}

#[test]
fn five_levels_and_non_canonical_addresses_are_named() {
    let five = Paging {
        cr4: CR4_PAE | CR4_LA57,
        ..long()
    };
    let memory = &mut tables(0, P);
    assert_eq!(look(memory, &five, 0, READ), Err(WalkFault::FiveLevel));
    let va = 0x0000_8000_0000_0000;
    assert_eq!(
        look(memory, &long(), va, READ),
        Err(WalkFault::NonCanonical { va })
    );
}

#[test]
fn a_page_table_without_memory_is_a_nested_fault_of_the_walk() {
    let mut memory = tables(1, 0x9_9000 | C | P | W);
    let Err(WalkFault::Memory(violation)) = look(&mut memory, &long(), 0, WRITE) else {
        panic!("not a memory fault");
    };
    assert_eq!(violation.gpa, 0x9_9000);
    let crate::rmp::Effect::NestedFault { exit_info_1 } = violation.effect else {
        panic!("{violation:?}");
    };
    use snp_abi::exit::npf;
    assert_eq!(exit_info_1, npf::TABLE_WALK | npf::ENCRYPTED | npf::USER);
}

#[test]
fn writes_across_pages_touch_nothing_when_the_second_page_faults() {
    let mut memory = tables(0, 0x5000 | C | P | W);
    memory.add_page(0x5000, true);
    let access = WRITE;
    let error = write_linear(&mut memory, &long(), 0xFFC, access, &[1; 8]).unwrap_err();
    assert_eq!(
        error,
        WalkFault::PageFault {
            va: 0x1000,
            error_code: PF_WRITE
        }
    );
    assert_eq!(memory.peek::<4>(0x5FFC), [0; 4]);
    memory.poke_u64(0x4008, 0x6000 | C | P | W);
    memory.add_page(0x6000, true);
    write_linear(
        &mut memory,
        &long(),
        0xFFC,
        access,
        &[1, 2, 3, 4, 5, 6, 7, 8],
    )
    .unwrap();
    assert_eq!(memory.peek::<4>(0x5FFC), [1, 2, 3, 4]);
    assert_eq!(memory.peek::<4>(0x6000), [5, 6, 7, 8]);
    let mut read = [0; 8];
    read_linear(&mut memory, &long(), 0xFFC, READ, &mut read).unwrap();
    assert_eq!(read, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn instructions_are_fetched_up_to_a_page_that_is_missing() {
    let mut memory = tables(0, 0x5000 | C | P);
    memory.poke(0x5FFE, &[0x0F, 0xA2]);
    let mut vmsa: Vmsa = zerocopy::FromZeros::new_zeroed();
    vmsa.cr0.set(long().cr0);
    vmsa.cr3.set(long().cr3);
    vmsa.cr4.set(long().cr4);
    vmsa.efer.set(long().efer);
    vmsa.cs.attributes.set(0x29B);
    vmsa.rip.set(0xFFE);
    let mut bytes = [0; 15];
    let count = fetch_instruction(&mut memory, &vmsa, GEOMETRY, &mut bytes).unwrap();
    assert_eq!(bytes.get(..count), Some(&[0x0F, 0xA2][..]));
    // Real mode: base + IP.
    vmsa.cr0.set(0);
    vmsa.efer.set(0);
    vmsa.cs.attributes.set(0x9B);
    vmsa.cs.base.set(0x5000);
    let count = fetch_instruction(&mut memory, &vmsa, GEOMETRY, &mut bytes).unwrap();
    assert_eq!(count, 2);
}

proptest! {
    #[test]
    fn a_walk_over_random_tables_ends_without_panic(
        entries in proptest::collection::vec(any::<u64>(), 512),
        va in any::<u64>(), cr3 in 0u64..4, cr4 in any::<u64>(), efer in any::<u64>(),
        cr0 in any::<u64>(), access in any::<[bool; 4]>(),
    ) {
        let mut memory = TestMemory::default();
        // Entries point at one another, so that walks get somewhere.
        for (at, entry) in (0u64..).zip(&entries) {
            let entry = (entry & 0x8000_0000_0000_0FFF) | (entry >> 12 & 3) << 12 | (entry & C) | P;
            memory.poke_u64(at % 512 * 8 + at % 4 * 0x1000, entry);
        }
        let paging = Paging {
            geometry: GEOMETRY, cr0, cr3: cr3 << 12, cr4: cr4 & !CR4_LA57, efer, rflags: 2,
        };
        let [write, fetch, user, implicit] = access;
        let access = LinearAccess { write, fetch, user, implicit };
        let result = translate(&mut memory, &paging, va, access, AccessedDirty::Set);
        if let Ok(translation) = result {
            prop_assert_eq!(translation.gpa & C, 0);
            prop_assert_eq!(translation.gpa & 0xFFF, va & 0xFFF);
        }
    }
}
