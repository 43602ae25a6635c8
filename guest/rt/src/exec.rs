//! Runs a few instructions given as bytes, at CPL 0 or 3, and reports the registers afterwards or the exception that
//! they raised. For tests of what the processor and the hypervisor do with single instructions.

use crate::paging::{self, Mapping};
use crate::pool;
use crate::trap::{self, Frame, Trap, vector};
use core::arch::global_asm;

/// Registers before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Output only at CPL 0.
    pub rflags: u64,
}

global_asm!(
    r#"
    .text
    /* rt_execute(registers, code): loads the registers, calls the code, stores them */
    .global rt_execute
rt_execute:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    push %rsi
    mov %rdi, %rax
    mov 8(%rax), %rbx
    mov 16(%rax), %rcx
    mov 24(%rax), %rdx
    mov 32(%rax), %rsi
    mov 40(%rax), %rdi
    mov 48(%rax), %rbp
    mov 56(%rax), %r8
    mov 64(%rax), %r9
    mov 72(%rax), %r10
    mov 80(%rax), %r11
    mov 88(%rax), %r12
    mov 96(%rax), %r13
    mov 104(%rax), %r14
    mov 112(%rax), %r15
    mov (%rax), %rax
    call *(%rsp)
    pushfq
    push %rax
    mov 24(%rsp), %rax
    mov %rbx, 8(%rax)
    mov %rcx, 16(%rax)
    mov %rdx, 24(%rax)
    mov %rsi, 32(%rax)
    mov %rdi, 40(%rax)
    mov %rbp, 48(%rax)
    mov %r8, 56(%rax)
    mov %r9, 64(%rax)
    mov %r10, 72(%rax)
    mov %r11, 80(%rax)
    mov %r12, 88(%rax)
    mov %r13, 96(%rax)
    mov %r14, 104(%rax)
    mov %r15, 112(%rax)
    pop %rcx
    mov %rcx, (%rax)
    pop %rcx
    mov %rcx, 120(%rax)
    cld
    add $16, %rsp
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
    fn rt_execute(registers: *mut Registers, code: u64);
}

/// Where aliases for CPL 3 are mapped: above the identity-mapped RAM, below the SVSM's memory.
const USER_BASE: u64 = 0x40_0000_0000;

/// A page for code, mapped for CPL 0 at its GPA and for CPL 3 together with a stack page at an alias.
pub struct CodePage {
    page: u64,
    user: u64,
}

impl CodePage {
    /// Takes two pages of the pool.
    ///
    /// # Panics
    /// When the pool is exhausted.
    pub fn allocate() -> CodePage {
        let page = pool::pages(2);
        let user = USER_BASE + (page - pool::base());
        for i in 0..2 {
            if paging::map(user + i * 4096, page + i * 4096, Mapping::USER).is_err() {
                panic!("no pages for page tables");
            }
        }
        CodePage { page, user }
    }

    /// Where code runs at CPL 0.
    pub fn address(&self) -> u64 {
        self.page
    }

    /// Where code runs at CPL 3.
    pub fn user_address(&self) -> u64 {
        self.user
    }

    /// Top of the CPL 3 stack.
    pub fn user_stack(&self) -> u64 {
        self.user + 0x2000
    }

    fn write(&self, code: &[u8], end: &[u8]) {
        for (i, byte) in code.iter().chain(end).take(4096).enumerate() {
            // SAFETY: the page belongs to this value and is mapped writable.
            unsafe { ((self.page + i as u64) as *mut u8).write_volatile(*byte) };
        }
    }

    /// Runs `code` at CPL 0. Err is the exception that it raised.
    ///
    /// # Safety
    /// The code must leave memory and the processor's mode as the program needs them.
    pub unsafe fn run(&self, code: &[u8], registers: Registers) -> Result<Registers, Trap> {
        self.write(code, &[0xC3]);
        let mut registers = registers;
        let target = &raw mut registers;
        let address = self.page;
        // SAFETY: the caller vouches for the code; the assembly keeps the calling convention.
        match trap::catch(|| unsafe { rt_execute(target, address) }) {
            None => Ok(registers),
            Some(trap) => Err(trap),
        }
    }

    /// Runs `code` at CPL 3 with `rflags` (IOPL, IF) set; it ends with INT 0x80, which counts as success.
    pub fn run_user(
        &self,
        code: &[u8],
        registers: Registers,
        rflags: u64,
    ) -> Result<Registers, Trap> {
        self.write(code, &[0xCD, vector::USER_EXIT as u8]);
        let r = registers;
        let trap = trap::run_user(&Frame {
            rax: r.rax,
            rbx: r.rbx,
            rcx: r.rcx,
            rdx: r.rdx,
            rsi: r.rsi,
            rdi: r.rdi,
            rbp: r.rbp,
            r8: r.r8,
            r9: r.r9,
            r10: r.r10,
            r11: r.r11,
            r12: r.r12,
            r13: r.r13,
            r14: r.r14,
            r15: r.r15,
            rflags,
            rip: self.user,
            rsp: self.user_stack(),
            ..Frame::default()
        });
        if trap.frame.vector != vector::USER_EXIT {
            return Err(trap);
        }
        let f = trap.frame;
        Ok(Registers {
            rax: f.rax,
            rbx: f.rbx,
            rcx: f.rcx,
            rdx: f.rdx,
            rsi: f.rsi,
            rdi: f.rdi,
            rbp: f.rbp,
            r8: f.r8,
            r9: f.r9,
            r10: f.r10,
            r11: f.r11,
            r12: f.r12,
            r13: f.r13,
            r14: f.r14,
            r15: f.r15,
            rflags: f.rflags,
        })
    }
}

/// Reads eight bytes; Err is the exception that it raised.
pub fn read(va: u64) -> Result<u64, Trap> {
    let mut value = 0;
    let target = &raw mut value;
    // SAFETY: a read that faults is caught; one that does not changes nothing.
    match trap::catch(|| unsafe { target.write((va as *const u64).read_volatile()) }) {
        None => Ok(value),
        Some(trap) => Err(trap),
    }
}

/// Writes eight bytes; Err is the exception that it raised.
///
/// # Safety
/// If it succeeds, what was there must not have been needed.
pub unsafe fn write(va: u64, value: u64) -> Result<(), Trap> {
    // SAFETY: the caller vouches for the memory; a fault is caught.
    match trap::catch(|| unsafe { (va as *mut u64).write_volatile(value) }) {
        None => Ok(()),
        Some(trap) => Err(trap),
    }
}

/// Calls the code at `va`, which should be a RET; Err is the exception that it raised.
///
/// # Safety
/// If there is code, it must follow the calling convention.
pub unsafe fn call(va: u64) -> Result<(), Trap> {
    // SAFETY: the caller vouches for the code; a fault is caught.
    let function: extern "C" fn() = unsafe { core::mem::transmute(va as *const ()) };
    match trap::catch(|| function()) {
        None => Ok(()),
        Some(trap) => Err(trap),
    }
}
