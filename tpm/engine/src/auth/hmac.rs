//! cpHash, rpHash, the HMACs of sessions, and the encryption of parameters (Part 1 §14.8, §16.6.5, §18).

use zeroize::{Zeroize, Zeroizing};

use super::response::RpHash;
use super::{AuthArea, Command, can_encrypt};
use crate::buf::{Buf, ct_eq};
use crate::crypto::hash::{Hasher, digest};
use crate::crypto::hmac::hmac;
use crate::crypto::kdf::kdfa;
use crate::crypto::sym;
use crate::entity;
use crate::limits::{MAX_AUTH, MAX_DIGEST, MAX_SYM_KEY_BYTES};
use crate::rc::{Rc, Result};
use crate::session::Session;
use crate::state::State;
use crate::types::{Digest, HashAlg, SymDef};

const BLOCK_BITS: u32 = 8 * sym::BLOCK as u32;

/// A session's key with an authorization value behind it.
type SessionValue = Zeroizing<Buf<{ MAX_DIGEST + MAX_AUTH }>>;

/// cpHash: command code, Names of the handles, parameters.
pub(crate) fn cp_hash(s: &State, hash: HashAlg, command: &Command<'_>) -> Digest {
    let mut hasher = Hasher::new(hash);
    hasher.update(&command.info.cc.to_be_bytes());
    hash_names(s, &mut hasher, command);
    hasher.update(command.params);
    hasher.finish()
}

/// The Names of the handles, one behind the other.
pub(super) fn hash_names(s: &State, hasher: &mut Hasher, command: &Command<'_>) {
    for handle in command.handles() {
        entity::with_name(s, *handle, |name| hasher.update(name));
    }
}

/// rpHash: response code, command code, parameters.
pub(super) fn rp_hash(hash: HashAlg, cc: u32, params: &[u8]) -> Digest {
    digest(hash, &[&[0; 4], &cc.to_be_bytes(), params])
}

fn session_value(state: &Session, auth: &[u8]) -> Result<SessionValue> {
    let mut value = Zeroizing::new(Buf::from_prefix(&state.key));
    value.extend(auth)?;
    Ok(value)
}

