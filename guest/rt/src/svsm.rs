//! Calls to the SVSM (58019 §5): by the MSR protocol and by the GHCB's run-VMPL event.
//!
//! [`call`] is the raw interface for both well-formed and hostile calls; the rest are the core protocol's calls.

use crate::context::Context;
use crate::cpu;
use crate::ghcb::{Field, Ghcb};
use core::arch::global_asm;
use core::sync::atomic::Ordering;
use snp_abi::{exit, ghcb_msr, msr};
use svsm_abi::{call_id, core_call, protocol, pvalidate_entry, result, vtpm_call};

/// Registers of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Registers {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub r8: u64,
    pub r9: u64,
    /// RBX, RBP, RSI, RDI, R10 to R15: an SVSM must leave these alone.
    pub preserved: [u64; 10],
}

impl Registers {
    /// A call with these arguments.
    pub fn new(protocol: u32, call: u32, rcx: u64, rdx: u64, r8: u64) -> Registers {
        Registers {
            rax: call_id(protocol, call),
            rcx,
            rdx,
            r8,
            ..Registers::default()
        }
    }
}

/// By which way the SVSM is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// GHCB MSR protocol, request 0x016.
    Msr,
    /// GHCB event 0x8000_0018.
    Nae,
}

/// A call that the SVSM did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// `call_pending` was still set: the SVSM did not take the call.
    Pending,
    /// The hypervisor's response to the MSR protocol request.
    Msr(u64),
    /// SW_EXITINFO1 and SW_EXITINFO2 of the event.
    Nae(u64, u64),
}

global_asm!(
    r#"
    .text
    /* rt_svsm_call(registers, calling area): VMGEXIT with the registers; they hold the result afterwards */
    .global rt_svsm_call
rt_svsm_call:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    mov %rdi, %rax
    movb $1, (%rsi)
    mov 8(%rax), %rcx
    mov 16(%rax), %rdx
    mov 24(%rax), %r8
    mov 32(%rax), %r9
    mov 40(%rax), %rbx
    mov 48(%rax), %rbp
    mov 56(%rax), %rsi
    mov 64(%rax), %rdi
    mov 72(%rax), %r10
    mov 80(%rax), %r11
    mov 88(%rax), %r12
    mov 96(%rax), %r13
    mov 104(%rax), %r14
    mov 112(%rax), %r15
    mov (%rax), %rax
    .byte 0xF3, 0x0F, 0x01, 0xD9
    xchg %rax, (%rsp)
    mov %rcx, 8(%rax)
    mov %rdx, 16(%rax)
    mov %r8, 24(%rax)
    mov %r9, 32(%rax)
    mov %rbx, 40(%rax)
    mov %rbp, 48(%rax)
    mov %rsi, 56(%rax)
    mov %rdi, 64(%rax)
    mov %r10, 72(%rax)
    mov %r11, 80(%rax)
    mov %r12, 88(%rax)
    mov %r13, 96(%rax)
    mov %r14, 104(%rax)
    mov %r15, 112(%rax)
    pop %rcx
    mov %rcx, (%rax)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
"#,
    options(att_syntax)
);

unsafe extern "C" {
    fn rt_svsm_call(registers: *mut Registers, caa: u64);
}

/// Makes a call through the running context's calling area, once, whatever the result. Interrupts should be off when a
/// handler might itself call.
pub fn call(path: Path, registers: &mut Registers) -> Result<u64, NoAnswer> {
    let caa = Context::current().caa.load(Ordering::Relaxed);
    call_through(path, registers, caa)
}

/// As [`call`], but through the calling area at `caa`, which must be the one that the SVSM has for this vCPU for it to
/// answer.
pub fn call_through(path: Path, registers: &mut Registers, caa: u64) -> Result<u64, NoAnswer> {
    let previous = cpu::rdmsr(msr::GHCB);
    match path {
        // SAFETY: the GHCB MSR only carries messages to the hypervisor.
        Path::Msr => unsafe { cpu::wrmsr(msr::GHCB, ghcb_msr::RUN_VMPL_REQUEST) },
        Path::Nae => {
            let ghcb = Ghcb::current();
            ghcb.begin();
            ghcb.set_exit(exit::RUN_VMPL, 0, 0);
            // SAFETY: as above.
            unsafe { cpu::wrmsr(msr::GHCB, ghcb.gpa()) };
        }
    }
    // SAFETY: the calling area is a private page of ours; the assembly keeps the calling convention.
    let pending = unsafe {
        rt_svsm_call(registers, caa);
        let pending = (caa as *mut u8).read_volatile();
        (caa as *mut u8).write_volatile(0);
        pending
    };
    let response = match path {
        Path::Msr => {
            let response = cpu::rdmsr(msr::GHCB);
            // SAFETY: as above.
            unsafe { cpu::wrmsr(msr::GHCB, previous) };
            (response != ghcb_msr::RUN_VMPL_RESPONSE).then_some(NoAnswer::Msr(response))
        }
        Path::Nae => {
            let ghcb = Ghcb::current();
            let (info1, info2) = (ghcb.get(Field::ExitInfo1), ghcb.get(Field::ExitInfo2));
            (info1 & 0xFFFF_FFFF != 0).then_some(NoAnswer::Nae(info1, info2))
        }
    };
    match response {
        Some(error) => Err(error),
        None if pending != 0 => Err(NoAnswer::Pending),
        None => Ok(registers.rax),
    }
}

