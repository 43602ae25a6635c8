//! The engine as its user sees it.

use alloc::boxed::Box;

use crate::platform::Platform;
use crate::rc::Rc;

/// A TPM on a platform.
pub struct Tpm<P: Platform> {
    platform: P,
    state: Box<()>,
}

/// The longest command and the longest response, in bytes.
pub const MAX_COMMAND_SIZE: usize = 4096;

impl<P: Platform> Tpm<P> {
    /// Power on (_TPM_Init): reads the state from the store, and manufactures a TPM where there is none.
    pub fn new(platform: P) -> Tpm<P> {
        Tpm {
            platform,
            state: Box::new(()),
        }
    }

    /// Power off and on again (_TPM_Init): what is volatile is lost, the state is read from the store.
    pub fn init(&mut self) {
        self.state = Box::new(());
    }

    /// The platform.
    pub fn platform(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Executes `command` at `locality` and returns the response. Everything is allowed as a command.
    pub fn execute<'r>(
        &mut self,
        locality: u8,
        command: &[u8],
        response: &'r mut [u8; MAX_COMMAND_SIZE],
    ) -> &'r [u8] {
        let _ = (locality, command);
        let mut at = 0;
        for byte in [0x80, 0x01, 0, 0, 0, 10]
            .into_iter()
            .chain(Rc::COMMAND_CODE.value().to_be_bytes())
        {
            if let Some(place) = response.get_mut(at) {
                *place = byte;
            }
            at = at.saturating_add(1);
        }
        response.get(..10).unwrap_or(&[])
    }

    /// _TPM_Hash_Start: the host's root of trust begins a measurement into the D-RTM's PCR (Part 1 §34.3).
    pub fn hash_start(&mut self) {}

    /// _TPM_Hash_Data.
    pub fn hash_data(&mut self, _data: &[u8]) {}

    /// _TPM_Hash_End.
    pub fn hash_end(&mut self) {}

    /// Whether a _TPM_Hash sequence has been made since power on (the interface's tpmEstablished flag).
    pub fn established(&self) -> bool {
        false
    }

    /// Clears the tpmEstablished flag.
    pub fn reset_established(&mut self) {}
}
