//! Part 3 §19: ephemeral EC keys. Their scalars are not stored: each is derived from a counter and a nonce that lasts until the
//! next TPM Reset (Part 1 Annex C.2.2); which counters are not used yet is a bit each.

use crate::buf::{Buf, Secret};
use crate::context::Context;
use crate::crypto::drbg::{Drbg, Rng};
use crate::crypto::ecc;
use crate::limits::MAX_ECC_BYTES;
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::types::Curve;

/// Bits of [`crate::state::ResetData::commit_array`].
const OPEN: u64 = 128;

fn place(counter: u64) -> (usize, u8) {
    let bit = counter % OPEN;
    ((bit / 8) as usize, 1u8.wrapping_shl((bit % 8) as u32))
}

/// The counter whose low 16 bits are `counter`, if its key is not used yet.
fn open(s: &State, counter: u16) -> Option<u64> {
    let now = s.reset.commit_counter;
    let back = u64::from((now as u16).wrapping_sub(counter));
    if back == 0 || back > OPEN {
        return None;
    }
    let full = now.checked_sub(back)?;
    let (at, bit) = place(full);
    (s.reset.commit_array.get(at)? & bit != 0).then_some(full)
}

fn key(s: &State, curve: Curve, counter: u64) -> (Secret<MAX_ECC_BYTES>, Point) {
    let mut seed = Drbg::instantiate(&s.reset.commit_nonce, &counter.to_be_bytes());
    ecc::keygen(curve, &mut seed)
}

/// The scalar of an ephemeral key that is not used yet.
pub(crate) fn scalar(s: &State, curve: Curve, counter: u16) -> Option<Secret<MAX_ECC_BYTES>> {
    let full = open(s, counter)?;
    key(s, curve, full).ok().map(|(scalar, _)| scalar)
}

/// The key of `counter` is used up.
pub(crate) fn used(s: &mut State, counter: u16) {
    if let Some(full) = open(s, counter) {
        let (at, bit) = place(full);
        if let Some(byte) = s.reset.commit_array.get_mut(at) {
            *byte &= !bit;
        }
    }
}

fn next(cx: &mut Context<'_>) -> Result<u64> {
    if cx.s.reset.commit_nonce.is_empty() {
        let mut nonce = Secret::zeroed(crate::limits::MAX_AUTH);
        cx.rng()?.fill(nonce.as_mut_slice());
        cx.s.reset.commit_nonce = nonce;
    }
    Ok(cx.s.reset.commit_counter)
}

fn commit_to(s: &mut State, counter: u64) {
    let (at, bit) = place(counter);
    if let Some(byte) = s.reset.commit_array.get_mut(at) {
        *byte |= bit;
    }
    s.reset.commit_counter = counter.wrapping_add(1);
}

/// TPM2_EC_Ephemeral.
pub(crate) fn ec_ephemeral(cx: &mut Context<'_>) -> Result<()> {
    let curve: Curve = cx.params.get()?;
    cx.params.end()?;
    let counter = next(cx)?;
    let (_, point) = key(cx.s, curve, counter)?;
    commit_to(cx.s, counter);
    cx.out.sized(|w| w.put(&point));
    cx.out.u16(counter as u16);
    Ok(())
}

/// TPM2_Commit: needs a key with an anonymous scheme (ECDAA), which the profile does not have.
pub(crate) fn commit(cx: &mut Context<'_>) -> Result<()> {
    let p1: Option<crate::types::Point> = cx.params.with(|r| r.sized(|r| r.get()))?;
    let s2: Secret<{ crate::limits::MAX_SYM_DATA }> = cx.params.get()?;
    let y2: Buf<MAX_ECC_BYTES> = cx.params.get()?;
    cx.params.end()?;
    let _ = (p1, s2, y2);
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::KEY.handle(1))?;
    match object.public.parameters {
        crate::types::Parameters::Ecc { .. } => Err(Rc::SCHEME.handle(1)),
        _ => Err(Rc::KEY.handle(1)),
    }
}
