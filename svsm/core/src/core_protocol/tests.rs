//! The core protocol against a machine that follows the manuals. Expected codes are those of 58019 §5.1 and §7.

use super::CoreProtocol;
use super::fake::Fake;
use crate::memory_map::RamMap;
use crate::memory_map::tests::{LIMIT, area};
use crate::page_map::{PageMap, PageState};
use crate::request::{Registers, Served};
use crate::sync::CallLock;
use crate::vcpu::{Vcpu, VcpuTable};
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl};
use std::sync::atomic::AtomicU64;
use std::vec::Vec;

const SUCCESS: u64 = 0;
const INCOMPLETE: u64 = 0x8000_0000;
const UNSUPPORTED_CALL: u64 = 0x8000_0002;
const INVALID_ADDRESS: u64 = 0x8000_0003;
const INVALID_PARAMETER: u64 = 0x8000_0005;
const INVALID_REQUEST: u64 = 0x8000_0006;
const BUSY: u64 = 0x8000_0007;
const IN_USE: u64 = 0x8000_1003;
const SIZE_MISMATCH: u64 = 0x8000_1006;
const NO_CHANGE: u64 = 0x8000_1010;

const VALIDATE: u64 = 1 << 2;
const IGNORE_CF: u64 = 1 << 3;
const LARGE: u64 = 1;

/// The list of PVALIDATE in these tests, and the calling areas and VMSAs.
const LIST: u64 = 0x10_0000;
const CA: u64 = 0x10_1000;
const BOOT_VMSA: u64 = 0x80_0000_1000;

struct Setup {
    machine: Fake,
    ram: RamMap,
    words: Vec<AtomicU64>,
    vcpus: Vec<Vcpu>,
    lock: CallLock,
}

impl Setup {
    /// RAM 0-0x140_0000 without 0xF0_0000-0x100_0000; two vCPUs (APIC IDs 0 and 5), both online, and a third one that
    /// is not; the pages from LIST to LIST + 16 pages are the guest's.
    fn new() -> Setup {
        let ram = RamMap::parse(&area(&[(0, 0xF00, 0), (0x1000, 0x400, 0)]), LIMIT).unwrap();
        let words = (0..ram.page_map_words())
            .map(|_| AtomicU64::new(0))
            .collect();
        let setup = Setup {
            machine: Fake::new(),
            ram,
            words,
            vcpus: [0, 5, 9].map(Vcpu::new).into(),
            lock: CallLock::new(),
        };
        setup.vcpus[0].set_online();
        setup.vcpus[1].set_online();
        setup
    }

    fn run(&self, test: impl FnOnce(&Guest<'_>)) {
        let pages = PageMap::new(&self.ram, &self.words).unwrap();
        for page in 0..16 {
            self.machine.with_page(LIST + page * PAGE_SIZE, |page| {
                page.validated = true;
                page.permissions[2] = RmpPermissions::RWX;
            });
        }
        pages.set_at_boot(LIST, 16, PageState::Validated);
        pages.set_at_boot(CA, 1, PageState::CallingArea);
        self.vcpus[0].set_guest(Some((BOOT_VMSA, CA)));
        let served = Served::new();
        served.add(31);
        let core = CoreProtocol {
            pages: &pages,
            vcpus: VcpuTable(&self.vcpus),
            lock: &self.lock,
            machine: &self.machine,
            guest_features: SevFeatures::SNP_ACTIVE,
            served: &served,
        };
        test(&Guest {
            core,
            caller: &self.vcpus[0],
        });
    }
}

struct Guest<'a> {
    core: CoreProtocol<'a, Fake>,
    caller: &'a Vcpu,
}

