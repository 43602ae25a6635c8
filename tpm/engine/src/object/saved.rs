//! How saved contexts are protected (Part 1 §27.3): encrypted and authenticated with keys from the proof value of their
//! hierarchy, so that a change of the seed ends them; and with totalResetCount, so that a TPM Reset does.

use crate::buf::{Secret, ct_eq};
use crate::codec::{Reader, Writer};
use crate::crypto::hmac::hmac;
use crate::crypto::kdf::kdfa;
use crate::crypto::sym::{self, BLOCK};
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::ticket::CONTEXT_HASH;
use crate::types::{Digest, rh};

/// Longest contents of a context, its sequence number included: a persistent object's record, a session, or three hashers.
pub(crate) const MAX_CONTEXT: usize = super::store::MAX_STORED + 256;
/// savedHandle of a transient object.
pub(crate) const OBJECT: u32 = 0x8000_0000;
/// savedHandle of a sequence.
pub(crate) const SEQUENCE: u32 = 0x8000_0001;
/// savedHandle of a transient object that has, or is under one that has, stClear.
pub(crate) const ST_CLEAR: u32 = 0x8000_0002;

/// Contents of a context.
pub(crate) type Contents = Secret<MAX_CONTEXT>;

/// TPMS_CONTEXT without its contents.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// Number of the context, among those of objects or those of sessions.
    pub sequence: u64,
    /// Handle of a session, or one of the constants above.
    pub handle: u32,
    /// TPM_RH of the hierarchy.
    pub hierarchy: u32,
}

/// Bytes of the key and the IV: AES-256.
const KEY: usize = 32;

impl Header {
    /// TPMS_CONTEXT up to its contents.
    ///
    /// # Errors
    /// VALUE: a handle, or a hierarchy, that is none.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Header> {
        let sequence = r.u64()?;
        let handle = r.u32()?;
        if !matches!(handle, OBJECT | SEQUENCE | ST_CLEAR) && !super::is_session(handle) {
            return Err(Rc::VALUE);
        }
        let hierarchy = r.u32()?;
        match hierarchy {
            rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM | rh::NULL => Ok(Header {
                sequence,
                handle,
                hierarchy,
            }),
            _ => Err(Rc::VALUE),
        }
    }

    fn crypt(&self, s: &State, encrypt: bool, data: &mut [u8]) -> Result<()> {
        let mut keys = Secret::<{ KEY + BLOCK }>::zeroed(KEY + BLOCK);
        kdfa(
            CONTEXT_HASH,
            s.proof(self.hierarchy),
            b"SAVED CONTEXT",
            &self.sequence.to_be_bytes(),
            &self.handle.to_be_bytes(),
            ((KEY + BLOCK) * 8) as u32,
            keys.as_mut_slice(),
        );
        let (key, iv) = keys.split_at_checked(KEY).ok_or(Rc::FAILURE)?;
        let mut iv = <[u8; BLOCK]>::try_from(iv).map_err(|_| Rc::FAILURE)?;
        sym::crypt(sym::Mode::Cfb, encrypt, key, &mut iv, data).map_err(|_| Rc::FAILURE)
    }

    fn integrity(&self, s: &State, encrypted: &[u8]) -> Digest {
        let clear_count = s.reset.clear_count.to_be_bytes();
        let clear_count: &[u8] = match self.handle {
            ST_CLEAR => &clear_count,
            _ => &[],
        };
        let parts = [
            &s.perm.total_reset_count.to_be_bytes(),
            clear_count,
            &self.sequence.to_be_bytes(),
            &self.handle.to_be_bytes(),
            encrypted,
        ];
        hmac(CONTEXT_HASH, s.proof(self.hierarchy), &parts)
    }

    /// Writes TPMS_CONTEXT with what `write` writes.
    ///
    /// # Errors
    /// SIZE: it does not fit.
    pub(crate) fn protect(
        &self,
        s: &State,
        out: &mut Writer<'_>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<()> {
        let mut contents = Contents::zeroed(MAX_CONTEXT);
        let mut w = Writer::new(contents.as_mut_slice());
        w.u64(self.sequence);
        write(&mut w);
        let len = w.finish()?;
        contents.buf_mut().truncate(len);
        self.crypt(s, true, contents.as_mut_slice())?;
        out.u64(self.sequence);
        out.u32(self.handle);
        out.u32(self.hierarchy);
        out.sized(|w| {
            w.put(&self.integrity(s, &contents));
            w.bytes(&contents);
        });
        Ok(())
    }

    /// The contents of a context, its sequence number in front, from what contextBlob holds.
    ///
    /// # Errors
    /// SIZE, INTEGRITY.
    pub(crate) fn open(&self, s: &State, integrity: &[u8], encrypted: &[u8]) -> Result<Contents> {
        if integrity.len() != CONTEXT_HASH.size() || encrypted.is_empty() {
            return Err(Rc::SIZE);
        }
        if !ct_eq(integrity, &self.integrity(s, encrypted)) {
            return Err(Rc::INTEGRITY);
        }
        let mut contents = Contents::from_slice(encrypted)?;
        self.crypt(s, false, contents.as_mut_slice())?;
        Ok(contents)
    }
}
