//! Page tables (APM vol. 2 §5.3): the kernel's, one set for all CPUs, and one for each service, with the same kernel half.

use super::frames::{Frame, OutOfMemory, base};
use boot_abi::layout::KERNEL_VIRTUAL_BASE;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use svsm_core::service::elf::Access as ServiceAccess;

/// Bytes of a page that one third-level entry maps.
pub const HUGE_PAGE_SIZE: u64 = 1 << 30;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
/// Open to ring 3.
const USER: u64 = 1 << 2;
/// Accessed and, where it can be written, dirty: set in advance so that the processor never writes tables. A page that is dirty
/// and cannot be written is a shadow stack (SDM vol. 3 §4.6).
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// Neither cached nor buffered (PAT entry 3, as reset leaves it).
const UNCACHED: u64 = 1 << 3 | 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// What a page may be used for. There is nothing that is both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadExecute,
    ReadOnly,
    ReadWrite,
    /// Read and written, and shared with the hypervisor: C = 0.
    Shared,
    /// A service's, for its ring 3.
    Service(ServiceAccess),
    /// Return addresses; written by calls and by nothing else.
    ShadowStack,
    /// A device's registers: not cached.
    Device,
    /// Not mapped yet, but its table is there.
    Reserved,
}

/// Addresses from here on are the kernel's, in every address space.
const KERNEL_HALF: u64 = 1 << 63;

/// The tables.
pub struct PageTables {
    /// GPA of the PML4.
    root: u64,
    /// The C-bit as a mask.
    c_bit: u64,
    /// The no-execute bit, where the processor has it.
    no_execute: u64,
}

impl PageTables {
    /// No tables yet.
    pub const fn none() -> PageTables {
        PageTables {
            root: 0,
            c_bit: 0,
            no_execute: 0,
        }
    }

    /// Empty tables with this root.
    pub fn new(root: Frame, c_bit: u64, no_execute: bool) -> PageTables {
        PageTables {
            root: root.gpa(),
            c_bit,
            no_execute: if no_execute { NO_EXECUTE } else { 0 },
        }
    }

    /// Tables with this root for a service: the kernel's half is the same as here, the other half is empty.
    pub fn for_service(&self, root: Frame) -> PageTables {
        let new = PageTables {
            root: root.gpa(),
            ..*self
        };
        for index in 256..512 {
            let va = KERNEL_HALF | index << 39;
            // SAFETY: both pointers are into roots of ours; nobody uses the new one yet.
            unsafe {
                let entry = entry_pointer(self.root, va, 3).read_volatile();
                entry_pointer(new.root, va, 3).write_volatile(entry);
            }
        }
        new
    }

    /// What CR3 is to hold.
    pub fn cr3(&self) -> u64 {
        self.root | self.c_bit
    }

    /// Maps the page of `size` bytes at `gpa` to `va`, or changes how it is mapped. Tables are taken from `new_table`,
    /// cleared.
    pub fn map(
        &mut self,
        va: u64,
        gpa: u64,
        size: u64,
        access: Access,
        mut new_table: impl FnMut() -> Option<Frame>,
    ) -> Result<(), OutOfMemory> {
        let leaf_level = match size {
            HUGE_PAGE_SIZE => 2,
            LARGE_PAGE_SIZE => 1,
            _ => 0,
        };
        let mut table = self.root;
        for level in (leaf_level + 1..=3).rev() {
            let entry = entry_pointer(table, va, level);
            // SAFETY: the pointer is into a table of ours. The kernel's change on the boot CPU only, a service's only by
            // whoever holds the service.
            let value = unsafe { entry.read_volatile() };
            table = if value & PRESENT != 0 {
                value & ADDRESS & !self.c_bit
            } else {
                let frame = new_table().ok_or(OutOfMemory)?;
                // SAFETY: as above.
                unsafe {
                    let user = if va < KERNEL_HALF { USER } else { 0 };
                    entry.write_volatile(
                        frame.gpa() | self.c_bit | PRESENT | WRITABLE | ACCESSED | user,
                    );
                }
                frame.gpa()
            };
        }
        let access = match access {
            Access::Reserved => return Ok(()),
            Access::ShadowStack => self.c_bit | self.no_execute | DIRTY,
            Access::Service(ServiceAccess::ReadExecute) => self.c_bit | USER,
            Access::Service(ServiceAccess::ReadOnly) => self.c_bit | USER | self.no_execute,
            Access::Service(ServiceAccess::ReadWrite) => {
                self.c_bit | USER | self.no_execute | WRITABLE
            }
            Access::ReadExecute => self.c_bit,
            Access::ReadOnly => self.c_bit | self.no_execute,
            Access::ReadWrite => self.c_bit | self.no_execute | WRITABLE,
            Access::Shared => self.no_execute | WRITABLE,
            Access::Device => self.no_execute | WRITABLE | UNCACHED,
        };
        let dirty = if access & WRITABLE == 0 { 0 } else { DIRTY };
        let large = if leaf_level == 0 { 0 } else { LARGE };
        // SAFETY: as above. What is mapped is decided in this module's siblings only: the SVSM's own memory as it is
        // used, guest RAM, which is never referenced, and frames that are a service's own.
        unsafe {
            entry_pointer(table, va, leaf_level)
                .write_volatile(gpa | access | dirty | large | PRESENT | ACCESSED);
        }
        crate::arch::cpu::invlpg(va);
        Ok(())
    }
}

/// The entry for `va` in the table at `table`, of this level (0 has the small pages).
fn entry_pointer(table: u64, va: u64, level: u32) -> *mut u64 {
    let index = va >> (12 + 9 * level) & 0x1FF;
    (KERNEL_VIRTUAL_BASE + (table - base()) + index * 8) as *mut u64
}

const _: () = assert!(PAGE_SIZE == 1 << 12 && LARGE_PAGE_SIZE == 1 << 21);
