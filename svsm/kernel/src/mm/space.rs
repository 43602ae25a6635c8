//! A service's memory: frames of its own, mapped for ring 3 in an address space of its own, and copied from and to by the
//! kernel through its own mapping, never through the service's.
//!
//! All frames are taken at boot, the heap's too; a heap that grows only has more of its frames mapped. So nothing that a
//! service does can fail for want of memory, nor take any from others.

use super::frames::{Frame, MEMORY, Memory, OutOfMemory};
use super::page_table::{Access, PageTables};
use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::arch::traps::TrapFrame;
use core::marker::PhantomData;
use service_abi::layout::{HEAP_BASE, MESSAGE, STACK_TOP};
use service_abi::limit::STACK_PAGES;
use snp_abi::PAGE_SIZE;
use svsm_core::service::elf::{Access as ServiceAccess, Image, MAX_SEGMENTS};

/// Pages that follow each other, both where the service has them and where the kernel does.
#[derive(Clone, Copy)]
struct Region {
    va: u64,
    pages: u64,
    first: Frame,
}

/// Image segments, stack, message page. The heap, which grows, is not among them.
const MAX_REGIONS: usize = MAX_SEGMENTS + 2;

/// The memory of one service.
pub struct ServiceSpace {
    tables: PageTables,
    regions: [Option<Region>; MAX_REGIONS],
    message: Frame,
    heap: Frame,
    heap_pages: u64,
    heap_mapped: u64,
    /// Pages that can be mapped at most, and page tables.
    pages: u64,
}

impl ServiceSpace {
    /// Memory for a service with this image and at most so many pages of heap; the image is copied in.
    pub fn new(image: &Image<'_>, heap_pages: u64) -> Result<ServiceSpace, OutOfMemory> {
        let mut memory = MEMORY.lock();
        let free = memory.frames.free_frames();
        let root = memory.allocate(1)?;
        let tables = memory.tables.for_service(root);
        let message = memory.allocate(1)?;
        let heap = memory.allocate(heap_pages.max(1) as usize)?;
        let mut space = ServiceSpace {
            tables,
            regions: [None; MAX_REGIONS],
            message,
            heap,
            heap_pages,
            heap_mapped: 0,
            pages: 0,
        };
        for segment in image.segments() {
            let first = memory.allocate(segment.pages as usize)?;
            // SAFETY: the frames were just allocated, and the segment is not larger than its pages.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    segment.file.as_ptr(),
                    first.va() as *mut u8,
                    segment.file.len().min((segment.pages * PAGE_SIZE) as usize),
                );
            }
            space.add(
                &mut memory,
                segment.va,
                segment.pages,
                first,
                segment.access,
            )?;
        }
        let stack = memory.allocate(STACK_PAGES as usize)?;
        let bottom = STACK_TOP - STACK_PAGES * PAGE_SIZE;
        space.add(
            &mut memory,
            bottom,
            STACK_PAGES,
            stack,
            ServiceAccess::ReadWrite,
        )?;
        space.add(&mut memory, MESSAGE, 1, message, ServiceAccess::ReadWrite)?;
        for page in 0..heap_pages {
            space.map(
                &mut memory,
                HEAP_BASE + page * PAGE_SIZE,
                heap,
                Access::Reserved,
            )?;
        }
        space.pages = (free - memory.frames.free_frames()) as u64;
        Ok(space)
    }

    fn map(
        &mut self,
        memory: &mut Memory,
        va: u64,
        frame: Frame,
        access: Access,
    ) -> Result<(), OutOfMemory> {
        self.tables.map(va, frame.gpa(), PAGE_SIZE, access, || {
            memory.allocate(1).ok()
        })
    }

    /// Maps pages and remembers them.
    fn add(
        &mut self,
        memory: &mut Memory,
        va: u64,
        pages: u64,
        first: Frame,
        access: ServiceAccess,
    ) -> Result<(), OutOfMemory> {
        for page in 0..pages {
            let frame = Frame(first.0 + page as usize);
            self.map(
                memory,
                va + page * PAGE_SIZE,
                frame,
                Access::Service(access),
            )?;
        }
        let slot = self.regions.iter_mut().find(|slot| slot.is_none());
        *slot.ok_or(OutOfMemory)? = Some(Region { va, pages, first });
        Ok(())
    }

    /// Pages of the SVSM's memory that it takes, page tables included.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// What CR3 holds while the service runs.
    #[cfg(feature = "tests")]
    pub fn cr3(&self) -> u64 {
        self.tables.cr3()
    }

    /// Pages of heap that are mapped.
    pub fn heap_mapped(&self) -> u64 {
        self.heap_mapped
    }

    /// Maps more of the heap: where, or `None` when there is not as much.
    pub fn grow_heap(&mut self, pages: u64) -> Option<u64> {
        let mapped = self.heap_mapped.checked_add(pages)?;
        if pages == 0 || mapped > self.heap_pages {
            return None;
        }
        let start = HEAP_BASE + self.heap_mapped * PAGE_SIZE;
        for page in self.heap_mapped..mapped {
            let frame = Frame(self.heap.0 + page as usize);
            let access = Access::Service(ServiceAccess::ReadWrite);
            // The tables are there since boot, so none is asked for.
            self.tables
                .map(
                    HEAP_BASE + page * PAGE_SIZE,
                    frame.gpa(),
                    PAGE_SIZE,
                    access,
                    || None,
                )
                .ok()?;
        }
        self.heap_mapped = mapped;
        Some(start)
    }

    /// All that is the service's, with so many pages of its heap.
    fn all_regions(&self, heap_pages: u64) -> impl Iterator<Item = Region> {
        let heap = Region {
            va: HEAP_BASE,
            pages: heap_pages,
            first: self.heap,
        };
        self.regions.iter().copied().flatten().chain([heap])
    }

    /// Where the kernel has the `bytes` bytes that the service has at `va`, if they are its own, mapped, and in one region.
    fn find(&self, va: u64, bytes: u64) -> Option<*const u8> {
        self.all_regions(self.heap_mapped).find_map(|region| {
            let offset = va.checked_sub(region.va)?;
            let end = offset.checked_add(bytes)?;
            (end <= region.pages * PAGE_SIZE).then_some((region.first.va() + offset) as *const u8)
        })
    }

    /// Copies from the service's memory; `false` when it has no such memory.
    pub fn read(&self, va: u64, buffer: &mut [u8]) -> bool {
        let Some(from) = self.find(va, buffer.len() as u64) else {
            return false;
        };
        // SAFETY: the bytes are frames of the service's, mapped here; it does not run, as this borrows its space.
        unsafe { core::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        true
    }

    /// Copies from the message page.
    pub fn read_message(&self, buffer: &mut [u8]) {
        let count = buffer.len().min(PAGE_SIZE as usize);
        let from = self.message.va() as *const u8;
        // SAFETY: as for `read`; the page is this long.
        unsafe { core::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), count) };
    }

    /// Copies to the message page.
    pub fn write_message(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(PAGE_SIZE as usize);
        let to = self.message.va() as *mut u8;
        // SAFETY: as for `read`; nothing refers to the page.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count) };
    }

    /// Clears the first bytes of the message page.
    pub fn clear_message(&mut self, bytes: usize) {
        let count = bytes.min(PAGE_SIZE as usize);
        // SAFETY: as for `write_message`.
        unsafe { core::ptr::write_bytes(self.message.va() as *mut u8, 0, count) };
    }

    /// Clears everything that the service has written or may write: it has ended.
    pub fn wipe(&mut self) {
        for region in self.all_regions(self.heap_pages) {
            // SAFETY: the frames are the service's, which does not run any more.
            unsafe {
                core::ptr::write_bytes(
                    region.first.va() as *mut u8,
                    0,
                    (region.pages * PAGE_SIZE) as usize,
                );
            }
        }
    }
}