impl Guest<'_> {
    fn call(&self, call: u64, rcx: u64, rdx: u64, r8: u64) -> Registers {
        self.call_from(self.caller, call, rcx, rdx, r8)
    }

    fn call_from(&self, caller: &Vcpu, call: u64, rcx: u64, rdx: u64, r8: u64) -> Registers {
        let mut registers = Registers {
            rax: call,
            rcx,
            rdx,
            r8,
        };
        self.core.call(caller, &mut registers);
        registers
    }

    /// PVALIDATE with the list at LIST: the code and what `next` is then.
    fn pvalidate(&self, entries: &[u64]) -> (u64, u16) {
        self.pvalidate_from(entries.len() as u16, 0, entries)
    }

    fn pvalidate_from(&self, count: u16, next: u16, entries: &[u64]) -> (u64, u16) {
        self.core
            .machine
            .put_u64(LIST, count as u64 | (next as u64) << 16);
        for (i, entry) in entries.iter().enumerate() {
            self.core.machine.put_u64(LIST + 8 + i as u64 * 8, *entry);
        }
        let code = self.call(1, LIST, 0, 0).rax;
        let bytes = self.core.machine.page(LIST).bytes;
        (code, u16::from_le_bytes([bytes[2], bytes[3]]))
    }

    fn state(&self, gpa: u64) -> PageState {
        self.core.pages.state(gpa)
    }

    /// Makes a VMSA that is fit for the guest at `gpa`.
    fn put_vmsa(&self, gpa: u64) {
        self.core.machine.with_page(gpa, |page| page.bytes.fill(0));
        self.core.machine.put_u64(gpa + 0xC8, 2 << 16);
        self.core.machine.put_u64(gpa + 0xD0, 0x1000);
        self.core.machine.put_u64(gpa + 0x3B0, 1);
    }
}

const FREE: u64 = 0x20_0000;
const BIG: u64 = 0x40_0000;

#[test]
fn a_validated_page_is_cleared_and_given_to_the_guest_alone() {
    let setup = Setup::new();
    setup.run(|guest| {
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]), (SUCCESS, 1));
        let page = setup.machine.page(FREE);
        assert!(page.validated && !page.vmsa && page.bytes.iter().all(|&b| b == 0));
        assert_eq!(
            page.permissions[1..],
            [
                RmpPermissions::empty(),
                RmpPermissions::RWX,
                RmpPermissions::empty()
            ]
        );
        assert_eq!(guest.state(FREE), PageState::Validated);
        assert!(!setup.machine.page(FREE + PAGE_SIZE).validated);
    });
}

#[test]
fn a_rescinded_page_is_nobodys_and_can_be_validated_again() {
    let setup = Setup::new();
    setup.run(|guest| {
        assert_eq!(
            guest.pvalidate(&[FREE | VALIDATE, FREE, FREE | VALIDATE, FREE]),
            (SUCCESS, 4)
        );
        let page = setup.machine.page(FREE);
        assert!(!page.validated);
        assert_eq!(page.permissions[1..], [RmpPermissions::empty(); 3]);
        assert_eq!(guest.state(FREE), PageState::Unvalidated);
    });
}

#[test]
fn a_rescinded_page_loses_the_permissions_that_the_guest_passed_on() {
    let setup = Setup::new();
    setup.run(|guest| {
        guest.pvalidate(&[FREE | VALIDATE]);
        setup
            .machine
            .with_page(FREE, |page| page.permissions[3] = RmpPermissions::RWX);
        assert_eq!(guest.pvalidate(&[FREE]).0, SUCCESS);
        assert_eq!(
            setup.machine.page(FREE).permissions[3],
            RmpPermissions::empty()
        );
    });
}

#[test]
fn double_validation_is_refused_from_the_map_whatever_the_host_put_there() {
    let setup = Setup::new();
    setup.run(|guest| {
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]).0, SUCCESS);
        // Another page under the same address: the RMP says "not validated".
        setup.machine.with_page(FREE, |page| page.validated = false);
        let before = setup.machine.operations.get();
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]), (NO_CHANGE, 0));
        assert_eq!(
            guest.pvalidate(&[FREE | VALIDATE | IGNORE_CF]),
            (SUCCESS, 1)
        );
        assert_eq!(setup.machine.operations.get(), before);
        assert!(!setup.machine.page(FREE).validated);
    });
}

#[test]
fn rescinding_what_is_not_validated_changes_nothing() {
    let setup = Setup::new();
    setup.run(|guest| {
        assert_eq!(guest.pvalidate(&[FREE]), (NO_CHANGE, 0));
        assert_eq!(guest.pvalidate(&[FREE | IGNORE_CF]), (SUCCESS, 1));
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]), (SUCCESS, 1));
    });
}

