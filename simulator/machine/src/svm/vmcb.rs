//! The VMCB (APM vol. 2 appendix B), and with it the vCPU's state.
//!
//! Up to offset 0x298 the VMCB's save area has the layout of a VMSA. A [`GuestBlock`] therefore lays a whole [`Vmsa`] over
//! the save area and the page after it: VMRUN and VMLOAD use its first part, the VMRUN wrapper keeps the general registers
//! in it, and nothing has to be copied at an exit. QEMU touches no save-area offset that a VMSA uses otherwise.

use crate::arch::frames;
use crate::arch::phys::{DIRECT_MAP, virt};
use snp_abi::vmsa::Vmsa;

/// The control area.
#[repr(C)]
#[allow(missing_docs)]
pub struct Control {
    pub intercept_cr_read: u16,
    pub intercept_cr_write: u16,
    pub intercept_dr_read: u16,
    pub intercept_dr_write: u16,
    pub intercept_exceptions: u32,
    pub intercept_misc1: u32,
    pub intercept_misc2: u32,
    reserved_14: [u8; 0x2C],
    pub iopm_base: u64,
    pub msrpm_base: u64,
    pub tsc_offset: u64,
    pub asid: u32,
    pub tlb_control: u32,
    pub interrupt_control: u32,
    pub interrupt_vector: u32,
    pub interrupt_shadow: u64,
    pub exit_code: u64,
    pub exit_info_1: u64,
    pub exit_info_2: u64,
    pub exit_int_info: u64,
    pub nested_control: u64,
    reserved_98: [u8; 0x10],
    pub event_injection: u64,
    pub nested_cr3: u64,
    pub lbr_control: u64,
    pub clean: u64,
    pub next_rip: u64,
    reserved_d0: [u8; 0x400 - 0xD0],
}

const _: () = {
    assert!(core::mem::offset_of!(Control, iopm_base) == 0x40);
    assert!(core::mem::offset_of!(Control, interrupt_control) == 0x60);
    assert!(core::mem::offset_of!(Control, exit_code) == 0x70);
    assert!(core::mem::offset_of!(Control, event_injection) == 0xA8);
    assert!(core::mem::offset_of!(Control, nested_cr3) == 0xB0);
    assert!(core::mem::offset_of!(Control, next_rip) == 0xC8);
    assert!(size_of::<Control>() == 0x400);
};

/// VMCB and vCPU state of one processor.
#[repr(C, align(4096))]
pub struct GuestBlock {
    /// What is intercepted, what happened.
    pub control: Control,
    /// The state of the VMPL that runs.
    pub state: Vmsa,
    pad: [u8; 0xC00],
}

const _: () = assert!(size_of::<GuestBlock>() == 0x2000);

/// `intercept_misc1`.
pub mod misc1 {
    #![allow(missing_docs)]
    pub const INTR: u32 = 1 << 0;
    pub const NMI: u32 = 1 << 1;
    pub const SMI: u32 = 1 << 2;
    pub const INIT: u32 = 1 << 3;
    pub const VINTR: u32 = 1 << 4;
    pub const RDPMC: u32 = 1 << 15;
    pub const CPUID: u32 = 1 << 18;
    pub const INVD: u32 = 1 << 22;
    pub const HLT: u32 = 1 << 24;
    pub const INVLPGA: u32 = 1 << 26;
    pub const IOIO: u32 = 1 << 27;
    pub const MSR: u32 = 1 << 28;
    pub const TASK_SWITCH: u32 = 1 << 29;
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// `intercept_misc2`.
pub mod misc2 {
    #![allow(missing_docs)]
    pub const VMRUN: u32 = 1 << 0;
    pub const VMMCALL: u32 = 1 << 1;
    pub const VMLOAD: u32 = 1 << 2;
    pub const VMSAVE: u32 = 1 << 3;
    pub const STGI: u32 = 1 << 4;
    pub const CLGI: u32 = 1 << 5;
    pub const SKINIT: u32 = 1 << 6;
    pub const ICEBP: u32 = 1 << 8;
    pub const WBINVD: u32 = 1 << 9;
    pub const MONITOR: u32 = 1 << 10;
    pub const MWAIT: u32 = 1 << 11;
}

/// `interrupt_control`: a virtual interrupt is requested.
pub const V_IRQ: u32 = 1 << 8;
/// `interrupt_control`: virtual TPR.
pub const V_TPR: u32 = 0xF;
/// `interrupt_shadow`: the last instruction blocks interrupts for one more.
pub const SHADOW: u64 = 1;
/// `exit_int_info` and `event_injection`: there is an event.
pub const EVENT_VALID: u64 = 1 << 31;

impl GuestBlock {
    /// A block in memory of the machine.
    pub fn allocate() -> Option<&'static mut GuestBlock> {
        let hpa = frames::allocate((size_of::<GuestBlock>() / 4096) as u64)?;
        // SAFETY: fresh frames, aligned to pages, never handed out again; zero bytes are a valid block.
        Some(unsafe { &mut *(virt(hpa) as *mut GuestBlock) })
    }

    /// Its physical address.
    pub fn physical(&self) -> u64 {
        self as *const GuestBlock as u64 - DIRECT_MAP
    }
}
