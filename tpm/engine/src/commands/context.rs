//! Part 3 §28: contexts and persistent objects.

use alloc::boxed::Box;

use crate::codec::Reader;
use crate::context::Context;
use crate::limits::{MAX_LOADED_OBJECTS, MAX_PERSISTENT};
use crate::object::saved::{Contents, Header, MAX_CONTEXT, OBJECT, SEQUENCE, ST_CLEAR};
use crate::object::{Slot, is_session, store};
use crate::rc::{Rc, Result};
use crate::state::Mode;
use crate::types::{Digest, hr, rh};

/// TPM2_ContextSave.
pub(crate) fn context_save(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let handle = cx.handle(0);
    if is_session(handle) {
        return save_session(cx, handle);
    }
    let sequence = cx.s.reset.object_context_id;
    let next = sequence.checked_add(1).ok_or(Rc::TOO_MANY_CONTEXTS)?;
    let slot = cx.s.objects.transient(handle).ok_or(Rc::HANDLE.handle(1))?;
    let (handle, hierarchy) = match slot {
        Slot::Object(object) if object.st_clear => (ST_CLEAR, object.hierarchy),
        Slot::Object(object) => (OBJECT, object.hierarchy),
        Slot::Sequence(_) => (SEQUENCE, rh::NULL),
    };
    let header = Header {
        sequence,
        handle,
        hierarchy,
    };
    header.protect(cx.s, &mut cx.out, |w| store::put_slot(w, slot))?;
    cx.s.reset.object_context_id = next;
    Ok(())
}

fn save_session(cx: &mut Context<'_>, handle: u32) -> Result<()> {
    let mut contents = Contents::zeroed(MAX_CONTEXT);
    let mut w = crate::codec::Writer::new(contents.as_mut_slice());
    let sequence = cx.s.sessions.save(handle, &mut w)?;
    let len = w.finish()?;
    contents.buf_mut().truncate(len);
    let header = Header {
        sequence,
        handle,
        hierarchy: rh::NULL,
    };
    header.protect(cx.s, &mut cx.out, |w| w.bytes(&contents))
}

/// TPM2_ContextLoad.
pub(crate) fn context_load(cx: &mut Context<'_>) -> Result<()> {
    let (header, blob) = cx.params.with(|r| {
        let header = Header::read(r)?;
        Ok((header, r.sized_bytes(2 * MAX_CONTEXT)?))
    })?;
    cx.params.end()?;
    // A digest that cannot be read is an error without a number, as the oracle has it: the blob is not a parameter yet.
    let mut r = Reader::new(blob);
    let integrity: Digest = r.get()?;
    let contents = header
        .open(cx.s, &integrity, r.rest())
        .map_err(|rc| rc.param(1))?;
    let mut r = Reader::new(&contents);
    if r.u64() != Ok(header.sequence) {
        // Authenticated, and yet not what was encrypted: Part 2 §14.5.
        cx.s.mode = Mode::Failure;
        return Err(Rc::FAILURE);
    }
    if is_session(header.handle) {
        let loaded = cx.s.sessions.load(header.handle, header.sequence, &mut r);
        cx.out_handle = header.handle;
        return loaded.map_err(|rc| rc.param(1));
    }
    if !cx.s.hierarchy_enabled(header.hierarchy) {
        return Err(Rc::HIERARCHY.param(1));
    }
    cx.s.objects.check_room()?;
    let slot = store::get_slot(r.rest()).map_err(|_| Rc::FAILURE)?;
    cx.out_handle = cx.s.objects.insert(slot)?;
    Ok(())
}

/// TPM2_FlushContext.
pub(crate) fn flush_context(cx: &mut Context<'_>) -> Result<()> {
    let handle = cx.params.with(|r| {
        let handle = r.u32()?;
        let transient =
            hr::of(handle) == hr::TRANSIENT && (hr::index(handle) as usize) < MAX_LOADED_OBJECTS;
        if transient || is_session(handle) {
            Ok(handle)
        } else {
            Err(Rc::VALUE)
        }
    })?;
    cx.params.end()?;
    let was_there = if is_session(handle) {
        // The kind of the session does not count (Part 3 §28.4.1).
        let other = handle ^ hr::HMAC_SESSION ^ hr::POLICY_SESSION;
        cx.s.sessions.flush(handle) || cx.s.sessions.flush(other)
    } else {
        cx.s.objects.flush(handle)
    };
    if was_there {
        Ok(())
    } else {
        Err(Rc::HANDLE.param(1))
    }
}

/// TPM2_EvictControl.
pub(crate) fn evict_control(cx: &mut Context<'_>) -> Result<()> {
    let persistent = cx.params.with(|r| {
        let handle = r.u32()?;
        if hr::of(handle) == hr::PERSISTENT {
            Ok(handle)
        } else {
            Err(Rc::VALUE)
        }
    })?;
    cx.params.end()?;
    let (auth, handle) = (cx.handle(0), cx.handle(1));
    let objects = &mut cx.s.objects;
    let object = objects.get(handle).ok_or(Rc::ATTRIBUTES.handle(2))?;
    if object.hierarchy == rh::NULL || object.st_clear || object.sensitive.is_none() {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    let evict = hr::of(handle) == hr::PERSISTENT;
    if evict && handle != persistent {
        return Err(Rc::HANDLE.handle(2));
    }
    // The platform can remove everything; the owner everything that is not the platform's.
    let of_platform = object.hierarchy == rh::PLATFORM;
    let by_platform = auth == rh::PLATFORM;
    if of_platform != by_platform && !(evict && by_platform) {
        return Err(Rc::HIERARCHY.handle(2));
    }
    if !evict && (persistent >= hr::PLATFORM_PERSISTENT) != by_platform {
        return Err(Rc::RANGE.param(1));
    }
    let list = &mut objects.persistent;
    match (
        list.binary_search_by_key(&persistent, |(handle, _)| *handle),
        evict,
    ) {
        (Ok(at), true) => {
            list.remove(at);
        }
        (Err(_), true) => return Err(Rc::HANDLE.handle(2)),
        (Ok(_), false) => return Err(Rc::NV_DEFINED),
        (Err(at), false) => {
            if list.len() >= MAX_PERSISTENT || list.try_reserve(1).is_err() {
                return Err(Rc::NV_SPACE);
            }
            let copy = Box::new(objects.object(handle)?.clone());
            objects.persistent.insert(at, (persistent, copy));
        }
    }
    cx.s.dirty.mark(persistent);
    Ok(())
}
