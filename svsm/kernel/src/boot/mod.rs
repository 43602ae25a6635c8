//! Boot, phase by phase, on the boot CPU: from what the image's VMSA starts with to a running guest.

mod cpus;
mod launch;
mod memory;

use crate::arch::{cpu, descriptors, percpu};
use crate::console::log;
use crate::fatal::fatal;
use crate::kernel::CPUID;
use crate::mm;
use crate::platform::PLATFORM;
use crate::{clock, entropy, service};
use boot_abi::{BootParams, ENVIRONMENT_MEMORY_IS_SHARED, GeneralParams, layout};
use snp_abi::PAGE_SIZE;
use svsm_abi::termination::Reason;
use svsm_core::boot_params;
use svsm_core::cpuid::{CpuidTable, INVLPGB, PAGE_1GB, REQUIRED};
use zerocopy::FromBytes;

/// Unwraps, or stops with a reason. The error says what was wrong with what.
macro_rules! or_stop {
    ($reason:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => fatal!($reason, "{error}"),
        }
    };
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => fatal!(error.reason, "{error}"),
        }
    };
}
use or_stop;

/// The whole boot. `c_bit`: where the boot stage found the C-bit.
pub fn run(c_bit: u32) -> ! {
    percpu::init_boot_cpu();
    descriptors::load_idt(false);

    // Without a console: what goes wrong here is told by the termination's reason alone.
    let features = or_stop!(PLATFORM.check());
    let pages = or_stop!(Reason::OutOfMemory, mm::adopt_launch_pages());
    let Some(cpuid) = CpuidTable::new(pages.cpuid) else {
        fatal!(
            Reason::CpuidPage,
            "CPUID page: {} entries",
            pages.cpuid.count
        );
    };
    let _ = CPUID.set(cpuid);
    if let Some(feature) = cpuid.missing() {
        fatal!(Reason::Feature, "the processor lacks {}", feature.name);
    }
    cpu::enable_protection();
    or_stop!(Reason::OutOfMemory, mm::switch_tables(c_bit));
    let host_features = or_stop!(PLATFORM.connect(c_bit));
    let ghcb = or_stop!(PLATFORM.new_shared_page());
    percpu::this_cpu().ghcb.set(Some(ghcb));
    or_stop!(PLATFORM.init_cpu());

    log!(
        "Macadamia SVSM {}, SEV-SNP, VMPL0",
        env!("CARGO_PKG_VERSION")
    );
    log!(
        "host: GHCB version {}, features {host_features:#x}; C-bit {c_bit}, SEV features {:#x}",
        snp_abi::ghcb::PROTOCOL_VERSION,
        features.bits()
    );
    let (params, general) = parameters();
    let shared = general.environment_info.get() & ENVIRONMENT_MEMORY_IS_SHARED != 0;
    memory::accept(&params, shared);
    percpu::set_boot_cpu_stacks(or_stop!(Reason::OutOfMemory, cpus::exception_stacks()));
    descriptors::load_idt(true);

    let launch = launch::prepare(&params, features);
    let page_map = memory::map_guest(&params, cpuid.has(PAGE_1GB));
    launch::hand_over(&params, &page_map, pages, &launch);
    let list = cpus::list(&params, general.vp_count.get());
    clock::init();
    timer();
    entropy::init();
    let services = service::start(&params);
    let kernel = cpus::start(
        &list,
        features,
        crate::kernel::Kernel {
            pages: page_map,
            vcpus: cpus::table(&list),
            services,
            lock: svsm_core::sync::CallLock::new(),
            machine: crate::machine::Machine {
                boot_vmsa: launch.vmsa,
                invlpgb: cpuid.has(INVLPGB),
            },
            guest_features: launch.features,
        },
    );
    ready(kernel);
    launch::start(&params, kernel, &launch)
}

/// The boot CPU's timer.
fn timer() {
    let page = or_stop!(PLATFORM.new_shared_page());
    if let Err(error) = PLATFORM.init_timer(page) {
        log!("the host has no timer for services: {error}; their slices have no end");
    }
}

/// The measured parameters and those of the host.
fn parameters() -> (BootParams, GeneralParams) {
    let Some(page) = mm::parameters(layout::BOOT_PARAMS_GPA, PAGE_SIZE) else {
        fatal!(
            Reason::BootParams,
            "boot parameters: not within the parameters"
        );
    };
    let params = or_stop!(
        Reason::BootParams,
        boot_params::check(page, mm::image_end())
    );
    let general = mm::parameters(params.general_params_gpa.get(), PAGE_SIZE)
        .and_then(|page| GeneralParams::read_from_prefix(page).ok());
    let Some((general, _)) = general else {
        fatal!(
            Reason::BootParams,
            "general parameters: not within the parameters"
        );
    };
    (params, general)
}

/// The line that says that the SVSM is up.
fn ready(kernel: &crate::kernel::Kernel) {
    let online = kernel.vcpus.iter().filter(|vcpu| vcpu.is_online()).count();
    let total = layout::SVSM_SIZE / 1024;
    log!(
        "ready: {online} vCPUs, {} MiB guest RAM, {} KiB of {total} KiB used, features {} {} {} {} WP",
        kernel.pages.ram().bytes() >> 20,
        total - mm::free_kib(),
        REQUIRED[0].name,
        REQUIRED[1].name,
        REQUIRED[2].name,
        REQUIRED[3].name,
    );
}
