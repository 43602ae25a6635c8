//! The state of a TPM: what outlasts power (records of the store, see [`crate::persist`]), what outlasts a Shutdown(STATE),
//! what is lost.

use alloc::vec::Vec;
use core::cell::RefCell;

use crate::buf::Secret;
use crate::clock::Clock;
use crate::crypto::drbg::Drbg;
use crate::limits::{DEFAULT_LOCKOUT_RECOVERY, DEFAULT_MAX_TRIES, DEFAULT_RECOVERY_TIME, MAX_AUTH};
use crate::nv::NvStore;
use crate::object::Objects;
use crate::pcr::Pcrs;
use crate::persist::Dirty;
use crate::session::Sessions;
use crate::ticket;
use crate::types::{Digest, HashAlg, Name, hr, rh};

/// A hierarchy's or entity's policy: TPMT_HA where NULL means none.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `None`: there is no policy.
    pub hash: Option<HashAlg>,
    /// As long as the hash says, or empty.
    pub digest: Digest,
}

/// Authorization value and policy of a hierarchy.
#[derive(Clone, Default)]
pub struct Authorization {
    /// Without zeros at its end.
    pub auth: Secret<MAX_AUTH>,
    /// The policy.
    pub policy: Policy,
}

/// What one hierarchy's keys and tickets come from.
#[derive(Clone, Default)]
pub struct Seeds {
    /// Primary seed.
    pub seed: Secret<MAX_AUTH>,
    /// Proof value.
    pub proof: Secret<MAX_AUTH>,
}

/// How the last session of the TPM ended (Part 1 §12.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Shutdown {
    /// It did not, or something changed since: not orderly.
    #[default]
    None,
    /// TPM2_Shutdown(CLEAR).
    Clear,
    /// TPM2_Shutdown(STATE).
    State,
}

/// Protection against dictionary attacks (Part 1 §17.8).
#[derive(Clone, Debug)]
pub struct DictionaryAttack {
    /// Failures that count.
    pub failed_tries: u32,
    /// Failures that lead to lockout.
    pub max_tries: u32,
    /// Seconds after which one failure is forgotten; zero disables the protection.
    pub recovery_time: u32,
    /// Seconds after a failed use of lockoutAuth before its next use; zero: until the next TPM Reset.
    pub lockout_recovery: u32,
    /// Whether lockoutAuth can be used.
    pub lockout_auth_enabled: bool,
    /// Whether an authorization that counts was tried since the last orderly shutdown: an unorderly one is a failure then.
    pub used: bool,
    /// Milliseconds of [`Clock`] when the last failure was counted or forgotten.
    pub self_heal_timer: u64,
    /// Milliseconds of [`Clock`] when lockoutAuth failed last.
    pub lockout_timer: u64,
}

/// What outlasts everything but manufacture; one record of the store.
#[derive(Clone)]
pub struct Permanent {
    /// Owner (storage) hierarchy.
    pub owner: Authorization,
    /// Endorsement hierarchy.
    pub endorsement: Authorization,
    /// Lockout.
    pub lockout: Authorization,
    /// EPS and ehProof.
    pub endorsement_seeds: Seeds,
    /// SPS and shProof.
    pub owner_seeds: Seeds,
    /// PPS and phProof.
    pub platform_seeds: Seeds,
    /// disableClear.
    pub disable_clear: bool,
    /// Dictionary attack protection.
    pub da: DictionaryAttack,
    /// Banks that PCRs have from the next TPM Reset on, as bits by [`crate::pcr::bank_of`].
    pub pcr_allocated: [u32; crate::pcr::BANKS],
    /// Policies of PCR groups: one group, with PCRs 20-22 as in the PC Client profile of the oracle; see pcr.rs.
    pub pcr_policy: Policy,
    /// TPM Resets since the last Clear (resetCount).
    pub reset_count: u32,
    /// Clears and TPM Resets of all time: never repeats.
    pub total_reset_count: u64,
    /// Greatest value that any deleted NV counter had.
    pub max_counter: u64,
    /// Hash of command audit.
    pub audit_hash: HashAlg,
    /// auditCounter.
    pub audit_counter: u64,
    /// Commands that are audited: bit n is command code 0x11F + n.
    pub audit_commands: [u8; 16],
    /// Commands that need physical presence, numbered likewise.
    pub pp_commands: [u8; 16],
    /// TPM2_SetAlgorithmSet's value.
    pub algorithm_set: u32,
    /// How the TPM was shut down last.
    pub shutdown: Shutdown,
    /// Where the last TPM2_Startup came from: 4 where a H-CRTM ran before it.
    pub startup_locality: u8,
    /// Clock at the last commit, in milliseconds.
    pub clock: u64,
    /// Whether Clock is known not to have gone back (TPMS_CLOCK_INFO.safe).
    pub clock_safe: bool,
    /// Version of the function from seed and template to a primary key; 1 today.
    pub derivation_version: u32,
}

