//! What differs between platforms, behind one small trait. Protocols, memory management and the logic in `svsm_core` know
//! none of it.

mod native;
mod snp;

use crate::arch::traps::TrapFrame;
use crate::mm::SharedPage;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use snp_abi::SevFeatures;
use snp_abi::cpuid::CpuidPage;
use snp_abi::secrets::SecretsPage;
use svsm_abi::termination::Reason;
use svsm_core::host_answer::HostError;
use svsm_core::vmsa::ApStart;

/// Which platform this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// AMD SEV-SNP.
    Snp,
    /// A machine that isolates nothing.
    Native,
}

impl Kind {
    /// Whether the host is kept out.
    pub fn is_confidential(self) -> bool {
        self == Kind::Snp
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Snp => "SEV-SNP",
            Kind::Native => "native",
        })
    }
}

/// Set on the native platform. What is confidential cannot be taken for what is not, since the boot stage was told by a
/// register that is measured.
static NATIVE: AtomicBool = AtomicBool::new(false);

/// Says which platform this is. First of all.
pub fn choose(kind: Kind) {
    NATIVE.store(kind == Kind::Native, Ordering::Relaxed);
}

/// Which platform this is.
pub fn kind() -> Kind {
    if NATIVE.load(Ordering::Relaxed) {
        Kind::Native
    } else {
        Kind::Snp
    }
}

/// The platform.
pub fn platform() -> &'static dyn Platform {
    match kind() {
        Kind::Snp => &snp::Snp,
        Kind::Native => &native::Native,
    }
}

/// What a platform says of itself, and what it hands the SVSM.
pub struct Connection {
    /// SEV features that this level runs with.
    pub features: SevFeatures,
    /// What the host says it can.
    pub host_features: u64,
    /// APIC ID of the boot CPU.
    pub boot_apic_id: u32,
    /// CPUID, from the most trustworthy source there is.
    pub cpuid: &'static CpuidPage,
    /// Keys; not to be printed.
    pub secrets: Option<&'static mut SecretsPage>,
}

/// Pages through which a CPU talks to the host, where the platform needs such.
#[derive(Clone, Copy, Default)]
pub struct CpuPages {
    /// The GHCB.
    pub ghcb: Option<SharedPage>,
    /// Where the hypervisor says why it raised #HV.
    pub doorbell: Option<SharedPage>,
}

/// A failure of the platform: with what reason to end, and what to say.
pub struct PlatformError {
    /// For the termination request.
    pub reason: Reason,
    /// For people.
    pub detail: Detail,
}

/// What a [`PlatformError`] is about.
pub enum Detail {
    /// The host's answer.
    Host(HostError),
    /// A page of the SVSM's.
    Page(crate::mm::OwnPageError),
    /// Something else: a text and a value.
    Value(&'static str, u64),
}

impl core::fmt::Display for PlatformError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.detail {
            Detail::Host(error) => error.fmt(f),
            Detail::Page(error) => error.fmt(f),
            Detail::Value(text, value) => write!(f, "{text} {value:#x}"),
        }
    }
}

impl From<HostError> for PlatformError {
    fn from(error: HostError) -> PlatformError {
        PlatformError {
            reason: Reason::HostAnswer,
            detail: Detail::Host(error),
        }
    }
}

impl From<crate::mm::OwnPageError> for PlatformError {
    fn from(error: crate::mm::OwnPageError) -> PlatformError {
        let reason = match error {
            crate::mm::OwnPageError::OutOfMemory => Reason::OutOfMemory,
            crate::mm::OwnPageError::Instruction { .. } => Reason::Validation,
        };
        PlatformError {
            reason,
            detail: Detail::Page(error),
        }
    }
}

/// A result with [`PlatformError`].
pub type PlatformResult<T> = Result<T, PlatformError>;

impl From<crate::mm::OutOfMemory> for PlatformError {
    fn from(_: crate::mm::OutOfMemory) -> PlatformError {
        crate::mm::OwnPageError::OutOfMemory.into()
    }
}

/// What the SVSM needs of the platform below it.
pub trait Platform: Sync {
    /// Checks that this is the platform, in a state that is understood, and agrees with the host on how to talk; `c_bit` is
    /// where CPUID has the C-bit. On the boot stage's page tables.
    fn connect(&self, c_bit: u32) -> PlatformResult<Connection>;
    /// What a CPU talks to the host with.
    fn new_cpu_pages(&self) -> PlatformResult<CpuPages>;
    /// Makes this CPU ready: what it talks to the host with, its interrupts, its timer. On each CPU. Without a timer a service's
    /// slices end when the service has an answer.
    fn init_cpu(&self) -> PlatformResult<()>;
    /// Writes to the serial port; nowhere while this CPU cannot.
    fn console_write(&self, bytes: &[u8]);
    /// Ends the VM.
    fn terminate(&self, reason: Reason) -> !;
    /// Makes memory of the SVSM's that was not launched usable: private if the host has it, and validated.
    fn accept_own_memory(&self, range: Range<u64>, shared: bool) -> PlatformResult<()>;
    /// Starts an AP of the SVSM's, which goes where `start` says.
    fn start_cpu(
        &self,
        apic_id: u32,
        start: &'static ApStart,
        features: SevFeatures,
    ) -> PlatformResult<()>;
    /// Interrupts another CPU of the SVSM's. Nothing but tests needs it today.
    #[cfg(feature = "tests")]
    fn send_ipi(&self, apic_id: u32) -> PlatformResult<()>;
    /// Has another CPU enter the debugger; `false` where it does so only when it comes by.
    #[cfg(feature = "gdb")]
    fn stop_cpu(&self, apic_id: u32) -> bool;
    /// Notes what was signalled here, if anything was. On SEV-SNP it does not wait: a signal that came before HLT would not end
    /// it.
    #[cfg(feature = "tests")]
    fn take_signal(&self);
    /// Sends a CPU an NMI.
    #[cfg(feature = "tests")]
    fn send_nmi(&self, apic_id: u32) -> PlatformResult<()>;
    /// Has the host make a page of guest RAM private, as a guest would before it has the page validated.
    #[cfg(feature = "tests")]
    fn make_private(&self, gpa: u64) -> PlatformResult<()>;
    /// Waits until this CPU is wanted: by an interrupt, or because the guest's level here wants to run the SVSM.
    fn idle(&self);
    /// Has this CPU interrupted after so many nanoseconds, or with 0 not at all, if it has a timer; what interrupted it before is
    /// done.
    fn set_timer(&self, nanoseconds: u64);
    /// Before a service runs: leaves nothing for which an exit of the service's making could ask the host.
    fn calm(&self);
    /// Tells the host which VMSA the boot CPU runs at the guest's level.
    fn register_guest(&self, apic_id: u32, vmsa: u64, features: SevFeatures) -> PlatformResult<()>;
    /// Runs the guest's level on this CPU, until it wants to run the SVSM.
    fn run_guest(&self) -> PlatformResult<()>;
    /// Executes the instruction of the SVSM's own for which the platform raised an exception.
    fn emulate(&self, frame: &mut TrapFrame) -> Result<(), ()>;
}
