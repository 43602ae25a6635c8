//! Part 3 §31: NV indices.

use crate::buf::Secret;
use crate::context::Context;
use crate::crypto::hash;
use crate::limits::{MAX_AUTH, MAX_NV_BUFFER};
use crate::nv::{self, NvIndex, nt};
use crate::rc::{Rc, Result};
use crate::types::{HashAlg, NvAttributes as A, NvPublic, rh};

/// An authorization value without the zeros at its end: no longer than a digest of the Name's algorithm.
fn auth_value(mut auth: Secret<MAX_AUTH>, name_alg: HashAlg) -> Result<Secret<MAX_AUTH>> {
    auth.buf_mut().strip_trailing_zeros();
    if auth.len() > name_alg.size() {
        return Err(Rc::SIZE.param(1));
    }
    Ok(auth)
}

/// Handle `n` as an index.
fn index<'a>(cx: &'a Context<'_>, n: usize) -> Result<&'a NvIndex> {
    let missing = Rc::HANDLE.handle(n.saturating_add(1));
    cx.s.nv.get(cx.handle(n)).ok_or(missing)
}

/// TPM2_NV_DefineSpace.
pub(crate) fn nv_define_space(cx: &mut Context<'_>) -> Result<()> {
    let auth = cx.params.get()?;
    let public: NvPublic = cx.params.get()?;
    cx.params.end()?;
    let provider = cx.handle(0);
    let policy = public.auth_policy.len();
    if policy != 0 && policy != public.name_alg.size() {
        return Err(Rc::SIZE.param(2));
    }
    let auth = auth_value(auth, public.name_alg)?;
    if provider == rh::PLATFORM && !cx.s.clear.platform_nv_enabled {
        return Err(Rc::HIERARCHY.handle(1));
    }
    nv::check_public(&public, provider).map_err(|rc| rc.param(2))?;
    let key = public.index;
    if cx.s.nv.get(key).is_some() {
        return Err(Rc::NV_DEFINED);
    }
    cx.s.nv.check_room(&public)?;
    cx.s.nv.insert(NvIndex::new(public, auth)?)?;
    cx.s.dirty.mark(key);
    Ok(())
}

fn undefine(cx: &mut Context<'_>, handle: u32) {
    let s = &mut *cx.s;
    s.nv.remove_where(
        |index| index.public().index == handle,
        &mut s.perm.max_counter,
        &mut s.dirty,
    );
}