/// STATE_RESET data: kept by Shutdown(STATE) and Startup, new at TPM Reset.
#[derive(Clone)]
pub struct ResetData {
    /// Seed and proof of the null hierarchy.
    pub null_seeds: Seeds,
    /// TPM Restarts since the last TPM Reset: contexts of stClear objects do not outlast one (clearCount).
    pub clear_count: u32,
    /// restartCount.
    pub restart_count: u32,
    /// Number of the next saved object context.
    pub object_context_id: u64,
    /// pcrUpdateCounter.
    pub pcr_counter: u32,
    /// Digest of the commands that were audited.
    pub audit_digest: Digest,
    /// Counter of TPM2_Commit / TPM2_EC_Ephemeral.
    pub commit_counter: u64,
    /// What their scalars come from.
    pub commit_nonce: Secret<MAX_AUTH>,
    /// Which of the last commits are not used yet.
    pub commit_array: [u8; 16],
}

/// STATE_CLEAR data: kept by Shutdown(STATE) and Startup(STATE).
#[derive(Clone)]
pub struct ClearData {
    /// shEnable.
    pub owner_enabled: bool,
    /// ehEnable.
    pub endorsement_enabled: bool,
    /// phEnableNV.
    pub platform_nv_enabled: bool,
    /// Platform hierarchy.
    pub platform: Authorization,
    /// Authorization value of the PCRs that have one ([`crate::pcr::in_group`]).
    pub pcr_auth: Secret<MAX_AUTH>,
}

/// Where the TPM is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// _TPM_Init was seen, TPM2_Startup not.
    Initialized,
    /// TPM2_Startup succeeded.
    Running,
    /// Only TPM2_GetTestResult and TPM2_GetCapability work.
    Failure,
}

/// The whole state.
pub struct State {
    /// Where the TPM is in its life.
    pub mode: Mode,
    /// phEnable.
    pub platform_enabled: bool,
    /// What outlasts power.
    pub perm: Permanent,
    /// What a TPM Reset makes anew.
    pub reset: ResetData,
    /// What a TPM Restart makes anew.
    pub clear: ClearData,
    /// Platform Configuration Registers.
    pub pcr: Pcrs,
    /// Loaded and persistent objects, sequences.
    pub objects: Objects,
    /// Sessions.
    pub sessions: Sessions,
    /// NV indices.
    pub nv: NvStore,
    /// Time.
    pub clock: Clock,
    /// Random numbers.
    pub drbg: Drbg,
    /// Records that differ from the store.
    pub dirty: Dirty,
    /// Whether a _TPM_Hash sequence ran before Startup (H-CRTM), and whether D-RTM ran since.
    pub drtm: bool,
    /// The tpmEstablished flag.
    pub established: bool,
    /// Whether the last TPM2_Startup followed an orderly shutdown (TPMA_STARTUP_CLEAR.orderly).
    pub orderly: bool,
    /// Whether the store had the record of a Shutdown(STATE) at power on.
    pub orderly_record: bool,
    /// The key of the last ticket.
    pub ticket_key: RefCell<Option<ticket::Key>>,
    /// Room for records that are written; allocated at power on.
    pub scratch: Vec<u8>,
}

impl Policy {
    /// No policy.
    pub const NONE: Policy = Policy {
        hash: None,
        digest: Digest::new(),
    };
}

impl Authorization {
    /// The empty value, and no policy.
    pub const EMPTY: Authorization = Authorization {
        auth: Secret::new(),
        policy: Policy::NONE,
    };
}

impl Seeds {
    /// None yet.
    pub const EMPTY: Seeds = Seeds {
        seed: Secret::new(),
        proof: Secret::new(),
    };
}

impl DictionaryAttack {
    /// Of a new TPM.
    pub const DEFAULT: DictionaryAttack = DictionaryAttack {
        failed_tries: 0,
        max_tries: DEFAULT_MAX_TRIES,
        recovery_time: DEFAULT_RECOVERY_TIME,
        lockout_recovery: DEFAULT_LOCKOUT_RECOVERY,
        lockout_auth_enabled: true,
        used: false,
        self_heal_timer: 0,
        lockout_timer: 0,
    };
}

