//! Part 3 §19: ephemeral EC keys. Their scalars are not stored: each is derived from a counter and a nonce that lasts until the
//! next TPM Reset (Part 1 Annex C.2.2); which counters are not used yet is a bit each.

use crate::buf::{Buf, Secret};
use crate::commands::asymmetric::sized_point;
use crate::context::Context;
use crate::crypto::drbg::{Drbg, Rng};
use crate::crypto::ecc;
use crate::crypto::hash::digest;
use crate::limits::{MAX_ECC_BYTES, MAX_SYM_DATA};
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::types::{Curve, Parameters, Point, alg};

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
    Some(key(s, curve, full).0)
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
    let (_, point) = key(cx.s, curve, counter);
    commit_to(cx.s, counter);
    cx.out.sized(|w| w.put(&point));
    cx.out.u16(counter as u16);
    Ok(())
}

/// TPM2_Commit: the first part of a signature with an ECDAA key.
pub(crate) fn commit(cx: &mut Context<'_>) -> Result<()> {
    let p1 = cx.params.with(sized_point)?;
    let s2: Secret<MAX_SYM_DATA> = cx.params.get()?;
    let y2: Buf<MAX_ECC_BYTES> = cx.params.get()?;
    cx.params.end()?;
    let counter = next(cx)?;
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::KEY.handle(1))?;
    let Parameters::Ecc { curve, scheme, .. } = object.public.parameters else {
        return Err(Rc::KEY.handle(1));
    };
    if scheme.alg != alg::ECDAA {
        return Err(Rc::SCHEME.handle(1));
    }
    let (Some(sensitive), Some(name_alg)) = (&object.sensitive, object.public.name_alg) else {
        return Err(Rc::KEY.handle(1));
    };
    let p1 = (!p1.x.is_empty() || !p1.y.is_empty()).then_some(p1);
    if p1.as_ref().is_some_and(|p1| !ecc::on_curve(curve, p1)) {
        return Err(Rc::ECC_POINT.param(1));
    }
    if s2.is_empty() != y2.is_empty() {
        return Err(Rc::SIZE.param(3));
    }
    let p2 = (!s2.is_empty()).then(|| Point {
        x: ecc::field_element(curve, &digest(name_alg, &[&s2])),
        y: y2,
    });
    if p2.as_ref().is_some_and(|p2| !ecc::on_curve(curve, p2)) {
        return Err(Rc::ECC_POINT.param(2));
    }
    let (scalar, public) = key(cx.s, curve, counter);
    let times = |scalar: &[u8], point: &Option<Point>| match point {
        Some(point) => ecc::mul(curve, scalar, point).map_err(|_| Rc::NO_RESULT),
        None => Ok(Point::default()),
    };
    let k = times(&sensitive.secret, &p2)?;
    let l = times(&scalar, &p2)?;
    // Without any point the generator is meant.
    let e = if p1.is_none() && p2.is_none() {
        public
    } else {
        times(&scalar, &p1)?
    };
    commit_to(cx.s, counter);
    for point in [k, l, e] {
        cx.out.sized(|w| w.put(&point));
    }
    cx.out.u16(counter as u16);
    Ok(())
}