/// A CPU that has a service's address space loaded; the kernel's again when dropped.
pub struct Entered<'a> {
    space: &'a mut ServiceSpace,
    kernel: u64,
    /// It stays on the CPU whose tables it changes back.
    not_send: PhantomData<*const ()>,
}

impl<'a> Entered<'a> {
    /// Loads the address space.
    pub fn new(space: &'a mut ServiceSpace) -> Entered<'a> {
        let kernel = cpu::control_registers().cr3;
        // SAFETY: the kernel's half is the kernel's own tables.
        unsafe { cpu::set_cr3(space.tables.cr3()) };
        Entered {
            space,
            kernel,
            not_send: PhantomData,
        }
    }

    /// Goes on with the service until something interrupts it.
    pub fn run(&mut self, registers: &mut TrapFrame) {
        use crate::arch::descriptors::{SERVICE_CODE, SERVICE_DATA};
        /// Carry, parity, auxiliary, zero, sign, direction, overflow: what ring 3 computes with.
        const PLAIN_FLAGS: u64 = 0xCD5;
        registers.cs = SERVICE_CODE.into();
        registers.ss = SERVICE_DATA.into();
        registers.rflags = registers.rflags & PLAIN_FLAGS | 1 << 1 | this_cpu().service_flags.get();
        // SAFETY: the service's space is loaded, in which only its own frames are open to ring 3; selectors and flags were
        // just set.
        unsafe { cpu::run_service(registers, this_cpu().doorbell.get()) };
    }

    /// The space.
    pub fn space(&mut self) -> &mut ServiceSpace {
        self.space
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: these were loaded before.
        unsafe { cpu::set_cr3(self.kernel) };
    }
}