#[test]
fn an_address_whose_page_the_host_swapped_is_never_validated_again() {
    let setup = Setup::new();
    setup.run(|guest| {
        guest.pvalidate(&[FREE | VALIDATE]);
        setup
            .machine
            .steal_after
            .set(setup.machine.operations.get() + 3);
        assert_eq!(guest.pvalidate(&[FREE]).0, INVALID_ADDRESS);
        setup.machine.steal_after.set(u64::MAX);
        assert_eq!(guest.state(FREE), PageState::Lost);
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]).0, INVALID_ADDRESS);
        assert_eq!(guest.pvalidate(&[FREE]).0, INVALID_ADDRESS);
    });
}

#[test]
fn a_page_taken_away_between_validation_and_clearing_is_lost() {
    let setup = Setup::new();
    setup.run(|guest| {
        // The first operation validates; before the second (RMPADJUST) the host takes the page.
        setup
            .machine
            .steal_after
            .set(setup.machine.operations.get() + 1);
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]).0, INVALID_ADDRESS);
        assert_eq!(guest.state(FREE), PageState::Lost);
    });
}

#[test]
fn a_page_that_is_the_hosts_cannot_be_validated_and_nothing_is_remembered() {
    let setup = Setup::new();
    setup.run(|guest| {
        setup.machine.with_page(FREE, |page| page.assigned = false);
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]), (INVALID_ADDRESS, 0));
        setup.machine.with_page(FREE, |page| page.assigned = true);
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]), (SUCCESS, 1));
    });
}

#[test]
fn large_pages_are_validated_cleared_and_rescinded_as_one() {
    let setup = Setup::new();
    setup.run(|guest| {
        let before = setup.machine.operations.get();
        assert_eq!(guest.pvalidate(&[BIG | LARGE | VALIDATE]), (SUCCESS, 1));
        assert_eq!(setup.machine.operations.get() - before, 2);
        for page in [BIG, BIG + 0x1F_F000] {
            let page = setup.machine.page(page);
            assert!(page.validated && page.large && page.bytes.iter().all(|&b| b == 0));
            assert_eq!(page.permissions[2], RmpPermissions::RWX);
        }
        assert!(!setup.machine.page(BIG + 0x20_0000).validated);
        assert_eq!(guest.pvalidate(&[BIG | LARGE | VALIDATE]), (NO_CHANGE, 0));
        assert_eq!(guest.pvalidate(&[BIG | LARGE]), (SUCCESS, 1));
        assert!(!setup.machine.page(BIG + 0x1F_F000).validated);
    });
}

#[test]
fn a_large_page_that_the_rmp_has_in_small_ones_is_a_size_mismatch() {
    let setup = Setup::new();
    setup.run(|guest| {
        assert_eq!(
            guest.pvalidate(&[FREE | LARGE | VALIDATE]),
            (SIZE_MISMATCH, 0)
        );
        assert_eq!(guest.state(FREE), PageState::Unvalidated);
        let small: Vec<u64> = (0..511)
            .map(|i| (FREE + i * PAGE_SIZE) | VALIDATE)
            .collect();
        assert_eq!(guest.pvalidate(&small), (SUCCESS, 511));
        assert_eq!(
            guest.pvalidate(&[FREE | LARGE | VALIDATE]),
            (SIZE_MISMATCH, 0)
        );
        assert_eq!(guest.pvalidate(&[FREE | LARGE]), (SIZE_MISMATCH, 0));
        assert_eq!(
            guest.pvalidate(&[(FREE + 511 * PAGE_SIZE) | VALIDATE]),
            (SUCCESS, 1)
        );
        assert_eq!(guest.pvalidate(&[FREE | LARGE]), (SIZE_MISMATCH, 0));
        // The guest still has all of it.
        assert_eq!(
            setup.machine.page(FREE + 0x1000).permissions[2],
            RmpPermissions::RWX
        );
        assert_eq!(guest.state(FREE + 0x1000), PageState::Validated);
    });
}

