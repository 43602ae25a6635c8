//! The page tables, walked as the processor does (APM vol. 2 §5.3), from CR3.

use super::{Stop, check, check_eq, only_native, skip, smp, subject};
use crate::arch::cpu;
use crate::kernel;
use crate::mm;
use crate::platform::{self, Kind};
use boot_abi::layout::{KERNEL_VIRTUAL_BASE, SERVICES_OFFSET, SVSM_SIZE};
use core::ops::{ControlFlow, Range};
use snp_abi::PAGE_SIZE;
use svsm_core::cpuid::{NX, X2APIC};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// Where guest RAM is mapped, and where devices are: as `mm` has it.
pub const GUEST_RAM: u64 = 0xFFFF_8000_0000_0000;
const STACKS: Range<u64> = 0xFFFF_FFFF_C000_0000..0xFFFF_FFFF_E000_0000;
const DEVICES: Range<u64> = 0xFFFF_FFFF_E000_0000..0xFFFF_FFFF_F000_0000;

/// A page as it is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Its first address.
    pub va: u64,
    /// Where it is, without the C-bit.
    pub gpa: u64,
    /// Its size.
    pub bytes: u64,
    /// All entries on the way to it, and-ed: rights that all must give.
    rights: u64,
    /// Any of them.
    any: u64,
    /// Its own entry.
    entry: u64,
}

impl Leaf {
    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        self.rights & WRITABLE != 0
    }

    /// Whether it can be executed. Without NX in the processor everything can.
    pub fn is_executable(&self) -> bool {
        self.any & NO_EXECUTE == 0
    }

    /// Whether ring 3 reaches it.
    pub fn is_user(&self) -> bool {
        self.rights & USER != 0
    }

    /// Whether it is mapped as private.
    pub fn is_private(&self) -> bool {
        self.entry & c_bit() != 0
    }
}

/// The C-bit as a mask, from CPUID (APM vol. 3, Fn8000_001F); 0 without.
pub fn c_bit() -> u64 {
    match platform::kind() {
        Kind::Snp => kernel::cpuid().map_or(0, |table| 1 << (table.get(0x8000_001F, 0).ebx & 0x3F)),
        Kind::Native => 0,
    }
}

/// The entry of a table in the SVSM's memory.
fn entry(table: u64, index: u64) -> u64 {
    let offset = (table & ADDRESS & !c_bit()).wrapping_sub(mm::base());
    mm::try_read_own(KERNEL_VIRTUAL_BASE.wrapping_add(offset) + index * 8).unwrap_or(0)
}

/// What the tables that are loaded say of `va`.
pub fn leaf(va: u64) -> Option<Leaf> {
    leaf_by(cpu::control_registers().cr3, va)
}

fn leaf_by(root: u64, va: u64) -> Option<Leaf> {
    let (mut table, mut rights, mut any) = (root, u64::MAX, 0);
    for level in (0..4).rev() {
        let value = entry(table, va >> (12 + 9 * level) & 0x1FF);
        if value & PRESENT == 0 {
            return None;
        }
        rights &= value;
        any |= value;
        if level == 0 || value & LARGE != 0 {
            let bytes = 1 << (12 + 9 * level);
            return Some(Leaf {
                va: va & !(bytes - 1),
                gpa: value & ADDRESS & !c_bit(),
                bytes,
                rights,
                any,
                entry: value,
            });
        }
        table = value;
    }
    None
}

/// What is found on a walk of everything.
enum Found {
    Table { va: u64, level: u32, entry: u64 },
    Page(Leaf),
}

