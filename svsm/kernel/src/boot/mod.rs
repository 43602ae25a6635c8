//! Boot, phase by phase, on the boot CPU: from what the image's VMSA starts with to a running guest.

mod cpus;
mod launch;
mod memory;

use crate::arch::{cpu, descriptors, percpu};
use crate::console::log;
use crate::fatal::fatal;
use crate::kernel::CPUID;
use crate::mm;
use crate::platform::{self, Connection, CpuPages, Kind, platform};
use crate::{clock, entropy, service};
use boot_abi::{BootParams, ENVIRONMENT_MEMORY_IS_SHARED, GeneralParams, layout};
use snp_abi::PAGE_SIZE;
use svsm_abi::termination::Reason;
use svsm_core::boot_params;
use svsm_core::cpuid::{CpuidTable, INVLPGB, PAGE_1GB};
use svsm_core::policy::Policy;
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

/// The whole boot. `c_bit`: where the boot stage found the C-bit. `native_base`: on the native platform, where the SVSM's
/// memory is; elsewhere 0.
pub fn run(c_bit: u32, native_base: u32) -> ! {
    percpu::init_boot_cpu();
    descriptors::load_idt(false);
    if native_base != 0 {
        platform::choose(Kind::Native);
        mm::set_base(native_base.into());
    }

    // Without a console: what goes wrong here is told by the termination's reason alone.
    mm::release_early_frames();
    let Connection {
        features,
        host_features,
        boot_apic_id,
        cpuid: page,
        secrets,
    } = or_stop!(platform().connect(c_bit));
    let Some(cpuid) = CpuidTable::new(page) else {
        fatal!(Reason::CpuidPage, "CPUID page: {} entries", page.count);
    };
    let _ = CPUID.set(cpuid);
    let policy = Policy::of(&cpuid);
    cpu::enable_protection(&policy);
    or_stop!(Reason::OutOfMemory, mm::switch_tables(c_bit, policy.nx));
    percpu::set_boot_cpu_stacks(or_stop!(Reason::OutOfMemory, cpus::exception_stacks()));
    descriptors::load_idt(true);
    if policy.shadow_stacks {
        let stacks = or_stop!(Reason::OutOfMemory, mm::new_shadow_stacks());
        cpu::enter_shadow_stacks(&stacks);
    }
    let CpuPages { ghcb, doorbell } = or_stop!(platform().new_cpu_pages());
    percpu::this_cpu().ghcb.set(ghcb);
    percpu::this_cpu().doorbell.set(doorbell);
    or_stop!(platform().init_cpu());

    let kind = platform::kind();
    log!(
        "Macadamia SVSM {}, {kind}{}",
        env!("CARGO_PKG_VERSION"),
        if kind.is_confidential() {
            ", VMPL0"
        } else {
            ": nothing is kept from the host"
        }
    );
    if kind.is_confidential() {
        log!(
            "host: GHCB version {}, features {host_features:#x}; C-bit {c_bit}, SEV features {:#x}",
            snp_abi::ghcb::PROTOCOL_VERSION,
            features.bits()
        );
    }
    log!("policy: {policy}");
    if let Some(name) = policy.missing(&cpuid, kind.is_confidential()) {
        fatal!(
            Reason::Feature,
            "policy: {name} is required on {kind} and the processor lacks it"
        );
    }
    let (params, general) = parameters();
    let shared = general.environment_info.get() & ENVIRONMENT_MEMORY_IS_SHARED != 0;
    memory::accept(&params, shared);
    #[cfg(feature = "gdb")]
    or_stop!(
        Reason::OutOfMemory,
        crate::gdb::start(general.vp_count.get() as usize)
    );

    let launch = launch::prepare(&params, features);
    let page_map = memory::map_guest(&params, cpuid.has(PAGE_1GB));
    if let Some(secrets) = secrets {
        launch::hand_over(&params, &page_map, page, secrets, &launch);
    }
    clock::init(features);
    let list = cpus::list(&params, general.vp_count.get(), boot_apic_id);
    entropy::init();
    let services = service::start(&params);
    let kernel = cpus::start(
        &list,
        features,
        crate::kernel::Kernel {
            pages: page_map,
            vcpus: cpus::table(&list, boot_apic_id),
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
    #[cfg(feature = "tests")]
    crate::tests::run(&params, kernel);
    launch::start(&params, kernel, &launch)
}

/// The measured parameters and those of the host.
fn parameters() -> (BootParams, GeneralParams) {
    let Some(page) = mm::parameters(mm::base() + layout::PARAMETERS_OFFSET, PAGE_SIZE) else {
        fatal!(
            Reason::BootParams,
            "boot parameters: not within the parameters"
        );
    };
    let params = or_stop!(
        Reason::BootParams,
        boot_params::check(page, mm::base(), mm::image_end())
    );
    let flags = if cfg!(feature = "gdb") {
        boot_abi::FLAG_DEBUGGER
    } else {
        0
    };
    or_stop!(Reason::BootParams, boot_params::check_flags(&params, flags));
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
        "ready: {online} vCPUs, {} MiB guest RAM, {} KiB of {total} KiB used",
        kernel.pages.ram().bytes() >> 20,
        total - mm::free_kib(),
    );
}