#[test]
fn a_large_page_that_the_host_splits_meanwhile_is_finished_by_small_ones() {
    for after in 1..=3 {
        let setup = Setup::new();
        setup.run(|guest| {
            if after == 1 {
                setup
                    .machine
                    .split_after
                    .set(setup.machine.operations.get() + 1);
                assert_eq!(guest.pvalidate(&[BIG | LARGE | VALIDATE]), (SUCCESS, 1));
                assert_eq!(
                    setup.machine.page(BIG + 0x1F_F000).permissions[2],
                    RmpPermissions::RWX
                );
            } else {
                guest.pvalidate(&[BIG | LARGE | VALIDATE]);
                setup
                    .machine
                    .split_after
                    .set(setup.machine.operations.get() + after);
                assert_eq!(guest.pvalidate(&[BIG | LARGE]), (SUCCESS, 1));
                let last = setup.machine.page(BIG + 0x1F_F000);
                assert!(!last.validated);
                assert_eq!(last.permissions[1..], [RmpPermissions::empty(); 3]);
                assert_eq!(guest.state(BIG), PageState::Unvalidated);
            }
        });
    }
}

#[test]
fn the_legacy_area_keeps_its_contents() {
    let setup = Setup::new();
    setup.run(|guest| {
        for gpa in [0x9_F000, 0xA_0000, 0xF_F000] {
            assert_eq!(guest.pvalidate(&[gpa | VALIDATE]).0, SUCCESS);
        }
        assert_eq!(setup.machine.page(0x9_F000).bytes[0], 0);
        assert_eq!(setup.machine.page(0xA_0000).bytes[0], 0xA5);
        assert_eq!(setup.machine.page(0xF_F000).bytes[0], 0xA5);
    });
}

#[test]
fn lists_in_impossible_places_are_refused() {
    let setup = Setup::new();
    setup.run(|guest| {
        for gpa in [
            LIST + 4, // not 8-byte aligned
            LIST + 1,
            FREE,           // not validated
            0xF0_0000,      // not RAM
            0x80_0000_0000, // the SVSM's
            0xFEE0_0000,
            u64::MAX,
            u64::MAX - 7,
        ] {
            assert_eq!(guest.call(1, gpa, 0, 0).rax, INVALID_ADDRESS, "{gpa:#x}");
        }
    });
}

#[test]
fn a_list_has_at_least_one_entry_and_stays_in_its_page() {
    let setup = Setup::new();
    setup.run(|guest| {
        for (count, next) in [
            (0, 0),
            (0, 1),
            (1, 1),
            (1, 2),
            (512, 0),
            (512, 511),
            (65535, 0),
            (65535, 65534),
        ] {
            assert_eq!(
                guest.pvalidate_from(count, next, &[FREE | VALIDATE]),
                (INVALID_PARAMETER, next)
            );
        }
        // 511 entries fit at offset 0, 510 behind the calling area's header, none at the page's end.
        let at = |gpa: u64, count: u64| {
            setup.machine.with_page(gpa, |page| page.bytes.fill(0xFF));
            setup.machine.put_u64(gpa, count);
            guest.call(1, gpa, 0, 0).rax
        };
        assert_eq!(at(LIST + 8, 511), INVALID_PARAMETER);
        assert_eq!(at(LIST + 0xFF8, 1), INVALID_PARAMETER);
        // In bounds: the entry of all ones is what is refused.
        assert_eq!(at(LIST, 511), INVALID_PARAMETER);
        setup.machine.put_u64(LIST + 0xFF0, 1);
        setup.machine.put_u64(LIST + 0xFF8, FREE | VALIDATE);
        assert_eq!(guest.call(1, LIST + 0xFF0, 0, 0).rax, SUCCESS);
    });
}

