//! How the machine ends. QEMU's isa-debug-exit device turns value v into exit status 2 v + 1; a guest that powers off
//! through ACPI gives status 0.

use crate::arch::cpu;

const EXIT_PORT: u16 = 0xF4;

/// Every way to end but the guest's own power-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// The guest asked for termination (GHCB). QEMU status 33.
    GuestTerminated = 0x10,
    /// The guest did what hardware does not allow or cannot go on from. QEMU status 35.
    Diagnosis = 0x11,
    /// Every vCPU is halted and nothing can wake one. QEMU status 37.
    GuestHalted = 0x12,
    /// The image is not acceptable. QEMU status 39.
    BadImage = 0x13,
    /// QEMU was not started as the machine needs it. QEMU status 41.
    BadPlatform = 0x14,
    /// A bug in the machine. QEMU status 43.
    Internal = 0x15,
    /// A triple fault at some VMPL. QEMU status 45.
    GuestShutdown = 0x16,
}

/// Ends the run.
pub fn exit(status: ExitStatus) -> ! {
    crate::trace::print_counts();
    cpu::out8(EXIT_PORT, status as u8);
    // Without the device: stop here.
    cpu::stop()
}
