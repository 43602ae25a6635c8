//! When a guest does what hardware would not let it do, or what nothing can follow: say who, where and which rule, and end
//! the run.

use crate::GEOMETRY;
use crate::exit_status::{ExitStatus, exit};
use crate::memory::{self, Checked};
use crate::say_fatal;
use crate::vcpu::Vcpu;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicBool, Ordering};
use snp_abi::Vmpl;
use snp_abi::vmsa::{Segment, Vmsa};
use snp_model::walk::{self, LinearAccess, Paging};

const FRAMES: usize = 16;

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Prints a diagnosis about the vCPU's current VMPL and ends the run.
pub fn stop(vcpu: &Vcpu, status: ExitStatus, rule: Arguments<'_>) -> ! {
    if STOPPING.swap(true, Ordering::SeqCst) {
        // Another processor is at it.
        crate::arch::cpu::stop();
    }
    crate::console::fresh_line();
    let state = vcpu.state();
    match vcpu.current() {
        Some(vmpl) => say_fatal!(
            "vCPU {} VMPL{} CPL{} at rip {:#x}: {rule}",
            vcpu.index(),
            vmpl as u8,
            state.cpl,
            state.rip.get()
        ),
        None => say_fatal!("vCPU {}: {rule}", vcpu.index()),
    }
    crate::calls::print();
    if let Some(vmpl) = vcpu.current() {
        registers(state);
        backtrace(state, vmpl);
    }
    exit(status)
}

/// Prints a diagnosis that is about no vCPU and ends the run.
pub fn stop_without_vcpu(status: ExitStatus, what: Arguments<'_>) -> ! {
    say_fatal!("{what}");
    exit(status)
}

fn registers(s: &Vmsa) {
    let segment = |s: &Segment| (s.selector.get(), s.attributes.get(), s.base.get());
    say_fatal!(
        "  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}",
        s.rax,
        s.rbx,
        s.rcx,
        s.rdx
    );
    say_fatal!(
        "  rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}",
        s.rsi,
        s.rdi,
        s.rbp,
        s.rsp
    );
    say_fatal!(
        "  r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}",
        s.r8,
        s.r9,
        s.r10,
        s.r11
    );
    say_fatal!(
        "  r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}",
        s.r12,
        s.r13,
        s.r14,
        s.r15
    );
    say_fatal!(
        "  cr0 {:x} cr2 {:x} cr3 {:x} cr4 {:x} efer {:x} rflags {:x}",
        s.cr0,
        s.cr2,
        s.cr3,
        s.cr4,
        s.efer,
        s.rflags
    );
    say_fatal!(
        "  cs {:x?} ss {:x?} gs {:x?} idt {:x}+{:x} gdt {:x}+{:x}",
        segment(&s.cs),
        segment(&s.ss),
        segment(&s.gs),
        s.idtr.base,
        s.idtr.limit,
        s.gdtr.base,
        s.gdtr.limit
    );
}

/// Walks the guest's frame pointers.
fn backtrace(state: &Vmsa, vmpl: Vmpl) {
    let mut memory = memory::lock();
    let mut checked = Checked {
        memory: &mut memory,
        vmpl,
    };
    let paging = Paging::of(state, GEOMETRY);
    let mut code = [0; 15];
    if let Ok(count) = walk::fetch_instruction(&mut checked, state, GEOMETRY, &mut code) {
        say_fatal!("  code {:02x?}", &code[..count]);
    }
    let mut rbp = state.rbp.get();
    for _ in 0..FRAMES {
        let mut frame = [0; 16];
        let access = LinearAccess::default();
        if !rbp.is_multiple_of(8)
            || walk::read_linear(&mut checked, &paging, rbp, access, &mut frame).is_err()
        {
            return;
        }
        let word = |i: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&frame[i..i + 8]);
            u64::from_le_bytes(bytes)
        };
        let (next, address) = (word(0), word(8));
        if address == 0 {
            return;
        }
        say_fatal!("  called from {address:#x}");
        if next <= rbp {
            return;
        }
        rbp = next;
    }
}