impl AuthArea<'_> {
    /// The authorization value of what session `n` authorizes; empty where it authorizes nothing.
    fn auth_of<'s>(&'s self, s: &'s State, n: usize) -> Result<&'s [u8]> {
        let Some(handle) = self.get(n)?.entity else {
            return Ok(&[]);
        };
        match &self.flushed {
            Some(auth) if entity::check(s, handle, 0).is_err() => Ok(auth),
            _ => Ok(entity::auth_value(s, handle)),
        }
    }

    fn hmac_key(&self, s: &State, n: usize) -> Result<SessionValue> {
        let auth = if self.get(n)?.include_auth {
            self.auth_of(s, n)?
        } else {
            &[]
        };
        session_value(self.state_of(s, n)?, auth)
    }

    /// Checks the HMAC of session `n`.
    pub(super) fn check_hmac(&self, s: &mut State, command: &Command<'_>, n: usize) -> Result<()> {
        let session = self.get(n)?;
        let state = self.state_of(s, n)?;
        let key = self.hmac_key(s, n)?;
        // Part 1 §16.6.16: without a key there need not be an HMAC.
        if key.is_empty() && session.auth.is_empty() {
            return Ok(());
        }
        // Part 1 §16.6.3.4: the first session binds the nonces of those that encrypt.
        let nonce_of = |other: Option<usize>| -> Result<&[u8]> {
            match other {
                Some(other) if n == 0 && other != 0 => Ok(&self.state_of(s, other)?.nonce_tpm),
                _ => Ok(&[]),
            }
        };
        let encrypt = self.encrypt.filter(|other| self.decrypt != Some(*other));
        let expected = hmac(
            state.hash,
            &key,
            &[
                &cp_hash(s, state.hash, command),
                session.nonce_caller,
                &state.nonce_tpm,
                nonce_of(self.decrypt)?,
                nonce_of(encrypt)?,
                &[session.attributes.bits()],
            ],
        );
        if ct_eq(&expected, session.auth) {
            Ok(())
        } else {
            Err(self.failed(s, n))
        }
    }

    /// The HMAC of session `n` in the response, or nothing where it has none.
    pub(super) fn response_hmac(
        &self,
        s: &State,
        n: usize,
        attributes: u8,
        rp: &mut RpHash<'_>,
    ) -> Result<Digest> {
        let session = self.get(n)?;
        let state = self.state_of(s, n)?;
        let key = self.hmac_key(s, n)?;
        let password = state.policy.password_needed && session.entity.is_some();
        if password || key.is_empty() && session.auth.is_empty() {
            return Ok(Digest::new());
        }
        let parts: [&[u8]; 4] = [
            rp.get(state.hash),
            &state.nonce_tpm,
            session.nonce_caller,
            &[attributes],
        ];
        Ok(hmac(state.hash, &key, &parts))
    }

    /// Decrypts the first parameter of the command, whose parameters are copied to the start of `scratch` for it. Returns how
    /// many bytes that are, or nothing where no session decrypts.
    pub fn decrypt(&self, s: &State, params: &[u8], scratch: &mut [u8]) -> Result<Option<usize>> {
        let Some(n) = self.decrypt else {
            return Ok(None);
        };
        self.decrypt_by(s, n, params, scratch)
            .map(Some)
            .map_err(|rc| rc.session(n.saturating_add(1)))
    }

    fn decrypt_by(&self, s: &State, n: usize, params: &[u8], scratch: &mut [u8]) -> Result<usize> {
        let copy = scratch.get_mut(..params.len()).ok_or(Rc::SIZE)?;
        copy.copy_from_slice(params);
        let state = self.state_of(s, n)?;
        let value = session_value(state, self.auth_of(s, n)?)?;
        let data = first_parameter(copy)?;
        crypt(
            state,
            &value,
            self.get(n)?.nonce_caller,
            &state.nonce_tpm,
            false,
            data,
        )?;
        Ok(params.len())
    }

    /// Encrypts the first of the response's parameters.
    pub(super) fn encrypt(&self, s: &State, params: &mut [u8]) -> Result<()> {
        let Some(n) = self.encrypt else {
            return Ok(());
        };
        let state = self.state_of(s, n)?;
        let value = session_value(state, self.auth_of(s, n)?)?;
        let data = first_parameter(params)?;
        crypt(
            state,
            &value,
            &state.nonce_tpm,
            self.get(n)?.nonce_caller,
            true,
            data,
        )
    }
}

/// The bytes of the TPM2B at the start of `params`.
fn first_parameter(params: &mut [u8]) -> Result<&mut [u8]> {
    let (size, rest) = params
        .split_first_chunk_mut::<2>()
        .ok_or(Rc::INSUFFICIENT)?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*size)))
        .ok_or(Rc::SIZE)
}

fn crypt(
    state: &Session,
    value: &[u8],
    newer: &[u8],
    older: &[u8],
    encrypt: bool,
    data: &mut [u8],
) -> Result<()> {
    if !can_encrypt(state) {
        return Err(Rc::SYMMETRIC);
    }
    match state.symmetric {
        SymDef::Aes { bits, .. } => {
            let mut derived = [0; MAX_SYM_KEY_BYTES + sym::BLOCK];
            let key_len = usize::from(bits / 8);
            let both = derived
                .get_mut(..key_len.saturating_add(sym::BLOCK))
                .ok_or(Rc::FAILURE)?;
            let bits = u32::from(bits).saturating_add(BLOCK_BITS);
            kdfa(state.hash, value, b"CFB", newer, older, bits, both);
            let done = match both.split_at_checked(key_len) {
                Some((key, iv)) => match iv.first_chunk() {
                    Some(iv) if encrypt => sym::cfb_encrypt(key, iv, data),
                    Some(iv) => sym::cfb_decrypt(key, iv, data),
                    None => return Err(Rc::FAILURE),
                },
                None => return Err(Rc::FAILURE),
            };
            derived.zeroize();
            done.map_err(|_| Rc::FAILURE)
        }
        _ => {
            sym::xor_obfuscate(state.hash, value, newer, older, data);
            Ok(())
        }
    }
}
