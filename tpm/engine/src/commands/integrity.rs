//! Part 3 §22: PCRs.

use crate::buf::{Buf, Secret};
use crate::context::Context;
use crate::crypto::hash::Hasher;
use crate::limits::{MAX_AUTH, MAX_EVENT};
use crate::pcr::{self, BANK_ALGS, bank_of};
use crate::rc::{Rc, Result};
use crate::state::Policy;
use crate::types::{Digest, HashAlg, HashValue, PcrSelection, PcrSelections, rh};

/// Whether the PCR of handle `handle` may be extended at the command's locality.
///
/// # Errors
/// LOCALITY.
pub(crate) fn check_extend(cx: &Context<'_>, handle: u32) -> Result<usize> {
    let pcr = handle as usize;
    if pcr::can_extend(pcr, cx.locality) {
        Ok(pcr)
    } else {
        Err(Rc::LOCALITY)
    }
}

/// Counts a change of `pcr`.
pub(crate) fn changed(cx: &mut Context<'_>, pcr: usize) {
    if pcr::counts(pcr) {
        cx.s.reset.pcr_counter = cx.s.reset.pcr_counter.wrapping_add(1);
    }
}

/// TPM2_PCR_Extend.
pub(crate) fn pcr_extend(cx: &mut Context<'_>) -> Result<()> {
    let mut digests: [Option<HashValue>; crate::limits::HASH_COUNT] = Default::default();
    let count = cx.params.with(|r| {
        let count = r.u32()? as usize;
        if count > digests.len() {
            return Err(Rc::SIZE);
        }
        for place in digests.iter_mut().take(count) {
            *place = Some(r.get()?);
        }
        Ok(count)
    })?;
    cx.params.end()?;
    if cx.handle(0) == rh::NULL {
        return Ok(());
    }
    let pcr = check_extend(cx, cx.handle(0))?;
    for value in digests.iter().take(count).flatten() {
        if cx.s.pcr.extend(value.hash, pcr, &value.digest) {
            changed(cx, pcr);
        }
    }
    Ok(())
}

/// TPM2_PCR_Event.
pub(crate) fn pcr_event(cx: &mut Context<'_>) -> Result<()> {
    let data: Buf<MAX_EVENT> = cx.params.get()?;
    cx.params.end()?;
    let pcr = match cx.handle(0) {
        rh::NULL => None,
        handle => Some(check_extend(cx, handle)?),
    };
    let hashers = BANK_ALGS.map(|alg| {
        let mut hasher = Hasher::new(alg);
        hasher.update(&data);
        hasher
    });
    event_digests(cx, pcr, hashers);
    Ok(())
}

/// Writes the digests of an event in all banks, and extends `pcr` with them, if there is one.
pub(crate) fn event_digests(
    cx: &mut Context<'_>,
    pcr: Option<usize>,
    hashers: [Hasher; pcr::BANKS],
) {
    cx.out.u32(BANK_ALGS.len() as u32);
    for hasher in hashers {
        let alg = hasher.alg();
        let value = hasher.finish();
        if let Some(pcr) = pcr
            && cx.s.pcr.extend(alg, pcr, &value)
        {
            changed(cx, pcr);
        }
        cx.out.put(&alg);
        cx.out.bytes(&value);
    }
}

/// TPM2_PCR_Read: as many values as one list holds.
pub(crate) fn pcr_read(cx: &mut Context<'_>) -> Result<()> {
    let mut selections: PcrSelections = cx.params.get()?;
    cx.params.end()?;
    let pcrs = &cx.s.pcr;
    pcrs.filter(&mut selections);
    let mut read = 0usize;
    for selection in selections.iter_mut() {
        let wanted = selection.bits;
        selection.bits = 0;
        for pcr in (PcrSelection {
            bits: wanted,
            ..*selection
        })
        .iter()
        {
            if read < crate::limits::MAX_DIGEST_LIST {
                selection.bits |= 1u32.wrapping_shl(pcr as u32);
                read = read.saturating_add(1);
            }
        }
    }
    cx.out.u32(cx.s.reset.pcr_counter);
    cx.out.put(&selections);
    cx.out.u32(read as u32);
    for selection in selections.iter() {
        for pcr in selection.iter() {
            if let Some(value) = pcrs.value(selection.hash, pcr) {
                cx.out.put(value);
            }
        }
    }
    Ok(())
}