/// Walks all that is mapped by the table `root`; ends where `visit` says so.
fn walk(root: u64, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> ControlFlow<()> {
    level(root, 3, 0, (u64::MAX, 0), visit)
}

fn level(
    table: u64,
    number: u32,
    base: u64,
    (rights, any): (u64, u64),
    visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for index in 0..512 {
        let value = entry(table, index);
        if value & PRESENT == 0 {
            continue;
        }
        let shift = 12 + 9 * number;
        let mut va = base | index << shift;
        if number == 3 && index >= 256 {
            va |= 0xFFFF << 48;
        }
        let (rights, any) = (rights & value, any | value);
        if number == 0 || value & LARGE != 0 {
            visit(Found::Page(Leaf {
                va,
                gpa: value & ADDRESS & !c_bit(),
                bytes: 1 << shift,
                rights,
                any,
                entry: value,
            }))?;
        } else {
            visit(Found::Table {
                va,
                level: number,
                entry: value,
            })?;
            level(value, number - 1, va, (rights, any), visit)?;
        }
    }
    ControlFlow::Continue(())
}

/// The first page of the kernel's tables that is bad.
fn find_page(mut bad: impl FnMut(&Leaf) -> bool) -> Option<Leaf> {
    let mut found = None;
    let _ = walk(cpu::control_registers().cr3, &mut |what| match what {
        Found::Page(page) if bad(&page) => {
            found = Some(page);
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found
}

/// How many pages are so.
fn count_pages(mut so: impl FnMut(&Leaf) -> bool) -> usize {
    let mut count = 0;
    find_page(|page| {
        count += usize::from(so(page));
        false
    });
    count
}

/// A service's root: a group's tests are skipped where there is no service.
fn service_root() -> Result<u64, Stop> {
    match subject()?.kernel.services.tables().next() {
        Some(root) => Ok(root),
        None => skip!("the image has no service"),
    }
}

/// Whether it is a shadow stack, or its frame is one: where a shadow stack is, nobody writes but calls.
fn is_of_a_shadow_stack(page: &Leaf) -> bool {
    let shadow = |page: &Leaf| STACKS.contains(&page.va) && !page.is_writable();
    !page.is_writable() && find_page(|other| shadow(other) && other.gpa == page.gpa).is_some()
}

fn own() -> Range<u64> {
    KERNEL_VIRTUAL_BASE..KERNEL_VIRTUAL_BASE + SVSM_SIZE
}

#[svsm_test_macro::svsm_tests(tables)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn nothing_is_writable_and_executable() {
        if !kernel::cpuid().is_some_and(|table| table.has(NX)) {
            skip!("the processor has no NX");
        }
        let bad = find_page(|page| page.is_writable() && page.is_executable());
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn just_the_text_is_executable() {
        if !kernel::cpuid().is_some_and(|table| table.has(NX)) {
            skip!("the processor has no NX");
        }
        let text = KERNEL_VIRTUAL_BASE..mm::image_parts()[0];
        let bad = find_page(|page| page.is_executable() != text.contains(&page.va));
        check!(bad.is_none(), "{bad:x?}");
        check!(text.end > text.start);
    }

    #[svsm_test]
    fn just_data_is_writable() {
        let constant = KERNEL_VIRTUAL_BASE..mm::image_parts()[1];
        let services = KERNEL_VIRTUAL_BASE + SERVICES_OFFSET..own().end;
        let bad = find_page(|page| {
            let read_only = constant.contains(&page.va) || services.contains(&page.va);
            page.is_writable() == read_only && !is_of_a_shadow_stack(page)
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn nothing_is_open_to_ring_3() {
        let bad = find_page(|page| page.any & USER != 0);
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn the_lower_half_is_empty() {
        let root = cpu::control_registers().cr3;
        for index in 0..256 {
            check_eq!(entry(root, index), 0, "entry {index}");
        }
    }

    #[svsm_test]
    fn the_boot_stages_mappings_are_gone() {
        for va in [0, 0x1_0000, 0x1F_F000, mm::base()] {
            check!(leaf(va).is_none(), "{va:#x} is mapped");
            check!(!mm::try_read(va, &mut [0; 8]), "{va:#x} can be read");
        }
    }

    #[svsm_test]
    fn the_walk_agrees_with_a_translation() {
        let bad = find_page(|page| {
            [page.va, page.va + page.bytes - 1].into_iter().any(|va| {
                leaf(va).is_none_or(|found| found.entry != page.entry || found.va != page.va)
            })
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn memory_of_the_svsm_is_where_it_was_linked() {
        let bad = find_page(|page| {
            own().contains(&page.va) && page.gpa != page.va - KERNEL_VIRTUAL_BASE + mm::base()
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn all_memory_of_the_svsm_is_mapped_but_one_guard_page() {
        let guard = mm::image_parts()[2];
        for va in own().step_by(PAGE_SIZE as usize) {
            check_eq!(leaf(va).is_some(), va != guard, "{va:#x} mapped");
        }
    }

    #[svsm_test]
    fn the_boot_stack_lies_above_its_guard_page() {
        let guard = mm::image_parts()[2];
        check!(leaf(guard + PAGE_SIZE).is_some_and(|page| page.is_writable()));
        check_eq!(mm::try_read_own(guard), None);
        check_eq!(mm::try_read_own(guard + PAGE_SIZE - 8), None);
        check!(mm::try_read_own(guard + PAGE_SIZE).is_some());
    }

    #[svsm_test]
    fn second_mappings_are_stacks_only() {
        let frames = mm::base()..mm::base() + SVSM_SIZE;
        let bad = find_page(|page| {
            let again = frames.contains(&page.gpa) && !own().contains(&page.va);
            again && (!STACKS.contains(&page.va) || page.is_executable() && c_bit() != 0)
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn no_frame_of_text_or_constants_is_mapped_twice() {
        let bytes = mm::image_parts()[1] - KERNEL_VIRTUAL_BASE;
        let constant = mm::base()..mm::base() + bytes;
        let count = count_pages(|page| constant.contains(&page.gpa));
        check_eq!(count as u64, bytes / PAGE_SIZE);
    }

    #[svsm_test]
    fn no_stack_is_mapped_twice() {
        let stack = |page: &Leaf| STACKS.contains(&page.va);
        let twice = find_page(|page| {
            stack(page) && count_pages(|other| stack(other) && other.gpa == page.gpa) != 1
        });
        check!(twice.is_none(), "{twice:x?}");
    }

    #[svsm_test]
    fn private_memory_has_the_c_bit_and_shared_pages_have_not() {
        super::super::only_snp()?;
        // A GHCB and a doorbell page of each CPU.
        let cpus = subject()?.kernel.vcpus.len();
        check_eq!(count_pages(|page| !page.is_private()), 2 * cpus);
        let bad = find_page(|page| {
            !page.is_private() && (!own().contains(&page.va) || page.is_executable())
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn tables_are_private() {
        super::super::only_snp()?;
        let root = cpu::control_registers().cr3;
        check!(root & c_bit() != 0, "CR3 {root:#x}");
        let mut bad = None;
        let _ = walk(root, &mut |what| {
            if let Found::Table { va, entry, .. } = what
                && entry & c_bit() == 0
            {
                bad = Some(va);
            }
            ControlFlow::Continue(())
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn there_is_no_c_bit_where_there_is_no_encryption() {
        only_native()?;
        // The SVSM's memory, RAM and devices all are below 4 GiB and 1 TiB here.
        let bad = find_page(|page| page.gpa >= 1 << 46);
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn reserved_bits_are_zero() {
        // Bits 52 to 58, and protection keys, which are off (APM vol. 2 §5.3.3).
        let bad = find_page(|page| page.any & 0x7FF << 52 != 0);
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn the_processor_never_writes_tables() {
        // Accessed is set in all, dirty in what can be written. Elsewhere it would stand for a shadow stack (SDM vol. 3 §4.6).
        let bad = find_page(|page| {
            let dirty = page.is_writable() || STACKS.contains(&page.va);
            page.entry & ACCESSED == 0 || (page.entry & DIRTY != 0) != dirty
        });
        check!(bad.is_none(), "{bad:x?}");
        let mut table = None;
        let _ = walk(cpu::control_registers().cr3, &mut |what| {
            if let Found::Table { va, level, entry } = what
                && entry & ACCESSED == 0
            {
                table = Some((va, level));
            }
            ControlFlow::Continue(())
        });
        check!(table.is_none(), "{table:x?}");
    }

    #[svsm_test]
    fn just_devices_are_not_cached() {
        let bad = find_page(|page| {
            let uncached = page.entry & (UNCACHED | WRITE_THROUGH) == UNCACHED | WRITE_THROUGH;
            uncached != DEVICES.contains(&page.va)
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn the_apics_registers_are_mapped_where_they_are_memory() {
        only_native()?;
        let x2apic = kernel::cpuid().is_some_and(|table| table.has(X2APIC));
        let pages = count_pages(|page| page.gpa == 0xFEE0_0000 && DEVICES.contains(&page.va));
        check_eq!(pages, usize::from(!x2apic));
    }

    #[svsm_test]
    fn guest_ram_is_mapped_where_it_is_expected() {
        let ram = subject()?.kernel.pages.ram();
        for range in ram.ranges() {
            for va in [GUEST_RAM + range.start, GUEST_RAM + range.end - 1] {
                let page = leaf(va);
                check!(
                    page.is_some_and(|page| page.gpa + (va - page.va) == va - GUEST_RAM),
                    "{va:#x}: {page:x?}"
                );
            }
        }
    }

    #[svsm_test]
    fn guest_mappings_are_all_the_ram_and_nothing_else() {
        let ram = subject()?.kernel.pages.ram();
        let guest = GUEST_RAM..GUEST_RAM + (1 << 46);
        let mut bytes = 0;
        let bad = find_page(|page| {
            let is_guest = guest.contains(&page.va);
            if is_guest {
                bytes += page.bytes;
            }
            is_guest && !ram.contains(page.gpa, page.bytes)
        });
        check!(bad.is_none(), "{bad:x?}");
        check_eq!(bytes, ram.bytes());
    }

    #[svsm_test]
    fn no_guest_mapping_reaches_the_svsm() {
        let end = mm::base() + SVSM_SIZE;
        let bad = find_page(|page| {
            let guest = page.va < KERNEL_VIRTUAL_BASE;
            guest && page.gpa < end && mm::base() < page.gpa + page.bytes
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn all_cpus_have_the_same_tables() {
        let roots = smp::on_all(|_| cpu::control_registers().cr3)?;
        for (index, root) in smp::each(&roots) {
            check_eq!(root, cpu::control_registers().cr3, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn a_service_has_a_root_of_its_own_and_the_kernels_half() {
        let root = service_root()?;
        let kernel = cpu::control_registers().cr3;
        check!(root != kernel);
        for index in 256..512 {
            check_eq!(entry(root, index), entry(kernel, index), "entry {index}");
        }
    }

    #[svsm_test]
    fn a_service_reaches_only_its_own_half() {
        let mut bad = None;
        let _ = walk(service_root()?, &mut |what| {
            if let Found::Page(page) = what
                && page.is_user() != (page.va < 1 << 47)
            {
                bad = Some(page);
            }
            ControlFlow::Continue(())
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    #[svsm_test]
    fn a_service_has_nothing_writable_and_executable() {
        if !kernel::cpuid().is_some_and(|table| table.has(NX)) {
            skip!("the processor has no NX");
        }
        let (mut bad, mut executable) = (None, 0);
        let _ = walk(service_root()?, &mut |what| {
            if let Found::Page(page) = what
                && page.is_user()
            {
                executable += usize::from(page.is_executable());
                if page.is_writable() && page.is_executable() {
                    bad = Some(page);
                }
            }
            ControlFlow::Continue(())
        });
        check!(bad.is_none(), "{bad:x?}");
        check!(executable > 0, "it has no code");
    }

    #[svsm_test]
    fn a_services_pages_are_frames_of_the_svsm_and_private() {
        let frames = mm::base()..mm::base() + SERVICES_OFFSET;
        let image = mm::base()..mm::image_end();
        let mut bad = None;
        let _ = walk(service_root()?, &mut |what| {
            if let Found::Page(page) = what
                && page.is_user()
                && (!frames.contains(&page.gpa)
                    || image.contains(&page.gpa) && !early(page.gpa)
                    || page.is_private() != (c_bit() != 0))
            {
                bad = Some(page);
            }
            ControlFlow::Continue(())
        });
        check!(bad.is_none(), "{bad:x?}");
    }

    /// The image ends with frames for what is needed early.
    fn early(gpa: u64) -> bool {
        gpa + 0x1_0000 >= mm::image_end() & !0xFFF
    }

    #[svsm_test]
    fn no_page_of_a_service_is_one_of_a_table_or_stack() {
        let root = service_root()?;
        let mut bad = None;
        let _ = walk(root, &mut |what| {
            if let Found::Page(page) = what
                && page.is_user()
            {
                let mut table = root & ADDRESS & !c_bit() == page.gpa;
                let _ = walk(root, &mut |what| {
                    match what {
                        Found::Table { entry, .. } => {
                            table |= entry & ADDRESS & !c_bit() == page.gpa
                        }
                        Found::Page(other) => {
                            table |= STACKS.contains(&other.va) && other.gpa == page.gpa
                        }
                    }
                    match what {
                        // Guest RAM is large; its tables are few.
                        Found::Page(other) if STACKS.end <= other.va => ControlFlow::Break(()),
                        _ => ControlFlow::Continue(()),
                    }
                });
                if table {
                    bad = Some(page);
                }
            }
            ControlFlow::Continue(())
        });
        check!(bad.is_none(), "{bad:x?}");
    }
}
