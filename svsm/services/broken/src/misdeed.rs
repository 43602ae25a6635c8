//! The misdeeds themselves.
//!
//! Each `unsafe` here is wrong on purpose. What keeps the damage inside of this service, a program without any other use,
//! is the kernel, and that it does is what is tested. Where a block may be survived, it leaves what Rust relies on as it was.

use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;

use service_abi::layout::PAGE_SIZE;
use service_abi::{call, status};
use svsm_broken::cases::Misdeed;
use svsm_broken::instructions::{self, INSTRUCTIONS, ROOM};

/// The instructions, where code is.
#[unsafe(link_section = ".text.instructions")]
static TEXT: [[u8; ROOM]; INSTRUCTIONS.len()] = instructions::text();

/// A constant, which a misdeed writes to, and a line longer than lines may be.
static LINE: [u8; 4096] = [b'.'; 4096];

/// Does it, and returns the value for the answer.
pub fn commit(misdeed: Misdeed, argument: u64) -> u64 {
    match misdeed {
        Misdeed::Echo => argument,
        Misdeed::Read => read(argument),
        Misdeed::Write => write(argument, 0),
        Misdeed::Jump => jump(argument),
        Misdeed::Execute => {
            const RET: u8 = 0xC3;
            write(argument, RET);
            jump(argument)
        }
        Misdeed::WriteText => write(TEXT.as_ptr().addr() as u64, 0),
        Misdeed::WriteConstant => write(LINE.as_ptr().addr() as u64, 0),
        Misdeed::Instruction => match TEXT.get(argument as usize) {
            Some(code) => jump(code.as_ptr().addr() as u64),
            None => u64::MAX,
        },
        Misdeed::Flags => flags(argument),
        Misdeed::TrapBehindSs => trap_behind_ss(),
        Misdeed::ToggleIf => toggle_if(),
        Misdeed::LoadDs => load_ds(argument as u16),
        Misdeed::LoadEs => load_es(argument as u16),
        Misdeed::LoadFs => load_fs(argument as u16),
        Misdeed::LoadGs => load_gs(argument as u16),
        Misdeed::LoadSs => load_ss(argument as u16),
        Misdeed::StackCall => stack_call(argument),
        Misdeed::StackPush => stack_push(argument),
        Misdeed::StackSpin => stack_spin(argument),
        Misdeed::FrameFault => frame_fault(argument),
        Misdeed::Registers => registers(argument),
        Misdeed::Call => system(argument, 0, 0).0,
        Misdeed::Heap => system(call::HEAP, argument, 0).0,
        Misdeed::HeapToTheEnd => heap_to_the_end(),
        Misdeed::Allocate => allocate(),
        Misdeed::LogFrom => system(call::LOG, argument, 16).0,
        Misdeed::LogLength => log(&LINE, argument),
        Misdeed::LogByte => log(&[argument as u8; 8], 8),
        Misdeed::LogFlood => (0..argument).fold(0, |_, _| log(b"one line of many", 16)),
        Misdeed::Reply => match system(call::REPLY, argument, 0).0 {
            status::OK => service_rt::call::fail(0xE1),
            refused => refused,
        },
        Misdeed::Fail => service_rt::call::fail(argument),
        Misdeed::Panic => panic!("as it was asked to"),
        Misdeed::Recursion => recurse(0),
        Misdeed::Loop => endless(argument),
        Misdeed::Yield => (0..argument).fold(0, |_, _| system(call::YIELD, 0, 0).0),
    }
}

/// A call with any number and any arguments: status and value.
fn system(number: u64, first: u64, second: u64) -> (u64, u64) {
    let (result, value);
    // SAFETY: see the module.
    unsafe {
        asm!("int 0x80", inlateout("rax") number => result, in("rdi") first, in("rsi") second, lateout("rdx") value);
    }
    (result, value)
}

fn log(line: &[u8], length: u64) -> u64 {
    system(call::LOG, line.as_ptr().addr() as u64, length).0
}

fn read(address: u64) -> u64 {
    let value: u64;
    // SAFETY: see the module.
    unsafe {
        asm!("movzx {value:e}, byte ptr [{address}]", address = in(reg) address, value = out(reg) value)
    };
    value
}

fn write(address: u64, byte: u8) -> u64 {
    // SAFETY: see the module.
    unsafe {
        asm!("mov byte ptr [{address}], {byte}", address = in(reg) address, byte = in(reg_byte) byte)
    };
    0
}

/// Calls `address`, with zeros in RAX, RCX and RDX.
fn jump(address: u64) -> u64 {
    // SAFETY: see the module. RBX, which CPUID writes, is not a compiler's to give.
    unsafe {
        asm!("push rbx", "call {address}", "pop rbx", address = in(reg) address,
            inout("rax") 0_u64 => _, inout("rcx") 0_u64 => _, inout("rdx") 0_u64 => _, clobber_abi("C"));
    }
    0
}