#[test]
fn reserved_bits_sizes_and_foreign_pages_are_refused_and_progress_is_told() {
    let setup = Setup::new();
    setup.run(|guest| {
        let good = FREE | VALIDATE;
        for (bad, code) in [
            ((FREE + 0x1000) | VALIDATE | 1 << 4, INVALID_PARAMETER),
            ((FREE + 0x1000) | VALIDATE | 1 << 11, INVALID_PARAMETER),
            ((FREE + 0x1000) | VALIDATE | 2, INVALID_PARAMETER),
            ((FREE + 0x1000) | VALIDATE | 3, INVALID_PARAMETER),
            ((FREE + 0x1000) | VALIDATE | LARGE, INVALID_ADDRESS),
            (0xF0_0000 | VALIDATE, INVALID_ADDRESS),
            (0xE0_0000 | LARGE | VALIDATE, INVALID_ADDRESS),
            (0x80_0000_0000 | VALIDATE, INVALID_ADDRESS),
            (0x80_0000_0000, INVALID_ADDRESS),
            (
                0x80_0000_0000 | LARGE | VALIDATE | IGNORE_CF,
                INVALID_ADDRESS,
            ),
            (CA, INVALID_ADDRESS),
            (0xFFFF_FFFF_FFFF_F000 | VALIDATE, INVALID_ADDRESS),
            (0xFFFF_FFFF_FFE0_0000 | VALIDATE | LARGE, INVALID_ADDRESS),
        ] {
            assert_eq!(guest.pvalidate(&[good, bad, good]), (code, 1), "{bad:#x}");
            assert_eq!(guest.pvalidate(&[FREE]).0, SUCCESS);
        }
    });
}

#[test]
fn a_call_goes_on_where_next_says() {
    let setup = Setup::new();
    setup.run(|guest| {
        let entries = [
            FREE | VALIDATE,
            0xF0_0000 | VALIDATE,
            (FREE + 0x1000) | VALIDATE,
        ];
        assert_eq!(guest.pvalidate(&entries), (INVALID_ADDRESS, 1));
        assert_eq!(guest.pvalidate_from(3, 2, &entries), (SUCCESS, 3));
        assert_eq!(guest.state(FREE + 0x1000), PageState::Validated);
    });
}

#[test]
fn long_work_is_cut_and_always_gets_further() {
    let setup = Setup::new();
    // All of RAM as large entries, twenty times over by rescinding in between.
    setup.run(|guest| {
        let list: Vec<u64> = (0..20)
            .map(|i| BIG | LARGE | if i % 2 == 0 { VALIDATE } else { 0 })
            .collect();
        let (mut code, mut next) = guest.pvalidate(&list);
        let mut calls = 1;
        while code == INCOMPLETE {
            assert!(next > 0 && next < 20);
            let before = next;
            (code, next) = guest.pvalidate_from(20, next, &list);
            assert!(next > before);
            calls += 1;
        }
        assert_eq!((code, next), (SUCCESS, 20));
        assert_eq!(calls, 3);
    });
}

#[test]
fn a_list_that_rescinds_its_own_page_fails_without_harm() {
    let setup = Setup::new();
    setup.run(|guest| {
        setup.machine.put_u64(LIST, 2);
        setup.machine.put_u64(LIST + 8, LIST);
        setup.machine.put_u64(LIST + 16, FREE | VALIDATE);
        assert_eq!(guest.call(1, LIST, 0, 0).rax, INVALID_ADDRESS);
        assert_eq!(guest.state(LIST), PageState::Unvalidated);
        assert_eq!(guest.state(FREE), PageState::Validated);
    });
}

#[test]
fn the_calling_area_moves_and_the_old_page_is_memory_again() {
    let setup = Setup::new();
    setup.run(|guest| {
        let new = LIST + 0x2000;
        assert_eq!(guest.call(0, new, 0, 0).rax, SUCCESS);
        assert_eq!(guest.caller.calling_area(), Some(new));
        assert_eq!(guest.caller.vmsa(), Some(BOOT_VMSA));
        assert_eq!(guest.state(new), PageState::CallingArea);
        assert_eq!(guest.state(CA), PageState::Validated);
        let page = setup.machine.page(new);
        assert_eq!(page.bytes[..8], [0; 8]);
        assert_eq!(page.bytes[8], 0xA5);
        assert_eq!(guest.call(0, new, 0, 0).rax, SUCCESS);
        for bad in [new + 8, FREE, 0xF0_0000, 0x80_0000_0000, u64::MAX, 0] {
            assert_eq!(guest.call(0, bad, 0, 0).rax, INVALID_ADDRESS, "{bad:#x}");
        }
        assert_eq!(guest.caller.calling_area(), Some(new));
    });
}