/// How often a call is made again before its BUSY or INCOMPLETE is passed on.
const RETRIES: u32 = 1_000_000;

/// Makes a call by the way that is there (NAE once there is a GHCB), and again while the SVSM says INCOMPLETE or BUSY, as
/// guests do; but not for ever.
pub fn call_until_done(registers: &mut Registers) -> Result<u64, NoAnswer> {
    let path = if Ghcb::ready() { Path::Nae } else { Path::Msr };
    let first = *registers;
    for _ in 0..RETRIES {
        let rax = call(path, registers)?;
        match rax {
            result::INCOMPLETE | result::BUSY => *registers = first,
            _ => return Ok(rax),
        }
    }
    call(path, registers)
}

fn core_call(call: u32, rcx: u64, rdx: u64, r8: u64) -> Result<(), SvsmError> {
    let mut registers = Registers::new(protocol::CORE, call, rcx, rdx, r8);
    match call_until_done(&mut registers) {
        Ok(result::SUCCESS) => Ok(()),
        Ok(code) => Err(SvsmError::Code(code)),
        Err(error) => Err(SvsmError::NoAnswer(error)),
    }
}

/// A call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SvsmError {
    /// It was not answered.
    NoAnswer(NoAnswer),
    /// The result code.
    Code(u64),
}

/// REMAP_CA: the calling area is at `gpa` from now on.
pub fn remap_ca(gpa: u64) -> Result<(), SvsmError> {
    core_call(core_call::REMAP_CA, gpa, 0, 0)?;
    Context::current().caa.store(gpa, Ordering::Relaxed);
    Ok(())
}

/// An entry of a PVALIDATE list.
pub const fn entry(gpa: u64, size: snp_abi::PageSize, validate: bool) -> u64 {
    let action = if validate {
        pvalidate_entry::VALIDATE
    } else {
        0
    };
    (gpa & pvalidate_entry::GPA_MASK) | action | size as u64
}

/// Entries that fit behind the calling area's header.
pub const PVALIDATE_MAX_ENTRIES: usize = 510;

/// Writes a PVALIDATE list into the calling area page, behind the header; returns its GPA.
pub fn write_list(entries: &[u64]) -> u64 {
    let list = Context::current().caa.load(Ordering::Relaxed) + 8;
    let count = entries.len().min(PVALIDATE_MAX_ENTRIES);
    // SAFETY: the calling area's page is ours and holds the header and that many entries.
    unsafe {
        (list as *mut u64).write_volatile(count as u64);
        for (i, entry) in entries[..count].iter().enumerate() {
            ((list + 8 + i as u64 * 8) as *mut u64).write_volatile(*entry);
        }
    }
    list
}

/// PVALIDATE of up to [`PVALIDATE_MAX_ENTRIES`] entries: the result code and how many entries were done.
pub fn pvalidate(entries: &[u64]) -> Result<(u64, usize), NoAnswer> {
    let list = write_list(entries);
    let mut registers = Registers::new(protocol::CORE, core_call::PVALIDATE, list, 0, 0);
    let code = call_until_done(&mut registers)?;
    // SAFETY: the list's header is in the calling area's page.
    let header = unsafe { (list as *const u64).read_volatile() };
    Ok((code, (header >> 16 & 0xFFFF) as usize))
}

/// CREATE_VCPU.
pub fn create_vcpu(vmsa: u64, caa: u64, apic_id: u32) -> Result<(), SvsmError> {
    core_call(core_call::CREATE_VCPU, vmsa, caa, apic_id as u64)
}

/// DELETE_VCPU.
pub fn delete_vcpu(vmsa: u64) -> Result<(), SvsmError> {
    core_call(core_call::DELETE_VCPU, vmsa, 0, 0)
}

/// VTPM_CMD for the request at `gpa`, once: one slice of the vTPM's time.
pub fn vtpm_command(gpa: u64) -> Result<u64, NoAnswer> {
    call(
        Path::Nae,
        &mut Registers::new(protocol::VTPM, vtpm_call::CMD, gpa, 0, 0),
    )
}

/// What a VTPM_CMD came to that was made again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VtpmOutcome {
    /// The last result code.
    pub code: u64,
    /// How often INCOMPLETE came back before.
    pub incomplete: u32,
    /// How often BUSY did.
    pub busy: u32,
}

/// VTPM_CMD as guests do it: again while the SVSM says INCOMPLETE or BUSY, but for `ms` milliseconds at most.
pub fn vtpm_command_until_done(gpa: u64, ms: u64) -> Result<VtpmOutcome, NoAnswer> {
    let deadline = crate::time::Deadline::after_ms(ms);
    let mut outcome = VtpmOutcome::default();
    loop {
        outcome.code = vtpm_command(gpa)?;
        match outcome.code {
            _ if deadline.passed() => return Ok(outcome),
            result::INCOMPLETE => outcome.incomplete += 1,
            result::BUSY => outcome.busy += 1,
            _ => return Ok(outcome),
        }
    }
}

/// GPA of the running context's calling area.
pub fn caa() -> u64 {
    Context::current().caa.load(Ordering::Relaxed)
}
