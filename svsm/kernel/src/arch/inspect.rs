//! For tests: the state of this CPU that nothing else needs to read, and how to fail on purpose.

use core::arch::asm;

/// Base and limit of a descriptor table.
#[repr(C, packed)]
#[derive(Clone, Copy, Default)]
pub struct TablePointer {
    limit: u16,
    base: u64,
}

impl TablePointer {
    /// Base and limit.
    pub fn get(self) -> (u64, u32) {
        (self.base, self.limit.into())
    }
}

/// Segment selectors and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Selectors {
    pub cs: u16,
    pub ss: u16,
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
    pub tr: u16,
    pub ldtr: u16,
}

/// This CPU's selectors.
pub fn selectors() -> Selectors {
    let mut s = Selectors::default();
    // SAFETY: reading selectors changes nothing but the registers named.
    unsafe {
        asm!("mov {0:x}, cs", "mov {1:x}, ss", "mov {2:x}, ds", "mov {3:x}, es",
            out(reg) s.cs, out(reg) s.ss, out(reg) s.ds, out(reg) s.es, options(nomem, nostack, preserves_flags));
        asm!("mov {0:x}, fs", "mov {1:x}, gs", "str {2:x}", "sldt {3:x}",
            out(reg) s.fs, out(reg) s.gs, out(reg) s.tr, out(reg) s.ldtr, options(nomem, nostack, preserves_flags));
    }
    s
}

/// The GDT in force, and the IDT.
pub fn tables() -> (TablePointer, TablePointer) {
    let (mut gdt, mut idt) = (TablePointer::default(), TablePointer::default());
    // SAFETY: each writes the ten bytes of its destination.
    unsafe {
        asm!("sgdt [{}]", "sidt [{}]", in(reg) &raw mut gdt, in(reg) &raw mut idt, options(nostack, preserves_flags))
    };
    (gdt, idt)
}

/// RFLAGS and RSP.
pub fn flags_and_stack() -> (u64, u64) {
    let (flags, stack): (u64, u64);
    // SAFETY: what is pushed is popped again.
    unsafe {
        asm!("pushfq", "pop {}", "mov {}, rsp", out(reg) flags, out(reg) stack, options(preserves_flags))
    };
    (flags, stack)
}

/// DR7.
pub fn dr7() -> u64 {
    let dr7: u64;
    // SAFETY: reading a debug register changes nothing.
    unsafe { asm!("mov {}, dr7", out(reg) dr7, options(nomem, nostack, preserves_flags)) };
    dr7
}

/// How to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Failure {
    Divide,
    Breakpoint,
    Nmi,
    InvalidOpcode,
    GeneralProtection,
    StackSegment,
    MachineCheck,
    /// Reads the quadword there.
    Read(u64),
    /// Writes one.
    Write(u64),
    /// Calls it.
    Call(u64),
    /// Loads the stack pointer and pushes.
    Push(u64),
}

/// The last registers that a test's failure leaves behind, for the report to show.
const MARK: u64 = 0x5AFE_C0DE_0BAD_F00D;

/// Fails so, with [`MARK`] in R12. Where it comes back, the failure was none. A frame of its own, for the backtrace.
#[inline(never)]
pub fn fail(how: Failure) {
    // SAFETY: each of them raises an exception, which ends the SVSM; that it does is what is tested. One that did not would
    // leave the registers named changed, or memory that is nobody's.
    unsafe {
        match how {
            Failure::Divide => asm!("div {z:e}", z = in(reg) 0, in("r12") MARK,
                inout("eax") 1 => _, inout("edx") 0 => _),
            Failure::Breakpoint => asm!("int3", in("r12") MARK),
            Failure::Nmi => asm!("int 2", in("r12") MARK),
            Failure::InvalidOpcode => asm!("ud2", in("r12") MARK),
            // An address that is not canonical: #GP by DS, #SS by SS.
            Failure::GeneralProtection => {
                asm!("mov {v}, [{a}]", a = in(reg) 1u64 << 63, v = out(reg) _, in("r12") MARK)
            }
            Failure::StackSegment => {
                asm!("mov {v}, ss:[{a}]", a = in(reg) 1u64 << 63, v = out(reg) _, in("r12") MARK)
            }
            Failure::MachineCheck => asm!("int 18", in("r12") MARK),
            Failure::Read(a) => {
                asm!("mov {v}, [{a}]", a = in(reg) a, v = out(reg) _, in("r12") MARK)
            }
            Failure::Write(a) => asm!("mov [{a}], {a}", a = in(reg) a, in("r12") MARK),
            Failure::Call(a) => asm!("call {a}", a = in(reg) a, in("r12") MARK, clobber_abi("C")),
            Failure::Push(a) => asm!("xchg rsp, {a}", "push {a}", "pop {a}", "xchg rsp, {a}",
                a = inout(reg) a => _, in("r12") MARK),
        }
    }
}