#[test]
fn a_vcpu_is_created_used_and_deleted() {
    let setup = Setup::new();
    setup.run(|guest| {
        let (vmsa, ca) = (LIST + 0x3000, LIST + 0x4000);
        guest.put_vmsa(vmsa);
        // Bits 63:32 of R8 are not part of the APIC ID.
        assert_eq!(guest.call(2, vmsa, ca, 5 | 0xFFFF_FFFF << 32).rax, SUCCESS);
        let page = setup.machine.page(vmsa);
        assert!(page.vmsa);
        assert_eq!(
            page.permissions[1..],
            [
                RmpPermissions::empty(),
                RmpPermissions::READ,
                RmpPermissions::empty()
            ]
        );
        assert_eq!(setup.machine.flushes.get(), 1);
        assert_eq!(guest.state(vmsa), PageState::Vmsa);
        assert_eq!(guest.state(ca), PageState::CallingArea);
        assert_eq!(setup.vcpus[1].vmsa(), Some(vmsa));
        assert_eq!(setup.vcpus[1].calling_area(), Some(ca));

        // Neither can be rescinded, remapped, used again or hold arguments (the VMSA).
        assert_eq!(guest.pvalidate(&[vmsa]).0, INVALID_ADDRESS);
        assert_eq!(guest.pvalidate(&[vmsa | VALIDATE]).0, INVALID_ADDRESS);
        assert_eq!(guest.pvalidate(&[ca]).0, INVALID_ADDRESS);
        assert_eq!(guest.call(0, vmsa, 0, 0).rax, INVALID_ADDRESS);
        assert_eq!(guest.call(0, ca, 0, 0).rax, INVALID_ADDRESS);
        assert_eq!(guest.call(1, vmsa, 0, 0).rax, INVALID_ADDRESS);
        assert_eq!(guest.call(2, vmsa, LIST + 0x5000, 5).rax, INVALID_ADDRESS);

        assert_eq!(guest.call(3, vmsa, 0, 0).rax, SUCCESS);
        let page = setup.machine.page(vmsa);
        assert!(!page.vmsa);
        assert_eq!(page.permissions[2], RmpPermissions::RWX);
        assert_eq!(
            u64::from_le_bytes(page.bytes[0xD0..0xD8].try_into().unwrap()),
            0x1000
        );
        assert_eq!(guest.state(vmsa), PageState::Validated);
        assert_eq!(guest.state(ca), PageState::Validated);
        assert_eq!(setup.vcpus[1].vmsa(), None);
        assert_eq!(guest.call(3, vmsa, 0, 0).rax, INVALID_PARAMETER);
    });
}

#[test]
fn a_vmsa_must_be_the_guests_own_kind() {
    let setup = Setup::new();
    setup.run(|guest| {
        let (vmsa, ca) = (LIST + 0x3000, LIST + 0x4000);
        for (offset, value) in [
            (0xC8, 0), // VMPL0
            (0xC8, 1 << 16),
            (0xC8, 3 << 16),
            (0xD0, 0xD00),       // no SVME
            (0x3B0, 0),          // no SNP
            (0x3B0, 1 | 1 << 3), // restricted injection
            (0x3B0, 1 | 1 << 1), // vTOM
            (0x3B0, 1 | 1 << 63),
        ] {
            guest.put_vmsa(vmsa);
            setup.machine.put_u64(vmsa + offset, value);
            assert_eq!(
                guest.call(2, vmsa, ca, 5).rax,
                INVALID_PARAMETER,
                "{offset:#x} {value:#x}"
            );
            let page = setup.machine.page(vmsa);
            assert!(!page.vmsa);
            assert_eq!(page.permissions[2], RmpPermissions::RWX);
            assert_eq!(guest.state(vmsa), PageState::Validated);
            assert_eq!(guest.state(ca), PageState::Validated);
            assert_eq!(setup.vcpus[1].vmsa(), None);
        }
    });
}