/// TPM2_NV_UndefineSpace.
pub(crate) fn nv_undefine_space(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let index = index(cx, 1)?;
    if index.has(A::POLICY_DELETE) {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    if index.has(A::PLATFORMCREATE) && cx.handle(0) != rh::PLATFORM {
        return Err(Rc::NV_AUTHORIZATION);
    }
    undefine(cx, cx.handle(1));
    Ok(())
}

/// TPM2_NV_UndefineSpaceSpecial.
pub(crate) fn nv_undefine_space_special(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    if !index(cx, 0)?.has(A::POLICY_DELETE | A::PLATFORMCREATE) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    undefine(cx, cx.handle(0));
    Ok(())
}

/// TPM2_NV_ReadPublic.
pub(crate) fn nv_read_public(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let index = cx.s.nv.get(cx.handle(0)).ok_or(Rc::HANDLE.handle(1))?;
    cx.out.sized(|w| w.put(index.public()));
    cx.out.put(index.name());
    Ok(())
}

/// What a change of an index' data begins with: authorization by handle 0, and the type that the command is for.
fn writable(cx: &Context<'_>, kind: u32) -> Result<()> {
    nv::write_access(cx.s, cx.handle(0), cx.handle(1))?;
    if index(cx, 1)?.kind() != kind {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    Ok(())
}

/// Replaces the data of handle 1 from `offset` on.
fn write(cx: &mut Context<'_>, offset: usize, bytes: &[u8]) {
    if let Some(index) = cx.s.nv.get_mut(cx.handle(1)) {
        index.write(offset, bytes, &mut cx.s.dirty);
    }
}

/// TPM2_NV_Write.
pub(crate) fn nv_write(cx: &mut Context<'_>) -> Result<()> {
    let data = cx.params.with(|r| r.sized_bytes(MAX_NV_BUFFER))?;
    let offset = usize::from(cx.params.get::<u16>()?);
    cx.params.end()?;
    nv::write_access(cx.s, cx.handle(0), cx.handle(1))?;
    let index = index(cx, 1)?;
    if matches!(index.kind(), nt::COUNTER | nt::BITS | nt::EXTEND) {
        return Err(Rc::ATTRIBUTES);
    }
    let size = usize::from(index.public().data_size);
    let room = size.checked_sub(offset).ok_or(Rc::VALUE.param(2))?;
    if data.len() > room || index.has(A::WRITEALL) && data.len() < size {
        return Err(Rc::NV_RANGE);
    }
    write(cx, offset, data);
    Ok(())
}

/// TPM2_NV_Increment.
pub(crate) fn nv_increment(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    writable(cx, nt::COUNTER)?;
    // The first value is above that of any counter that there was: this may have been one of them (Part 1 §34.2.6.3).
    let old = index(cx, 1)?.number().unwrap_or(cx.s.perm.max_counter);
    write(cx, 0, &old.wrapping_add(1).to_be_bytes());
    Ok(())
}

/// TPM2_NV_SetBits.
pub(crate) fn nv_set_bits(cx: &mut Context<'_>) -> Result<()> {
    let bits: u64 = cx.params.get()?;
    cx.params.end()?;
    writable(cx, nt::BITS)?;
    let old = index(cx, 1)?.number().unwrap_or(0);
    write(cx, 0, &(old | bits).to_be_bytes());
    Ok(())
}

/// TPM2_NV_Extend.
pub(crate) fn nv_extend(cx: &mut Context<'_>) -> Result<()> {
    let data = cx.params.with(|r| r.sized_bytes(MAX_NV_BUFFER))?;
    cx.params.end()?;
    writable(cx, nt::EXTEND)?;
    let index = index(cx, 1)?;
    let alg = index.public().name_alg;
    let zero = [0; crate::limits::MAX_DIGEST];
    let old = index.data().or(zero.get(..alg.size())).unwrap_or(&[]);
    let new = hash::digest(alg, &[old, data]);
    write(cx, 0, &new);
    Ok(())
}

/// TPM2_NV_WriteLock.
pub(crate) fn nv_write_lock(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    match nv::write_access(cx.s, cx.handle(0), cx.handle(1)) {
        Err(rc) if rc == Rc::NV_LOCKED => return Ok(()),
        access => access?,
    }
    lock(cx, A::WRITEDEFINE | A::WRITE_STCLEAR, A::WRITELOCKED)
}

/// TPM2_NV_ReadLock. An index that is not written can be locked, too.
pub(crate) fn nv_read_lock(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    match nv::read_access(cx.s, cx.handle(0), cx.handle(1)) {
        Err(rc) if rc == Rc::NV_LOCKED => return Ok(()),
        Err(rc) if rc != Rc::NV_UNINITIALIZED => return Err(rc),
        _ => {}
    }
    lock(cx, A::READ_STCLEAR, A::READLOCKED)
}

/// Sets `locked` of handle 1, which one of `allowed` must allow.
fn lock(cx: &mut Context<'_>, allowed: A, locked: A) -> Result<()> {
    let handle = cx.handle(1);
    let index = cx.s.nv.get_mut(handle).ok_or(Rc::HANDLE.handle(2))?;
    if !index.public().attributes.intersects(allowed) {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    index.mark(locked, true, &mut cx.s.dirty);
    Ok(())
}

/// TPM2_NV_GlobalWriteLock.
pub(crate) fn nv_global_write_lock(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    for index in cx.s.nv.iter_mut().filter(|index| index.has(A::GLOBALLOCK)) {
        index.mark(A::WRITELOCKED, true, &mut cx.s.dirty);
    }
    Ok(())
}

/// TPM2_NV_Read.
pub(crate) fn nv_read(cx: &mut Context<'_>) -> Result<()> {
    let size = usize::from(cx.params.get::<u16>()?);
    let offset = usize::from(cx.params.get::<u16>()?);
    cx.params.end()?;
    nv::read_access(cx.s, cx.handle(0), cx.handle(1))?;
    if size > MAX_NV_BUFFER {
        return Err(Rc::VALUE.param(1));
    }
    let data = cx.s.nv.data(cx.handle(1)).unwrap_or(&[]);
    let (_, from) = data.split_at_checked(offset).ok_or(Rc::VALUE.param(2))?;
    cx.out.sized_bytes(from.get(..size).ok_or(Rc::NV_RANGE)?);
    Ok(())
}

/// TPM2_NV_ChangeAuth.
pub(crate) fn nv_change_auth(cx: &mut Context<'_>) -> Result<()> {
    let auth = cx.params.get()?;
    cx.params.end()?;
    let handle = cx.handle(0);
    let index = cx.s.nv.get_mut(handle).ok_or(Rc::HANDLE.handle(1))?;
    index.auth = auth_value(auth, index.public().name_alg)?;
    cx.s.dirty.mark(handle);
    Ok(())
}