/// LOG, for which the kernel copies, with more flags set.
fn flags(set: u64) -> u64 {
    let result;
    // SAFETY: see the module. The flags are cleared again.
    unsafe {
        asm!("pushfq", "or [rsp], {set}", "popfq", "int 0x80", "pushfq", "and [rsp], {keep}", "popfq",
            set = in(reg) set, keep = in(reg) !set,
            inlateout("rax") call::LOG => result, in("rdi") LINE.as_ptr(), in("rsi") 16, lateout("rdx") _);
    }
    result
}

fn trap_behind_ss() -> u64 {
    let result;
    // SAFETY: see the module.
    unsafe {
        asm!("mov {ss:e}, ss", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov ss, {ss:e}", "int 0x80",
            "pushfq", "and qword ptr [rsp], ~0x100", "popfq",
            ss = out(reg) _, inlateout("rax") call::TIME => result, in("rdi") 0, in("rsi") 0, lateout("rdx") _);
    }
    result
}

fn toggle_if() -> u64 {
    let changed: u64;
    // SAFETY: see the module.
    unsafe {
        asm!("pushfq", "pop {changed}", "push {changed}", "xor qword ptr [rsp], 0x200", "popfq", "pushfq",
            "xor {changed}, [rsp]", "popfq", changed = out(reg) changed);
    }
    changed >> 9 & 1
}

macro_rules! load {
    ($name:ident, $register:literal) => {
        fn $name(selector: u16) -> u64 {
            let result;
            // SAFETY: see the module. Code in 64-bit mode does without these registers.
            unsafe {
                asm!(concat!("mov ", $register, ", {selector:e}"), "int 0x80", selector = in(reg) u32::from(selector),
                    inlateout("rax") call::TIME => result, in("rdi") 0, in("rsi") 0, lateout("rdx") _);
            }
            result
        }
    };
}
load!(load_ds, "ds");
load!(load_es, "es");
load!(load_fs, "fs");
load!(load_gs, "gs");
load!(load_ss, "ss");

fn stack_call(rsp: u64) -> u64 {
    let result;
    // SAFETY: see the module. RSP comes back from a register.
    unsafe {
        asm!("mov {kept}, rsp", "mov rsp, {rsp}", "int 0x80", "mov rsp, {kept}", rsp = in(reg) rsp, kept = out(reg) _,
            inlateout("rax") call::TIME => result, in("rdi") 0, in("rsi") 0, lateout("rdx") _);
    }
    result
}

fn stack_push(rsp: u64) -> u64 {
    // SAFETY: see the module.
    unsafe {
        asm!("mov {kept}, rsp", "mov rsp, {rsp}", "push rax", "mov rsp, {kept}", rsp = in(reg) rsp, kept = out(reg) _);
    }
    0
}

fn stack_spin(rsp: u64) -> u64 {
    const TURNS: u64 = 10_000_000;
    // SAFETY: see the module. RSP comes back from a register.
    unsafe {
        asm!("mov {kept}, rsp", "mov rsp, {rsp}", "2:", "dec {turns}", "jnz 2b", "mov rsp, {kept}",
            rsp = in(reg) rsp, kept = out(reg) _, turns = inout(reg) TURNS => _);
    }
    0
}

fn frame_fault(rbp: u64) -> u64 {
    // SAFETY: see the module.
    unsafe { asm!("push rbp", "mov rbp, {rbp}", "ud2", "pop rbp", rbp = in(reg) rbp) };
    0
}

/// Counts the registers that a call changes.
fn registers(number: u64) -> u64 {
    let changed;
    // SAFETY: see the module. RBX and RBP, which are not a compiler's to give, come back from the stack.
    unsafe {
        asm!(
            "push rbx", "push rbp",
            ".irp register, rbx, rcx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
            "movabs \\register, 0x5AA55AA5C33C9669",
            ".endr",
            "int 0x80",
            "movabs rdx, 0x5AA55AA5C33C9669", "mov eax, 0",
            ".irp register, rbx, rcx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
            "cmp rdx, \\register", "je 2f", "inc eax", "2:",
            ".endr",
            "pop rbp", "pop rbx",
            inlateout("rax") number => changed, lateout("rdx") _, lateout("rcx") _, lateout("rsi") _, lateout("rdi") _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _, lateout("r13") _,
            lateout("r14") _, lateout("r15") _,
        );
    }
    changed
}

fn heap_to_the_end() -> u64 {
    let mut pages = 0;
    while let (status::OK, address) = system(call::HEAP, 1, 0) {
        write(address, 1);
        write(address + PAGE_SIZE - 1, 1);
        pages += 1;
    }
    pages
}

fn allocate() -> u64 {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(alloc::vec![1; 4096]);
        black_box(&mut all);
    }
}

#[allow(unconditional_recursion)] // that it ends nevertheless is what is tested
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    recurse(depth + 1) + black_box(frame)[0]
}

fn endless(kind: u64) -> u64 {
    loop {
        match kind {
            0 => core::hint::spin_loop(),
            1 => _ = system(call::TIME, 0, 0),
            2 => _ = system(call::YIELD, 0, 0),
            _ => _ = log(b"again and again", 15),
        }
    }
}
