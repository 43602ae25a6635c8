//! Per-CPU areas, reached through GS.
//!
//! What is in an area is private to its CPU by type: it is reached only through [`ThisCpu`], which cannot leave the CPU
//! it was made on (it is not `Send`), and holds cells, not references that outlive their use. What other CPUs may see
//! of a CPU is elsewhere: `svsm_core::vcpu::Vcpu`.

use super::cpu;
use super::descriptors::{EXCEPTION_STACKS, Gdt, Tss};
use crate::mm::{ShadowStacks, SharedPage};
use crate::platform::CpuPages;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ops::Deref;
use svsm_core::vmsa::ApStart;

/// The area of one CPU.
#[repr(C, align(64))]
pub struct CpuArea {
    /// Its own address: GS:0.
    this: UnsafeCell<*const CpuArea>,
    tss: UnsafeCell<Tss>,
    gdt: UnsafeCell<Gdt>,
    private: Private,
}

/// An exception stack starts this far below its top: there the entry code finds the area, in `traps.s`.
pub const STACK_START: u64 = 16;

/// Where GS has the TSS's stack for entries from ring 3.
pub const RSP0_OFFSET: usize = offset_of!(CpuArea, tss) + Tss::RSP0_OFFSET;

/// What only the CPU itself may see.
pub struct Private {
    /// Number of the CPU in the vCPU table.
    pub index: Cell<usize>,
    /// Its GHCB, once there is one.
    pub ghcb: Cell<Option<SharedPage>>,
    /// Where the hypervisor says why it raised #HV, once there is such a page.
    pub doorbell: Cell<Option<SharedPage>>,
    /// RFLAGS with which services run, besides their own: interrupts on, where a timer comes as an interrupt.
    pub service_flags: Cell<u64>,
    /// The vector of the interrupt that ended a wait.
    pub signal: Cell<u8>,
    /// Its shadow stacks, where there are such.
    pub shadow_stacks: Cell<Option<ShadowStacks>>,
    /// It is handling a #VC: another one in between is fatal.
    pub in_vc: Cell<bool>,
    /// It is reporting a fatal error: another one in between ends it at once.
    pub failing: Cell<bool>,
}

// SAFETY: `private` is reached only through `ThisCpu`, on the area's own CPU. `this`, `gdt` and `tss` are written only
// by `fill`, before the area's CPU runs or by that CPU itself.
unsafe impl Sync for CpuArea {}

impl CpuArea {
    /// The area of CPU `index`. It must be prepared where it stays.
    pub const fn new(index: usize) -> CpuArea {
        CpuArea {
            this: UnsafeCell::new(core::ptr::null()),
            tss: UnsafeCell::new(Tss::new()),
            gdt: UnsafeCell::new(Gdt::new()),
            private: Private {
                index: Cell::new(index),
                ghcb: Cell::new(None),
                doorbell: Cell::new(None),
                service_flags: Cell::new(0),
                signal: Cell::new(0),
                shadow_stacks: Cell::new(None),
                in_vc: Cell::new(false),
                failing: Cell::new(false),
            },
        }
    }

    /// Completes the area of a CPU that does not run yet, where it stays.
    pub fn prepare(
        &'static mut self,
        pages: CpuPages,
        shadow_stacks: Option<ShadowStacks>,
        ist: [u64; EXCEPTION_STACKS],
    ) -> &'static CpuArea {
        self.private.ghcb.set(pages.ghcb);
        self.private.doorbell.set(pages.doorbell);
        self.private.shadow_stacks.set(shadow_stacks);
        // SAFETY: the area is borrowed for good and exclusively; its CPU does not run.
        unsafe { self.fill(ist) };
        self
    }

    /// Fills in what refers to the area's own place.
    ///
    /// # Safety
    /// Nobody else may use the area meanwhile: its CPU does not run, or executes this.
    unsafe fn fill(&'static self, ist: [u64; EXCEPTION_STACKS]) {
        // SAFETY: the caller's promise; the processor reads TSS and GDT only at exceptions and segment loads. A stack
        // starts `STACK_START` below its top, and nothing else is there.
        unsafe {
            *self.this.get() = self;
            for stack in ist.into_iter().filter(|&stack| stack != 0) {
                // What the entry code finds there.
                (stack as *mut u64).write(self.gs_base());
            }
            (*self.tss.get()).set_ist(ist);
            (*self.gdt.get()).set_tss(self.tss.get() as u64);
        }
    }

    /// Where GS points on the area's CPU.
    pub fn gs_base(&'static self) -> u64 {
        self as *const CpuArea as u64
    }

    /// Base and limit of its GDT.
    pub fn gdt(&'static self) -> (u64, u32) {
        (self.gdt.get() as u64, Gdt::LIMIT)
    }

    /// Base and limit of its TSS.
    pub fn tss(&'static self) -> (u64, u32) {
        (self.tss.get() as u64, Tss::LIMIT)
    }
}

/// The area of the boot CPU.
static BOOT_CPU: CpuArea = CpuArea::new(0);

/// Makes this CPU the boot CPU: GS, GDT, TSS without stacks.
pub fn init_boot_cpu() {
    // SAFETY: this runs on the boot CPU, first of all. GS is set after the segments were loaded, as that clears it.
    unsafe {
        BOOT_CPU.fill([0; EXCEPTION_STACKS]);
        super::descriptors::load_gdt(BOOT_CPU.gdt());
        cpu::wrmsr(snp_abi::msr::GS_BASE, BOOT_CPU.gs_base());
    }
}

/// Makes this CPU, an AP that did not start from a VMSA, the one that `start` was prepared for.
pub fn adopt(start: &ApStart) {
    super::descriptors::load_gdt(start.gdt);
    // SAFETY: this is the area that was made for this CPU; nothing has used GS here yet.
    unsafe { cpu::wrmsr(snp_abi::msr::GS_BASE, start.gs_base) };
    super::descriptors::reload_idt();
    super::descriptors::load_tss();
}

/// Gives the boot CPU its exception stacks.
pub fn set_boot_cpu_stacks(ist: [u64; EXCEPTION_STACKS]) {
    // SAFETY: this runs on the boot CPU, alone, and no exception comes in between.
    unsafe { BOOT_CPU.fill(ist) };
    super::descriptors::load_tss();
}

/// This CPU's private state. Not `Send`: it stays on its CPU.
#[derive(Clone, Copy)]
pub struct ThisCpu {
    area: &'static CpuArea,
    not_send: PhantomData<*const ()>,
}

impl Deref for ThisCpu {
    type Target = Private;
    fn deref(&self) -> &Private {
        &self.area.private
    }
}

/// The area of the CPU that executes this.
pub fn this_cpu() -> ThisCpu {
    let area: *const CpuArea;
    // SAFETY: GS points to this CPU's area from the first lines of boot (`init_boot_cpu`) or from the VMSA that an AP
    // starts with; areas are static, and there is no preemption that could move this to another CPU.
    let area = unsafe {
        asm!("mov {}, gs:[0]", out(reg) area, options(nostack, preserves_flags, readonly));
        &*area
    };
    ThisCpu {
        area,
        not_send: PhantomData,
    }
}
