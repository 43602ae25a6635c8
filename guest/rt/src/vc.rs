//! The runtime's own #VC handler, for instructions that a payload executes in the ordinary course: CPUID (from the
//! CPUID page), RDMSR and WRMSR, RDTSC and RDTSCP, IN and OUT by register, WBINVD. Everything else is passed on.

use crate::trap::Frame;
use crate::{cpu, ghcb::Ghcb, nae, params};
use snp_abi::exit;

/// Copies instruction bytes at `rip`.
fn fetch(rip: u64) -> [u8; 3] {
    // SAFETY: the processor just fetched an instruction here; what lies behind it in the same image is mapped.
    unsafe { (rip as *const [u8; 3]).read_volatile() }
}

fn set_low(register: &mut u64, value: u64, bytes: u64) {
    *register = match bytes {
        1 => *register & !0xFF | value & 0xFF,
        2 => *register & !0xFFFF | value & 0xFFFF,
        _ => value & 0xFFFF_FFFF,
    };
}

/// Handles the exception, if it is one of ours; returns whether it did.
pub fn handle(frame: &mut Frame) -> bool {
    let bytes = fetch(frame.rip);
    let length = match (frame.error, bytes) {
        (exit::CPUID, [0x0F, 0xA2, _]) => {
            let result = from_page(frame.rax as u32, frame.rcx as u32);
            frame.rax = result.eax as u64;
            frame.rbx = result.ebx as u64;
            frame.rcx = result.ecx as u64;
            frame.rdx = result.edx as u64;
            2
        }
        (exit::MSR, [0x0F, 0x32, _]) if Ghcb::ready() => {
            let Ok(value) = nae::rdmsr(frame.rcx as u32) else {
                return false;
            };
            frame.rax = value & 0xFFFF_FFFF;
            frame.rdx = value >> 32;
            2
        }
        (exit::MSR, [0x0F, 0x30, _]) if Ghcb::ready() => {
            let value = frame.rdx << 32 | frame.rax & 0xFFFF_FFFF;
            if nae::wrmsr(frame.rcx as u32, value).is_err() {
                return false;
            }
            2
        }
        (exit::RDTSC, [0x0F, 0x31, _]) if Ghcb::ready() => {
            let Ok(value) = nae::rdtsc() else {
                return false;
            };
            frame.rax = value & 0xFFFF_FFFF;
            frame.rdx = value >> 32;
            2
        }
        (exit::WBINVD, [0x0F, 0x09, _]) if Ghcb::ready() => {
            if nae::wbinvd().is_err() {
                return false;
            }
            2
        }
        (exit::IOIO, _) if Ghcb::ready() => match port_io(frame, bytes) {
            Some(length) => length,
            None => return false,
        },
        _ => return false,
    };
    frame.rip += length;
    true
}

fn port_io(frame: &mut Frame, bytes: [u8; 3]) -> Option<u64> {
    let (prefix, opcode, immediate) = match bytes {
        [0x66, opcode, immediate] => (true, opcode, immediate),
        [opcode, immediate, _] => (false, opcode, immediate),
    };
    let wide = if prefix { 2 } else { 4 };
    let (size, from_immediate) = match opcode {
        0xE4 | 0xE6 => (1, true),
        0xE5 | 0xE7 => (wide, true),
        0xEC | 0xEE => (1, false),
        0xED | 0xEF => (wide, false),
        _ => return None,
    };
    let port = if from_immediate {
        immediate as u16
    } else {
        frame.rdx as u16
    };
    if opcode & 2 == 0 {
        let value = nae::port_in(port, size).ok()?;
        set_low(&mut frame.rax, value as u64, size);
    } else {
        nae::port_out(port, size, frame.rax as u32).ok()?;
    }
    Some(1 + prefix as u64 + from_immediate as u64)
}

/// The leaf as the CPUID page has it, with the fields that the page leaves open for leaf 1: OSXSAVE from CR4 and, once
/// there is a GHCB, APIC ID and APIC bit from the hypervisor. Absent leaves are zero.
pub fn from_page(leaf: u32, subleaf: u32) -> cpu::Cpuid {
    let indexed = matches!(
        leaf,
        4 | 7 | 0xB | 0xD | 0xF | 0x10 | 0x14 | 0x17 | 0x18 | 0x1D | 0x1E | 0x8000_001D
    );
    let found = params::cpuid_entries()
        .find(|e| e.eax_in.get() == leaf && (!indexed || e.ecx_in.get() == subleaf));
    let mut result = found.map_or(cpu::Cpuid::default(), |e| cpu::Cpuid {
        eax: e.eax.get(),
        ebx: e.ebx.get(),
        ecx: e.ecx.get(),
        edx: e.edx.get(),
    });
    if leaf == 1 {
        let osxsave = (cpu::cr4() >> 18 & 1) as u32;
        result.ecx = result.ecx & !(1 << 27) | osxsave << 27;
        if Ghcb::ready()
            && let Ok(host) = nae::cpuid(1, 0)
        {
            result.ebx = result.ebx & 0x00FF_FFFF | host.ebx & 0xFF00_0000;
            result.edx = result.edx & !(1 << 9) | host.edx & 1 << 9;
        }
    }
    result
}