/// TPM2_PCR_Allocate: takes effect at the next TPM Reset.
pub(crate) fn pcr_allocate(cx: &mut Context<'_>) -> Result<()> {
    let selections: PcrSelections = cx.params.get()?;
    cx.params.end()?;
    // What an earlier one asked for, and no reset has made true, is forgotten.
    let mut allocated = cx.s.pcr.allocated;
    let mut known = true;
    for selection in selections.iter() {
        match bank_of(selection.hash).and_then(|bank| allocated.get_mut(bank)) {
            Some(mask) => *mask = selection.bits,
            None => known &= selection.bits == 0,
        }
    }
    // The D-RTM and H-CRTM need their PCRs in at least one bank.
    let has = |pcr: u32| allocated.iter().any(|mask| (mask >> (pcr & 31)) & 1 != 0);
    if !has(pcr::HCRTM_PCR as u32) || !has(pcr::DRTM_PCR as u32) {
        return Err(Rc::PCR);
    }
    let needed: u32 = allocated
        .iter()
        .zip(BANK_ALGS)
        .map(|(mask, alg)| mask.count_ones().saturating_mul(alg.size() as u32))
        .sum();
    let available: u32 = BANK_ALGS
        .iter()
        .map(|alg| (alg.size() as u32).saturating_mul(crate::limits::PCR_COUNT as u32))
        .sum();
    if known {
        cx.s.perm.pcr_allocated = allocated;
        cx.s.pcr.reallocated = true;
        cx.s.dirty.permanent();
    }
    cx.out.put(&known);
    cx.out.u32(crate::limits::PCR_COUNT as u32);
    cx.out.u32(needed);
    cx.out.u32(available);
    Ok(())
}

fn group_member(handle: u32) -> Result<()> {
    if pcr::in_group(handle as usize) {
        Ok(())
    } else {
        Err(Rc::VALUE)
    }
}

/// TPM2_PCR_SetAuthPolicy.
pub(crate) fn pcr_set_auth_policy(cx: &mut Context<'_>) -> Result<()> {
    let policy: Digest = cx.params.get()?;
    let hash: Option<HashAlg> = cx.params.get()?;
    let handle: u32 = cx.params.with(|r| {
        let handle = r.u32()?;
        if handle as usize >= crate::limits::PCR_COUNT {
            return Err(Rc::VALUE);
        }
        Ok(handle)
    })?;
    cx.params.end()?;
    if policy.len() != hash.map_or(0, HashAlg::size) {
        return Err(Rc::SIZE.param(1));
    }
    group_member(handle).map_err(|rc| rc.param(3))?;
    cx.s.perm.pcr_policy = Policy {
        hash,
        digest: policy,
    };
    cx.s.dirty.permanent();
    Ok(())
}

/// TPM2_PCR_SetAuthValue.
pub(crate) fn pcr_set_auth_value(cx: &mut Context<'_>) -> Result<()> {
    let mut auth: Secret<MAX_AUTH> = cx.params.get()?;
    cx.params.end()?;
    group_member(cx.handle(0))?;
    auth.buf_mut().strip_trailing_zeros();
    cx.s.clear.pcr_auth = auth;
    Ok(())
}

/// TPM2_PCR_Reset.
pub(crate) fn pcr_reset(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let pcr = cx.handle(0) as usize;
    if !pcr::can_reset(pcr, cx.locality) {
        return Err(Rc::LOCALITY);
    }
    cx.s.pcr.zero(pcr, 0);
    changed(cx, pcr);
    Ok(())
}
