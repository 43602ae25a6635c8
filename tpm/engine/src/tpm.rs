//! The engine as its user sees it.

use alloc::boxed::Box;

use zeroize::Zeroize;

use crate::crypto::hash::Hasher;
use crate::dispatch::{self, Packet};
use crate::ek::{self, EndorsementKey};
use crate::limits;
use crate::pcr::{self, BANK_ALGS, BANKS};
use crate::persist;
use crate::platform::Platform;
use crate::startup;
use crate::state::{Mode, State};
use crate::types::Public;

/// A TPM on a platform.
pub struct Tpm<P: Platform> {
    platform: P,
    state: Box<State>,
    /// The parameters of a command whose first is encrypted, while it runs.
    scratch: Box<Packet>,
    /// The measurement between _TPM_Hash_Start and _TPM_Hash_End, in each bank's algorithm, and whether it is the H-CRTM's.
    measurement: Option<(bool, [Hasher; BANKS])>,
    endorsement_keys: ek::Cache,
}

/// The longest command and the longest response, in bytes.
pub const MAX_COMMAND_SIZE: usize = limits::MAX_COMMAND_SIZE;

impl<P: Platform> Tpm<P> {
    /// Power on (_TPM_Init): reads the state from the store, and manufactures a TPM where there is none.
    pub fn new(mut platform: P) -> Tpm<P> {
        let state = persist::power_on(&mut platform);
        Tpm {
            platform,
            state,
            scratch: Box::new([0; MAX_COMMAND_SIZE]),
            measurement: None,
            endorsement_keys: ek::Cache::default(),
        }
    }

    /// Power off and on again (_TPM_Init): what is volatile is lost, the state is read from the store.
    pub fn init(&mut self) {
        self.measurement = None;
        self.state = persist::power_on(&mut self.platform);
    }

    /// Goes into failure mode until the next power on, as if a self-test had failed: for tests of a TPM's users.
    pub const fn fail(&mut self) {
        self.state.mode = Mode::Failure;
    }

    /// The platform.
    pub const fn platform(&mut self) -> &mut P {
        &mut self.platform
    }

    /// The public area of an endorsement key, as TPM2_CreatePrimary gives it from the EK Credential Profile's template:
    /// the identity of this TPM until TPM2_ChangeEPS. Nothing where the state could not be read. The first call for an
    /// RSA key takes tens of milliseconds.
    pub fn endorsement_key(&mut self, key: EndorsementKey) -> Option<&Public> {
        self.endorsement_keys.public(&self.state, key)
    }

    /// Executes `command` at `locality` and returns the response. Everything is allowed as a command.
    pub fn execute<'r>(
        &mut self,
        locality: u8,
        command: &[u8],
        response: &'r mut [u8; MAX_COMMAND_SIZE],
    ) -> &'r [u8] {
        let len = dispatch::execute(
            &mut self.state,
            &mut self.platform,
            &mut self.scratch,
            locality,
            command,
            response,
        );
        response.get(..len).unwrap_or(&[])
    }

    /// _TPM_Hash_Start: the host's root of trust begins a measurement (Part 1 §31.3): of the H-CRTM before TPM2_Startup, of
    /// the D-RTM after it.
    pub fn hash_start(&mut self) {
        if self.state.mode != Mode::Failure {
            let hcrtm = self.state.mode == Mode::Initialized;
            self.measurement = Some((hcrtm, BANK_ALGS.map(Hasher::new)));
            self.state.established = true;
        }
    }

    /// _TPM_Hash_Data.
    pub fn hash_data(&mut self, data: &[u8]) {
        if let Some((_, hashers)) = &mut self.measurement {
            for hasher in hashers {
                hasher.update(data);
            }
        }
    }

    /// _TPM_Hash_End.
    pub fn hash_end(&mut self) {
        let Some((hcrtm, hashers)) = self.measurement.take() else {
            return;
        };
        let s = &mut *self.state;
        let pcr = match (hcrtm, s.mode) {
            (true, Mode::Initialized) => {
                // PCR 0 starts from the locality of the H-CRTM.
                s.pcr.zero(pcr::HCRTM_PCR, 4);
                s.drtm = true;
                pcr::HCRTM_PCR
            }
            (false, Mode::Running) => {
                s.pcr.drtm_reset();
                s.reset.pcr_counter = s.reset.pcr_counter.wrapping_add(1);
                s.reset.restart_count = s.reset.restart_count.wrapping_add(1);
                startup::not_orderly(s);
                // A store that fails is failure mode.
                let _ = persist::commit(s, &mut self.platform);
                pcr::DRTM_PCR
            }
            // TPM2_Startup came in between: the sequence has no effect.
            _ => return,
        };
        for (alg, hasher) in BANK_ALGS.iter().zip(hashers) {
            s.pcr.extend(*alg, pcr, &hasher.finish());
        }
    }

    /// Whether a _TPM_Hash sequence has been made since power on (the interface's tpmEstablished flag).
    pub const fn established(&self) -> bool {
        self.state.established
    }

    /// Clears the tpmEstablished flag.
    pub const fn reset_established(&mut self) {
        self.state.established = false;
    }
}

impl<P: Platform> Drop for Tpm<P> {
    fn drop(&mut self) {
        self.scratch.zeroize();
    }
}
