//! AMD's virtual machine extension as QEMU's TCG has it: VMCB, VMRUN, nested page tables. `unsafe` is allowed here.

pub mod bitmaps;
pub mod npt;
pub mod registers;
pub mod vmcb;
pub mod vmrun;
