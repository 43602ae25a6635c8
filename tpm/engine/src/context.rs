//! What a command's handler works on.

use crate::codec::{Params, Writer};
use crate::crypto::drbg::Drbg;
use crate::limits::MAX_HANDLES;
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::state::{Mode, State};

/// One command that is being executed: its handles are checked and authorized, its first parameter is decrypted.
pub(crate) struct Context<'a> {
    /// The TPM.
    pub s: &'a mut State,
    /// What is outside.
    pub platform: &'a mut dyn Platform,
    /// Where the command came from.
    pub locality: u8,
    /// The handle area, zero where there is none.
    pub handles: [u32; MAX_HANDLES],
    /// The parameters, not read yet.
    pub params: Params<'a>,
    /// The response's parameters.
    pub out: Writer<'a>,
    /// The response's handle, for commands that return one.
    pub out_handle: u32,
}

impl Context<'_> {
    /// Handle `n`, from 0.
    pub fn handle(&self, n: usize) -> u32 {
        self.handles.get(n).copied().unwrap_or(0)
    }

    /// The random number generator, seeded anew where that is due. Without entropy the TPM goes into failure mode.
    pub fn rng(&mut self) -> Result<&mut Drbg> {
        rng(self.s, self.platform)
    }
}

/// As [`Context::rng`].
pub(crate) fn rng<'s>(s: &'s mut State, platform: &mut dyn Platform) -> Result<&'s mut Drbg> {
    if s.drbg.needs_reseed() {
        let mut seed = zeroize::Zeroizing::new([0; 48]);
        if platform.entropy(seed.as_mut()).is_err() {
            s.mode = Mode::Failure;
            return Err(Rc::FAILURE);
        }
        s.drbg.reseed(seed.as_ref());
    }
    Ok(&mut s.drbg)
}