#[test]
fn vcpus_are_not_created_from_bad_addresses_or_for_unknown_processors() {
    let setup = Setup::new();
    setup.run(|guest| {
        let (vmsa, ca) = (LIST + 0x3000, LIST + 0x4000);
        guest.put_vmsa(vmsa);
        for (vmsa, ca, apic, code) in [
            (vmsa + 8, ca, 5, INVALID_ADDRESS),
            (vmsa, ca + 8, 5, INVALID_ADDRESS),
            (vmsa, vmsa, 5, INVALID_ADDRESS),
            (FREE, ca, 5, INVALID_ADDRESS),
            (vmsa, FREE, 5, INVALID_ADDRESS),
            (0xF0_0000, ca, 5, INVALID_ADDRESS),
            (0x80_0000_1000, ca, 5, INVALID_ADDRESS),
            (vmsa, 0x80_0000_1000, 5, INVALID_ADDRESS),
            (CA, ca, 5, INVALID_ADDRESS),
            (vmsa, CA, 5, INVALID_ADDRESS),
            (vmsa, ca, 9, INVALID_PARAMETER), // not online
            (vmsa, ca, 77, INVALID_PARAMETER),
            (vmsa, ca, u64::from(u32::MAX), INVALID_PARAMETER),
        ] {
            assert_eq!(
                guest.call(2, vmsa, ca, apic).rax,
                code,
                "{vmsa:#x} {ca:#x} {apic}"
            );
        }
        assert_eq!(guest.state(vmsa), PageState::Validated);
        assert_eq!(guest.state(ca), PageState::Validated);
    });
}

#[test]
fn a_vcpu_started_anew_keeps_its_calling_area_until_the_current_vmsa_goes() {
    let setup = Setup::new();
    setup.run(|guest| {
        let (old, new, ca) = (LIST + 0x3000, LIST + 0x5000, LIST + 0x4000);
        guest.put_vmsa(old);
        guest.put_vmsa(new);
        assert_eq!(guest.call(2, old, ca, 5).rax, SUCCESS);
        assert_eq!(guest.call(2, new, ca, 5).rax, SUCCESS);
        assert_eq!(setup.vcpus[1].vmsa(), Some(new));
        assert_eq!(guest.state(old), PageState::Vmsa);
        assert_eq!(guest.call(3, old, 0, 0).rax, SUCCESS);
        assert_eq!(guest.state(ca), PageState::CallingArea);
        assert_eq!(setup.vcpus[1].vmsa(), Some(new));
        assert_eq!(guest.call(3, new, 0, 0).rax, SUCCESS);
        assert_eq!(guest.state(ca), PageState::Validated);
    });
}

#[test]
fn vmsas_in_use_are_not_deleted() {
    let setup = Setup::new();
    setup.run(|guest| {
        let (vmsa, ca) = (LIST + 0x3000, LIST + 0x4000);
        guest.put_vmsa(vmsa);
        assert_eq!(guest.call(2, vmsa, ca, 5).rax, SUCCESS);
        // By its own vCPU, by the boot VMSA, and while it runs.
        assert_eq!(guest.call_from(&setup.vcpus[1], 3, vmsa, 0, 0).rax, IN_USE);
        assert_eq!(guest.call(3, BOOT_VMSA, 0, 0).rax, INVALID_PARAMETER);
        setup.machine.with_page(vmsa, |page| page.running = true);
        assert_eq!(guest.call(3, vmsa, 0, 0).rax, IN_USE);
        assert_eq!(guest.state(vmsa), PageState::Vmsa);
        setup.machine.with_page(vmsa, |page| page.running = false);
        assert_eq!(guest.call(3, vmsa, 0, 0).rax, SUCCESS);
        for gpa in [vmsa, ca, CA, vmsa + 1, 0, u64::MAX, 0xF0_0000] {
            assert_eq!(guest.call(3, gpa, 0, 0).rax, INVALID_PARAMETER, "{gpa:#x}");
        }
    });
}

