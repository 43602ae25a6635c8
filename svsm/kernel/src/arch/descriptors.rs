//! GDT, TSS and IDT (APM vol. 2 §4.7, §8.2, §12.2).

use super::traps::INTERRUPTS;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;

/// Selector of 64-bit ring-0 code.
pub const CODE: u16 = 0x08;
/// Selector of data.
pub const DATA: u16 = 0x10;
/// Selector of the TSS.
pub const TSS: u16 = 0x18;

/// Selector of ring-3 data.
pub const SERVICE_DATA: u16 = 0x28 | 3;
/// Selector of 64-bit ring-3 code.
pub const SERVICE_CODE: u16 = 0x30 | 3;

/// Exception vectors with stacks of their own, and which. Others come when the stack in use is good: the kernel's, or the
/// one that the TSS has for entries from ring 3.
pub const IST_VECTORS: [(u8, u8); EXCEPTION_STACKS] = [
    (super::traps::DOUBLE_FAULT, 1),
    (super::traps::NMI, 2),
    (super::traps::MACHINE_CHECK, 3),
];
/// How many stacks these take.
pub const EXCEPTION_STACKS: usize = 3;

/// Null, code, data, TSS (two entries), ring-3 data and code.
#[repr(C, align(16))]
pub struct Gdt([u64; 7]);

impl Gdt {
    /// Its limit.
    pub const LIMIT: u32 = size_of::<Gdt>() as u32 - 1;

    /// Without TSS.
    pub const fn new() -> Gdt {
        Gdt([
            0,
            0x00AF_9B00_0000_FFFF,
            0x00CF_9300_0000_FFFF,
            0,
            0,
            0x00CF_F300_0000_FFFF,
            0x00AF_FB00_0000_FFFF,
        ])
    }

    /// Sets where the TSS is.
    pub fn set_tss(&mut self, base: u64) {
        const AVAILABLE_TSS: u64 = 0x89;
        self.0[3] = Tss::LIMIT as u64
            | (base & 0xFF_FFFF) << 16
            | AVAILABLE_TSS << 40
            | (base >> 24 & 0xFF) << 56;
        self.0[4] = base >> 32;
    }
}

/// Task state segment: only the interrupt stacks matter.
#[repr(C, packed)]
pub struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: [u8; 10],
    io_map: u16,
}

impl Tss {
    /// Its limit.
    pub const LIMIT: u32 = size_of::<Tss>() as u32 - 1;

    /// Without stacks and I/O permissions.
    pub const fn new() -> Tss {
        Tss {
            reserved0: 0,
            rsp: [0; 3],
            reserved1: 0,
            ist: [0; 7],
            reserved2: [0; 10],
            io_map: size_of::<Tss>() as u16,
        }
    }

    /// Sets the first interrupt stacks: the addresses where they start, downwards.
    pub fn set_ist(&mut self, stacks: [u64; EXCEPTION_STACKS]) {
        let mut ist = [0; 7];
        ist[..EXCEPTION_STACKS].copy_from_slice(&stacks);
        self.ist = ist;
    }

    /// Where it has the stack for entries from ring 3.
    pub const RSP0_OFFSET: usize = offset_of!(Tss, rsp);
}

const _: () = assert!(size_of::<Tss>() == 104);

/// What LGDT and LIDT load.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads a GDT and the segment registers that matter from it; the others and the LDT become null, so that ring 3 finds no
/// selector of the kernel's. GS's base is lost.
pub fn load_gdt((base, limit): (u64, u32)) {
    let pointer = Pointer {
        limit: limit as u16,
        base,
    };
    // SAFETY: the table is static and its entries are the flat ones that code and stack run on. The far return goes to
    // the next instruction with the new code selector.
    unsafe {
        asm!("lgdt [{pointer}]",
            "mov ss, {data:x}", "mov ds, {null:x}", "mov es, {null:x}", "mov fs, {null:x}", "mov gs, {null:x}", "lldt {null:x}",
            "push {code}", "lea {tmp}, [rip + 2f]", "push {tmp}", "retfq", "2:",
            pointer = in(reg) &pointer, data = in(reg) DATA as u64, null = in(reg) 0u64, code = const CODE, tmp = out(reg) _);
    }
}

/// Loads the TSS of the GDT in force.
pub fn load_tss() {
    // SAFETY: the descriptor was set by `CpuArea::prepare` and is marked available, since it was loaded at most before
    // that.
    unsafe { asm!("ltr {:x}", in(reg) TSS as u64, options(nostack, preserves_flags)) };
}

/// An IDT of the 32 exceptions, of services' calls, and of the native platform's interrupts. Only the gate for calls is open
/// to ring 3.
#[repr(C, align(4096))]
struct Idt(UnsafeCell<[[u64; 2]; GATES]>);

const GATES: usize = 256;

// SAFETY: written only by `load_idt`, on the boot CPU before others run.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; GATES]));

unsafe extern "C" {
    /// Addresses of the entries, in traps.s.
    safe static trap_addresses: [u64; 32];
    /// Address of the entry for services' calls.
    safe static call_address: u64;
    /// Addresses of the entries for interrupts.
    safe static interrupt_addresses: [u64; INTERRUPTS.len()];
}

/// A present interrupt gate to `address`.
const fn gate(address: u64, ist: u64, ring: u64) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8E;
    [
        address & 0xFFFF
            | (CODE as u64) << 16
            | ist << 32
            | (PRESENT_INTERRUPT_GATE | ring << 5) << 40
            | (address >> 16 & 0xFFFF) << 48,
        address >> 32,
    ]
}

/// Fills the IDT and loads it; with interrupt stacks once the TSS has them. On the boot CPU, before others run.
pub fn load_idt(with_stacks: bool) {
    let mut gates = [[0; 2]; GATES];
    for (vector, (entry, address)) in gates.iter_mut().zip(trap_addresses).enumerate() {
        let ist = IST_VECTORS
            .iter()
            .find(|(v, _)| with_stacks && *v as usize == vector)
            .map_or(0, |(_, ist)| *ist as u64);
        *entry = gate(address, ist, 0);
    }
    gates[service_abi::VECTOR as usize] = gate(call_address, 0, 3);
    for (vector, address) in INTERRUPTS.into_iter().zip(interrupt_addresses) {
        gates[vector as usize] = gate(address, 0, 0);
    }
    // SAFETY: only the boot CPU runs, and no exception comes in between; the gates lead to traps.s.
    unsafe { IDT.0.get().write(gates) };
    reload_idt();
}

/// Loads the IDT as it is.
pub fn reload_idt() {
    let (base, limit) = idt();
    let pointer = Pointer {
        limit: limit as u16,
        base,
    };
    // SAFETY: the table is static, and its gates lead to traps.s.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(nostack, preserves_flags)) };
}

/// Base and limit of the IDT.
pub fn idt() -> (u64, u32) {
    (IDT.0.get() as u64, (GATES * 16) as u32 - 1)
}
