//! The software SNP machine: a bare-metal hypervisor on AMD's SVM that gives a guest the whole of SEV-SNP, on QEMU's TCG.
//!
//! QEMU starts it as a PVH kernel with an IGVM image as its `-initrd` and options as its `-append`. It takes the top of low
//! RAM for itself, launches the image as SNP firmware would, and runs its vCPUs, one on each processor.
//!
//! | module | what |
//! |---|---|
//! | [`arch`] | the processor, start-up, memory of the machine (`unsafe` is allowed) |
//! | [`svm`] | VMCB, VMRUN, nested page tables (`unsafe` is allowed) |
//! | [`platform`], [`chipset`], [`launch`], [`acpi`] | what the guest is put into |
//! | [`memory`], [`shootdown`] | RMP and what follows from it |
//! | [`vcpu`], [`starts`] | VMPLs, events, sleeping; when they start |
//! | [`exits`] | why a guest was left |
//! | [`ghcb`], [`apic`] | what it asks for |
//! | [`trace`], [`diagnosis`], [`exit_status`], [`watch`], [`calls`] | what the person in front of it sees |
//!
//! What is allowed and what an instruction returns is decided in the crate `snp-model`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod acpi;
mod apic;
#[allow(unsafe_code)]
mod arch;
mod calls;
mod chipset;
mod console;
mod diagnosis;
mod exit_status;
mod exits;
mod fw_cfg;
mod ghcb;
mod launch;
mod memory;
mod options;
mod panic;
mod platform;
mod shootdown;
mod starts;
#[allow(unsafe_code)]
mod svm;
mod trace;
mod vcpu;
mod watch;

use arch::lock::Once;
use arch::phys::Physical;
use arch::{boot, frames, idt, lapic, percpu, smp, time};
use boot_info::StartInfo;
use exit_status::ExitStatus;
use snp_model::Geometry;
use svm::bitmaps::Bitmaps;

/// The C-bit, and how wide physical addresses are. QEMU's nested walk ignores bits above 47, so it is not where EPYC has it.
pub const GEOMETRY: Geometry = Geometry {
    c_bit: 47,
    physical_bits: 48,
};

static BITMAPS: Once<Bitmaps> = Once::new();

/// The first Rust code: on the boot stack, at the image's first place. `start_info` is `hvm_start_info`.
extern "sysv64" fn boot_main(start_info: u64) -> ! {
    platform::check();
    let info = match StartInfo::read(&Physical, 0, start_info) {
        Ok(info) => info,
        Err(why) => diagnosis::stop_without_vcpu(ExitStatus::BadPlatform, format_args!("{why}")),
    };
    time::calibrate();
    let layout = platform::plan(&info, boot::image_bytes());
    let module = boot::take_reserve(layout.reserve, info.module);
    machine_main(&info, &layout, module)
}

/// Goes on in the machine's own memory.
fn machine_main(info: &StartInfo, layout: &platform::Layout, module: Option<(u64, u64)>) -> ! {
    idt::init();
    idt::load();
    let no_memory = || -> ! {
        diagnosis::stop_without_vcpu(
            ExitStatus::BadPlatform,
            format_args!("the machine's memory is too small"),
        )
    };
    let Some(this) = percpu::create(lapic::id()) else {
        no_memory()
    };
    percpu::install(this);
    arch::init_processor();
    options::parse(info.command_line());
    chipset::mask_interrupts();
    chipset::unlock_low_ram();
    lapic::enable();

    // Memory: whose it is, before anything can be the guest's.
    let high = layout.high.unwrap_or((0, 0));
    let host = [
        (0, platform::VIDEO.0),
        (platform::VIDEO.1, layout.low_end),
        high,
    ];
    let hosts = if layout.high.is_some() { 3 } else { 2 };
    arch::device::set_ram(&host[..hosts]);
    let top = host.iter().map(|range| range.1).max().unwrap_or(0);
    let Some(rmp) = boot::rmp_table(top / snp_abi::PAGE_SIZE) else {
        no_memory()
    };
    {
        let mut memory = memory::lock();
        if memory.init(rmp, &host[..hosts]).is_none() {
            no_memory();
        }
        for backing in launch::ram(layout) {
            if memory.add(backing).is_none() {
                no_memory();
            }
        }
    }
    boot::give_to_guest(launch::ram(layout).map(|b| (b.hpa, b.hpa + b.bytes)));
    match Bitmaps::new() {
        Some(bitmaps) => BITMAPS.set(bitmaps),
        None => no_memory(),
    }

    // Processors. The trampoline uses low memory, which is wiped afterwards.
    let processors = match smp::start_others(fw_cfg::processors().max(1).into(), other_main) {
        Ok(count) => count,
        Err(why) => diagnosis::stop_without_vcpu(ExitStatus::BadPlatform, format_args!("{why}")),
    };
    platform::init(processors);
    platform::announce(layout, processors);
    chipset::wipe(&boot::used_low_memory());

    let vmsa = launch::launch(module);
    options::after_launch();
    vcpu::requests::start(0, snp_abi::Vmpl::Vmpl0, vmsa, true, 0);
    START.set(());
    say!(
        "starting the guest; {} KiB left to the machine",
        frames::free() * 4
    );
    run_vcpu()
}

/// Set when the guest may run.
static START: Once<()> = Once::new();

/// The other processors wait until the guest is launched.
fn other_main() -> ! {
    while START.try_get().is_none() {
        arch::cpu::relax();
    }
    run_vcpu()
}

fn run_vcpu() -> ! {
    match vcpu::Vcpu::new(*BITMAPS.get()) {
        Some(vcpu) => vcpu.run(),
        None => diagnosis::stop_without_vcpu(
            ExitStatus::BadPlatform,
            format_args!("the machine's memory is too small for this many processors"),
        ),
    }
}