#[test]
fn calls_that_this_svsm_does_not_need() {
    let setup = Setup::new();
    setup.run(|guest| {
        assert_eq!(guest.call(4, LIST, 0, 0).rax, UNSUPPORTED_CALL);
        assert_eq!(guest.call(5, LIST, 0, 0).rax, UNSUPPORTED_CALL);
        let query = guest.call(7, 1, 0, 0);
        assert_eq!((query.rax, query.rcx), (SUCCESS, 0));
        assert_eq!(guest.call(7, 0, 0, 0).rax, INVALID_REQUEST);
        assert_eq!(guest.call(7, 1 << 40, 0, 0).rax, INVALID_REQUEST);
        for call in [8, 9, 0xFFFF_FFFF] {
            assert_eq!(guest.call(call, 0, 0, 0).rax, UNSUPPORTED_CALL);
        }
        let query = guest.call(6, 1, 2, 3);
        assert_eq!(
            query,
            Registers {
                rax: SUCCESS,
                rcx: 1 << 32 | 1,
                rdx: 2,
                r8: 3
            }
        );
        assert_eq!(guest.call(6, 2 << 32 | 1, 0, 0).rcx, 0);
        assert_eq!(guest.call(6, 31 << 32 | 1, 0, 0).rcx, 1 << 32 | 1);
    });
}

#[test]
fn a_page_in_another_vcpus_hands_is_answered_with_busy() {
    let setup = Setup::new();
    setup.run(|guest| {
        let pages = guest.core.pages;
        let held = pages
            .claim(FREE, PageSize::Size4K, PageState::Unvalidated)
            .unwrap();
        assert_eq!(
            guest.pvalidate(&[(FREE + 0x1000) | VALIDATE, FREE | VALIDATE]),
            (BUSY, 1)
        );
        drop(held);
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]), (SUCCESS, 1));
    });
    setup.run(|guest| {
        let _writer = setup.lock.write().unwrap();
        assert_eq!(guest.pvalidate(&[FREE | VALIDATE]).0, BUSY);
        assert_eq!(guest.call(0, LIST, 0, 0).rax, BUSY);
        assert_eq!(guest.call(3, LIST, 0, 0).rax, BUSY);
    });
}

/// Random calls: the machine's RMP and the page map agree afterwards, and what is not the guest's was not touched.
#[test]
fn random_calls_keep_map_and_rmp_in_agreement() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let page = prop_oneof![
        (0x100u64..0x112).prop_map(|n| n * PAGE_SIZE),
        (0x1F0u64..0x204).prop_map(|n| n * PAGE_SIZE),
        (2u64..4).prop_map(|n| n * 0x20_0000),
        any::<u64>(),
    ];
    let operation = (0u64..9, page.clone(), page, 0u64..16, 0u64..8);
    let mut runner = TestRunner::new(Config {
        cases: 60,
        ..Config::default()
    });
    runner
        .run(&proptest::collection::vec(operation, 1..40), |operations| {
            let setup = Setup::new();
            setup.run(|guest| {
                for (call, rcx, rdx, flags, apic) in operations {
                    if call == 1 && guest.core.pages.is_guest_readable(LIST, 16) {
                        guest.pvalidate(&[(rcx & !0xFFF) | flags]);
                    } else {
                        if guest.core.pages.is_guest_readable(rcx & !0xFFF, 4096) && apic & 1 == 1 {
                            guest.put_vmsa(rcx & !0xFFF);
                        }
                        guest.call(call, rcx, rdx, apic);
                    }
                }
                for number in 0..0xF00u64 {
                    let gpa = number * PAGE_SIZE;
                    let page = setup.machine.page(gpa);
                    let guests = page.permissions[Vmpl::Vmpl2.index()];
                    match guest.state(gpa) {
                        PageState::Unvalidated => assert!(!page.validated && guests.is_empty()),
                        PageState::Validated | PageState::CallingArea => {
                            assert!(page.validated && !page.vmsa && guests == RmpPermissions::RWX);
                        }
                        PageState::Vmsa => {
                            assert!(page.validated && page.vmsa && guests == RmpPermissions::READ);
                        }
                        other => panic!("{gpa:#x} is {other:?}"),
                    }
                }
            });
            Ok(())
        })
        .unwrap();
}
