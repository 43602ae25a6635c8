//! State that all CPUs share, complete before the second one runs.

use crate::arch::sync::Once;
use crate::machine::Machine;
use crate::service::Services;
use snp_abi::SevFeatures;
use svsm_core::core_protocol::CoreProtocol;
use svsm_core::cpuid::CpuidTable;
use svsm_core::page_map::PageMap;
use svsm_core::sync::CallLock;
use svsm_core::vcpu::{Vcpu, VcpuTable};

/// The state.
pub struct Kernel {
    /// Who owns which page of guest RAM.
    pub pages: PageMap<'static>,
    /// The vCPUs; the boot CPU is the first.
    pub vcpus: &'static [Vcpu],
    /// Orders calls.
    pub lock: CallLock,
    /// Guest memory.
    pub machine: Machine,
    /// The ring-3 services.
    pub services: Services,
    /// SEV features of the guest's level.
    pub guest_features: SevFeatures,
}

impl Kernel {
    /// The core protocol.
    pub fn core_protocol(&'static self) -> CoreProtocol<'static, Machine> {
        CoreProtocol {
            pages: &self.pages,
            vcpus: VcpuTable(self.vcpus),
            lock: &self.lock,
            machine: &self.machine,
            guest_features: self.guest_features,
            served: self.services.served(),
        }
    }
}

/// The only one there is.
pub static KERNEL: Once<Kernel> = Once::new();

/// CPUID, from the firmware's page.
pub static CPUID: Once<CpuidTable<'static>> = Once::new();

/// CPUID, once its page is copied.
pub fn cpuid() -> Option<&'static CpuidTable<'static>> {
    CPUID.get()
}