impl Permanent {
    /// Of a new TPM, but without seeds.
    pub const BLANK: Permanent = Permanent {
        owner: Authorization::EMPTY,
        endorsement: Authorization::EMPTY,
        lockout: Authorization::EMPTY,
        endorsement_seeds: Seeds::EMPTY,
        owner_seeds: Seeds::EMPTY,
        platform_seeds: Seeds::EMPTY,
        disable_clear: false,
        da: DictionaryAttack::DEFAULT,
        pcr_allocated: crate::pcr::DEFAULT_BANKS,
        pcr_policy: Policy::NONE,
        reset_count: 0,
        total_reset_count: 0,
        max_counter: 0,
        audit_hash: HashAlg::Sha512,
        audit_counter: 0,
        // TPM2_SetCommandCodeAuditStatus itself, always.
        audit_commands: [0, 0, 0, 0, 1 << 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // TPM2_PP_Commands itself, always.
        pp_commands: [0, 1 << 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        algorithm_set: 0,
        // Nothing was lost before it was made.
        shutdown: Shutdown::Clear,
        startup_locality: 0,
        clock: 0,
        clock_safe: true,
        derivation_version: crate::object::primary::VERSION,
    };
}

impl ResetData {
    /// After a TPM Reset, but without the null seeds.
    pub const BLANK: ResetData = ResetData {
        null_seeds: Seeds::EMPTY,
        clear_count: 0,
        restart_count: 0,
        object_context_id: 0,
        pcr_counter: 0,
        audit_digest: Digest::new(),
        commit_counter: 0,
        commit_nonce: Secret::new(),
        commit_array: [0; 16],
    };
}

impl ClearData {
    /// After a TPM Reset or Restart.
    pub const BLANK: ClearData = ClearData {
        owner_enabled: true,
        endorsement_enabled: true,
        platform_nv_enabled: true,
        platform: Authorization::EMPTY,
        pcr_auth: Secret::new(),
    };
}

impl State {
    /// Before power on.
    pub const fn blank() -> State {
        State {
            mode: Mode::Initialized,
            platform_enabled: true,
            perm: Permanent::BLANK,
            reset: ResetData::BLANK,
            clear: ClearData::BLANK,
            pcr: Pcrs::new(),
            objects: Objects::new(),
            sessions: Sessions::new(),
            nv: NvStore::new(),
            clock: Clock::new(),
            drbg: Drbg::unseeded(),
            dirty: Dirty::new(),
            drtm: false,
            established: false,
            orderly: false,
            orderly_record: false,
            ticket_key: RefCell::new(None),
            scratch: Vec::new(),
        }
    }

    /// The seeds of `hierarchy`; those of the null hierarchy for any handle that is none.
    pub fn seeds(&self, hierarchy: u32) -> &Seeds {
        match hierarchy {
            rh::OWNER => &self.perm.owner_seeds,
            rh::ENDORSEMENT => &self.perm.endorsement_seeds,
            rh::PLATFORM => &self.perm.platform_seeds,
            _ => &self.reset.null_seeds,
        }
    }

    /// The proof value of `hierarchy`.
    pub fn proof(&self, hierarchy: u32) -> &[u8] {
        &self.seeds(hierarchy).proof
    }

    /// Whether keys of `hierarchy` can be used.
    pub const fn hierarchy_enabled(&self, hierarchy: u32) -> bool {
        match hierarchy {
            rh::OWNER => self.clear.owner_enabled,
            rh::ENDORSEMENT => self.clear.endorsement_enabled,
            rh::PLATFORM => self.platform_enabled,
            rh::NULL => true,
            _ => false,
        }
    }

    /// Authorization value and policy of TPM_RH_OWNER, ENDORSEMENT, PLATFORM or LOCKOUT.
    pub const fn authorization(&self, handle: u32) -> Option<&Authorization> {
        match handle {
            rh::OWNER => Some(&self.perm.owner),
            rh::ENDORSEMENT => Some(&self.perm.endorsement),
            rh::PLATFORM => Some(&self.clear.platform),
            rh::LOCKOUT => Some(&self.perm.lockout),
            _ => None,
        }
    }

    /// The same, to change.
    pub const fn authorization_mut(&mut self, handle: u32) -> Option<&mut Authorization> {
        match handle {
            rh::OWNER => Some(&mut self.perm.owner),
            rh::ENDORSEMENT => Some(&mut self.perm.endorsement),
            rh::PLATFORM => Some(&mut self.clear.platform),
            rh::LOCKOUT => Some(&mut self.perm.lockout),
            _ => None,
        }
    }

    /// The Name of any entity (Part 1 §16): empty for one that does not exist.
    pub fn name(&self, handle: u32) -> Name {
        match hr::of(handle) {
            hr::TRANSIENT | hr::PERSISTENT => self
                .objects
                .get(handle)
                .map_or_else(Name::new, |object| object.name.clone()),
            hr::NV_INDEX => self.nv.name(handle).unwrap_or_default(),
            _ => Name::from_prefix(&handle.to_be_bytes()),
        }
    }
}
