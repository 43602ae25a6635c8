//! The other CPUs: from the host's MADT, each with a per-CPU area that is complete before the first one starts, and a
//! wait that ends.

use super::or_stop;
use crate::arch::descriptors::EXCEPTION_STACKS;
use crate::arch::percpu::{CpuArea, STACK_START, this_cpu};
use crate::arch::{cpu, descriptors};
use crate::clock;
use crate::console::log;
use crate::fatal::fatal;
use crate::kernel::{KERNEL, Kernel};
use crate::mm::{self, OutOfMemory};
use crate::platform::{PlatformResult, platform};
use boot_abi::BootParams;
use snp_abi::{SevFeatures, msr};
use svsm_abi::termination::Reason;
use svsm_core::madt::CpuList;
use svsm_core::startup;
use svsm_core::vcpu::Vcpu;
use svsm_core::vmsa::ApStart;

/// Pages of a CPU's stack.
const STACK_PAGES: usize = 4;
/// Pages of an exception stack.
const EXCEPTION_STACK_PAGES: usize = 2;

/// How long all APs together have to come up.
const PATIENCE_MS: u64 = 2000;

/// Stacks for exceptions: where they start.
pub fn exception_stacks() -> Result<[u64; EXCEPTION_STACKS], OutOfMemory> {
    let mut stacks = [0; EXCEPTION_STACKS];
    for stack in &mut stacks {
        *stack = mm::new_stack(EXCEPTION_STACK_PAGES)? - STACK_START;
    }
    Ok(stacks)
}

/// Reads the host's MADT.
pub fn list(params: &BootParams, vp_count: u32, boot_apic_id: u32) -> CpuList {
    let area = mm::parameters(params.madt.base.get(), params.madt.size.get());
    let list = or_stop!(
        Reason::Madt,
        CpuList::parse(area.unwrap_or_default(), boot_apic_id)
    );
    if !list.checksum_holds {
        log!("MADT: the checksum does not hold; going on");
    }
    let count = list.ids().len();
    if count as u64 > vp_count as u64 {
        fatal!(
            Reason::Madt,
            "MADT: {count} enabled processors, but the host announced {vp_count} vCPUs"
        );
    }
    list
}

/// The vCPU table: the boot CPU first, then the others in the MADT's order.
pub fn table(list: &CpuList, boot_apic_id: u32) -> &'static [Vcpu] {
    let mut others = list.ids().iter().copied().filter(|&id| id != boot_apic_id);
    let vcpus = or_stop!(
        Reason::OutOfMemory,
        mm::allocate_slice(list.ids().len(), |index| {
            Vcpu::new(match index {
                0 => boot_apic_id,
                _ => others.next().unwrap_or(boot_apic_id),
            })
        })
    );
    vcpus[0].set_online();
    vcpus
}

/// Makes the shared state final and starts all APs.
pub fn start(list: &CpuList, features: SevFeatures, kernel: Kernel) -> &'static Kernel {
    let Ok(kernel) = KERNEL.set(kernel) else {
        fatal!(Reason::Panic, "the kernel's state is set twice");
    };
    let aps = kernel.vcpus.iter().enumerate().skip(1);
    let starts = or_stop!(
        Reason::OutOfMemory,
        mm::allocate_slice(list.ids().len(), |_| None)
    );
    for (index, vcpu) in aps.clone() {
        match prepare(index) {
            Ok(start) => starts[index] = Some(start),
            Err(error) if error.reason == Reason::OutOfMemory => {
                log!(
                    "vCPU {index} (APIC ID {}) and later ones are left out: {error}",
                    vcpu.apic_id()
                );
                break;
            }
            Err(error) => fatal!(error.reason, "{error}"),
        }
    }
    let starts: &'static [Option<ApStart>] = starts;
    for (vcpu, start) in kernel.vcpus.iter().zip(starts) {
        let Some(start) = start else {
            continue;
        };
        vcpu.start().begin();
        if let Err(error) = platform().start_cpu(vcpu.apic_id(), start, features) {
            log!("vCPU with APIC ID {}: {error}", vcpu.apic_id());
            vcpu.start().give_up();
        }
    }
    let begun = clock::milliseconds();
    let started = || {
        kernel
            .vcpus
            .iter()
            .zip(starts)
            .filter(|(_, start)| start.is_some())
    };
    startup::wait(started().map(|(vcpu, _)| vcpu.start()), || {
        clock::milliseconds() - begun < PATIENCE_MS
    });
    for (vcpu, _) in started().filter(|(vcpu, _)| !vcpu.is_online()) {
        log!(
            "vCPU with APIC ID {} did not come up; going on without it",
            vcpu.apic_id()
        );
    }
    kernel
}

/// Everything that an AP needs of its own.
fn prepare(index: usize) -> PlatformResult<ApStart> {
    let registers = cpu::control_registers();
    let area = mm::allocate_slice(1, |_| CpuArea::new(index))?;
    let pages = platform().new_cpu_pages()?;
    let stack = mm::new_stack(STACK_PAGES)?;
    let shadow_stacks = match registers.cr4 & cpu::CR4_CET {
        0 => None,
        _ => Some(mm::new_shadow_stacks()?),
    };
    let area = area[0].prepare(pages, shadow_stacks, exception_stacks()?);
    let (tss_base, tss_limit) = area.tss();
    Ok(ApStart {
        rip: ap_entry as *const () as u64,
        // As after a call: the return address would be at a multiple of 16.
        rsp: stack - 8,
        rdi: index as u64,
        cr0: registers.cr0,
        cr3: registers.cr3,
        cr4: registers.cr4,
        efer: cpu::rdmsr(msr::EFER),
        gs_base: area.gs_base(),
        gdt: area.gdt(),
        idt: descriptors::idt(),
        tss: (descriptors::TSS, tss_base, tss_limit),
        code_selector: descriptors::CODE,
        data_selector: descriptors::DATA,
    })
}

/// Where an AP starts, on its own stack and area, with everything else as on the boot CPU.
extern "C" fn ap_entry(index: usize) -> ! {
    if let Some(stacks) = this_cpu().shadow_stacks.get() {
        cpu::enter_shadow_stacks(&stacks);
    }
    let vcpu = KERNEL.get().and_then(|kernel| kernel.vcpus.get(index));
    // An AP that comes too late touches nothing.
    let Some(entered) = vcpu.and_then(|vcpu| vcpu.start().enter()) else {
        cpu::stop()
    };
    or_stop!(platform().init_cpu());
    if !entered.come_up() {
        cpu::stop()
    }
    #[cfg(feature = "tests")]
    crate::tests::help(this_cpu().index.get());
    crate::serve::run(this_cpu().index.get())
}
