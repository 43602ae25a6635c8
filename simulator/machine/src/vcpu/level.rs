//! One VMPL of a vCPU, while it does not run.

use crate::arch::guest;
use crate::arch::lock::SpinLock;
use crate::arch::phys;
use snp_abi::vmsa::Vmsa;
use snp_abi::{SevFeatures, Vmpl, ghcb_msr};
use snp_model::lapic::LocalApic;
use zerocopy::IntoBytes;

/// Bytes of a VMSA page that mean something.
const VMSA_BYTES: usize = core::mem::offset_of!(Vmsa, reserved_670);

/// The GHCB protocol versions that the machine speaks.
const PROTOCOL: (u16, u16) = (1, 2);

/// What a VMPL of a vCPU is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LevelState {
    /// It has no VMSA.
    Absent,
    /// It has a VMSA and waits for INIT or for another VMPL's request.
    Waiting,
    /// It runs or can run.
    Runnable,
    /// It asked for another VMPL and waits for being asked for in turn.
    Suspended,
    /// HLT.
    Halted,
    /// AP reset hold: waits for a start-up IPI or a new VMSA.
    Held,
    /// VMRUN does not take its VMSA.
    Refused,
}

/// The VMPL.
pub struct Level {
    state: LevelState,
    vmsa: Option<u64>,
    /// GHCB MSR.
    pub ghcb_msr: u64,
    /// GPA of the registered GHCB.
    pub registered: Option<u64>,
    /// GPA of the #HV doorbell page.
    pub doorbell: Option<u64>,
    /// Its local APIC, if it has restricted injection; else the processor's is the VMPL's.
    pub apic: LocalApic,
    /// #HV is to be delivered.
    pub(super) signal: bool,
    /// NMIs are blocked until the guest says that its handler is done.
    pub nmi_blocked: bool,
    /// RFLAGS.IF at HLT.
    pub interrupts_on: bool,
    /// VMSA to start from at the next INIT.
    pub(super) on_init: Option<u64>,
    /// VMRUN has taken its VMSA before.
    pub(super) ran: bool,
    pub(super) loaded_at: Option<(u64, u64)>,
    pub(super) shadow: u64,
    pub(super) tpr: u32,
    pub(super) reinject: u64,
}

impl Level {
    /// A VMPL without VMSA.
    pub const fn new() -> Level {
        Level {
            state: LevelState::Absent,
            vmsa: None,
            ghcb_msr: ghcb_msr::sev_info(PROTOCOL.0, PROTOCOL.1, crate::GEOMETRY.c_bit),
            registered: None,
            doorbell: None,
            apic: LocalApic::new(),
            signal: false,
            nmi_blocked: false,
            interrupts_on: false,
            on_init: None,
            ran: false,
            loaded_at: None,
            shadow: 0,
            tpr: 0,
            reinject: 0,
        }
    }

    /// A VMPL that starts from the VMSA at `vmsa`, now or when it is asked for.
    pub const fn started(vmsa: u64, now: bool) -> Level {
        Level {
            state: if now {
                LevelState::Runnable
            } else {
                LevelState::Waiting
            },
            vmsa: Some(vmsa),
            ..Level::new()
        }
    }

    /// What it does.
    pub fn state(&self) -> LevelState {
        self.state
    }

    /// Changes what it does.
    pub fn set_state(&mut self, state: LevelState) {
        self.state = state;
    }

    /// GPA of its VMSA.
    pub fn vmsa(&self) -> Option<u64> {
        self.vmsa
    }
}

/// The value of the GHCB MSR at reset and the answer to the information request.
pub const fn sev_info() -> u64 {
    Level::new().ghcb_msr
}

static FEATURES: SpinLock<[Option<u64>; Vmpl::COUNT]> = SpinLock::new([None; Vmpl::COUNT]);

/// SEV_FEATURES that every VMSA of this VMPL must have.
pub fn features_of(vmpl: Vmpl) -> Option<SevFeatures> {
    FEATURES.lock()[vmpl.index()].map(SevFeatures::from_bits_retain)
}

/// The first VMSA of a VMPL decides.
pub fn fix_features(vmpl: Vmpl, features: u64) {
    FEATURES.lock()[vmpl.index()].get_or_insert(features);
}

/// Copies a VMSA page's contents.
pub(super) fn read_vmsa(hpa: u64, vmsa: &mut Vmsa) {
    phys::read(hpa, &mut vmsa.as_mut_bytes()[..VMSA_BYTES]);
}

/// Copies state into a VMSA page.
pub(super) fn write_vmsa(hpa: u64, vmsa: &Vmsa) {
    guest::write(hpa, &vmsa.as_bytes()[..VMSA_BYTES]);
}
