//! What differs between confidential-computing platforms, behind one small trait. Protocols, memory management and the
//! logic in `svsm_core` know none of it.

mod snp;

use crate::arch::traps::TrapFrame;
use crate::mm::SharedPage;
use core::ops::Range;
use snp_abi::SevFeatures;
use svsm_abi::termination::Reason;
use svsm_core::host_answer::HostError;
use svsm_core::vmsa::ApStart;

/// The platform of this build. There is one today.
pub static PLATFORM: &dyn Platform = &snp::Snp;

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

/// What the SVSM needs of the platform below it.
pub trait Platform: Sync {
    /// Checks that this is the platform, in a state that is understood. Before there is a console. Returns the features
    /// that this level runs with.
    fn check(&self) -> PlatformResult<SevFeatures>;
    /// Agrees with the host on how to talk; `c_bit` is where CPUID has the C-bit. Returns the host's features.
    fn connect(&self, c_bit: u32) -> PlatformResult<u64>;
    /// A page for talking to the host; one for each CPU.
    fn new_shared_page(&self) -> PlatformResult<SharedPage>;
    /// Makes this CPU's shared page known to the host. On each CPU.
    fn init_cpu(&self) -> PlatformResult<()>;
    /// Writes to the serial port; nowhere while this CPU has no shared page.
    fn console_write(&self, bytes: &[u8]);
    /// Ends the VM.
    fn terminate(&self, reason: Reason) -> !;
    /// Makes memory of the SVSM's that was not launched usable: private if the host has it, and validated.
    fn accept_own_memory(&self, range: Range<u64>, shared: bool) -> PlatformResult<()>;
    /// Starts an AP of the SVSM's.
    fn start_cpu(&self, apic_id: u32, start: &ApStart, features: SevFeatures)
    -> PlatformResult<()>;
    /// Tells the host which VMSA the boot CPU runs at the guest's level.
    fn register_guest(&self, apic_id: u32, vmsa: u64, features: SevFeatures) -> PlatformResult<()>;
    /// Gives this CPU a timer, with a page for what the host says about it. On each CPU. Without a timer a service's slices end
    /// when the service has an answer.
    fn init_timer(&self, page: SharedPage) -> PlatformResult<()>;
    /// Has this CPU interrupted after so many nanoseconds, or with 0 not at all, if it has a timer. not before, by the host's clock.
    fn set_timer(&self, nanoseconds: u64);
    /// Before a service runs: leaves nothing for which an exit of the service's making could ask the host.
    fn calm(&self);
    /// Runs the guest's level on this CPU, until it wants to run the SVSM.
    fn run_guest(&self) -> PlatformResult<()>;
    /// Waits until the guest's level on this CPU wants to run the SVSM.
    fn idle(&self);
    /// Executes the instruction of the SVSM's own for which the platform raised an exception.
    fn emulate(&self, frame: &mut TrapFrame) -> Result<(), ()>;
}
