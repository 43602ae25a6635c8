//! Part 3 §13: duplication.

use crate::buf::{Buf, Secret};
use crate::commands::object::{MAX_PRIVATE_IN, blamed, new_iv, storage_parent};
use crate::context::Context;
use crate::crypto::drbg::Rng;
use crate::limits::{MAX_DATA, MAX_ENCRYPTED_SECRET};
use crate::object::secret::{self, DUPLICATE, Seed};
use crate::object::wrap::{self, Outer, Private};
use crate::object::{Object, Objects, checks, name};
use crate::rc::{Rc, Result};
use crate::types::{Name, ObjectAttributes as A, ObjectType, Public, SymObject, rh};

type Encrypted = Buf<MAX_ENCRYPTED_SECRET>;

/// The storage parent that `handle`, number `number` of the handle area, is; `None` for TPM_RH_NULL.
fn parent_or_null(objects: &Objects, handle: u32, number: usize) -> Result<Option<&Object>> {
    if handle == rh::NULL {
        return Ok(None);
    }
    let parent = objects.get(handle);
    parent
        .filter(|object| object.is_storage_parent())
        .map(Some)
        .ok_or(Rc::TYPE.handle(number))
}

/// TPM2_Duplicate.
pub(crate) fn duplicate(cx: &mut Context<'_>) -> Result<()> {
    let mut key: Secret<MAX_DATA> = cx.params.get()?;
    let symmetric: Option<SymObject> = cx.params.get()?;
    cx.params.end()?;
    cx.rng()?;
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::TYPE.handle(1))?;
    if object.has(A::FIXED_PARENT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    if object.public.name_alg.is_none() {
        return Err(Rc::TYPE.handle(1));
    }
    let parent = parent_or_null(&cx.s.objects, cx.handle(1), 2)?;
    if object.has(A::ENCRYPTED_DUPLICATION) {
        if symmetric.is_none() {
            return Err(Rc::SYMMETRIC.param(2));
        }
        if parent.is_none() {
            return Err(Rc::HIERARCHY.handle(2));
        }
    }
    let size = symmetric.map_or(0, |symmetric| symmetric.key_bytes());
    if !key.is_empty() && key.len() != size {
        return Err(Rc::SIZE.param(1));
    }
    let sensitive = object.sensitive.as_ref().ok_or(Rc::TYPE.handle(1))?;
    let rng = &mut cx.s.drbg;
    let (seed, encrypted) = match parent {
        Some(parent) => secret::encrypt(&parent.public, rng, DUPLICATE)?,
        None => (Seed::new(), Encrypted::new()),
    };
    let made = key.is_empty();
    if made {
        key = Secret::zeroed(size);
        rng.fill(key.as_mut_slice());
    }
    let outer = match parent {
        Some(parent) => Some(Outer::new(&parent.public, &seed)?),
        None => None,
    };
    let inner = symmetric.map(|_| key.as_slice());
    let duplicate = wrap::to_duplicate(
        outer.as_ref(),
        inner,
        &object.public,
        &object.name,
        sensitive,
    )?;
    // The caller's own key is not sent back.
    cx.out.sized_bytes(if made { &key } else { &[] });
    cx.out.put(&duplicate);
    cx.out.put(&encrypted);
    Ok(())
}

/// TPM2_Rewrap.
pub(crate) fn rewrap(cx: &mut Context<'_>) -> Result<()> {
    let duplicate = cx.params.with(|r| r.sized_bytes(MAX_PRIVATE_IN))?;
    let name: Name = cx.params.get()?;
    let encrypted: Encrypted = cx.params.get()?;
    cx.params.end()?;
    cx.rng()?;
    let old = cx.handle(0);
    if encrypted.is_empty() != (old == rh::NULL) {
        return Err(Rc::HANDLE.handle(1));
    }
    let inner = match parent_or_null(&cx.s.objects, old, 1)? {
        None => Secret::from_slice(duplicate).map_err(|_| Rc::SIZE.param(1))?,
        Some(_) => {
            let seed =
                secret::decrypt(cx, old, DUPLICATE, &encrypted).map_err(|_| Rc::VALUE.param(3))?;
            let parent = cx.s.objects.object(old)?;
            Outer::new(&parent.public, &seed)?
                .unwrap(&name, false, duplicate)
                .map_err(|rc| rc.param(1))?
        }
    };
    let (duplicate, encrypted) = match parent_or_null(&cx.s.objects, cx.handle(1), 2)? {
        None => (Private::from_prefix(&inner), Encrypted::new()),
        Some(parent) => {
            let (seed, encrypted) = secret::encrypt(&parent.public, &mut cx.s.drbg, DUPLICATE)?;
            let outer = Outer::new(&parent.public, &seed)?;
            (outer.wrap(&name, None, &inner)?, encrypted)
        }
    };
    cx.out.put(&duplicate);
    cx.out.put(&encrypted);
    Ok(())
}

/// TPM2_Import.
pub(crate) fn import(cx: &mut Context<'_>) -> Result<()> {
    let key: Secret<MAX_DATA> = cx.params.get()?;
    let public: Public = cx.params.get()?;
    let duplicate = cx.params.with(|r| r.sized_bytes(MAX_PRIVATE_IN))?;
    let encrypted: Encrypted = cx.params.get()?;
    let symmetric: Option<SymObject> = cx.params.get()?;
    cx.params.end()?;
    if public
        .attributes
        .intersects(A::FIXED_TPM.union(A::FIXED_PARENT))
    {
        return Err(Rc::ATTRIBUTES.param(2));
    }
    let handle = cx.handle(0);
    let parent = storage_parent(cx, handle)?;
    if key.len() != symmetric.map_or(0, |symmetric| symmetric.key_bytes()) {
        return Err(Rc::SIZE.param(1));
    }
    let wrapped_twice = public.attributes.contains(A::ENCRYPTED_DUPLICATION);
    if wrapped_twice && symmetric.is_none() {
        return Err(Rc::ATTRIBUTES.param(1));
    }
    let seed = if encrypted.is_empty() {
        if wrapped_twice {
            return Err(Rc::ATTRIBUTES.param(4));
        }
        None
    } else {
        if parent.public.object_type() == ObjectType::SymCipher {
            return Err(Rc::TYPE.handle(1));
        }
        let seed = secret::decrypt(cx, handle, DUPLICATE, &encrypted);
        Some(seed.map_err(|rc| rc.param(4))?)
    };
    let iv = new_iv(cx.rng()?);
    let parent = storage_parent(cx, handle)?;
    let outer = match &seed {
        Some(seed) => Some(Outer::new(&parent.public, seed)?),
        None => None,
    };
    let name = name::of(&public);
    let inner = symmetric.map(|_| key.as_slice());
    let sensitive = wrap::from_duplicate(outer.as_ref(), inner, &public, &name, duplicate)
        .map_err(|rc| rc.param(3))?;
    // Once it is a child of a fixedTPM parent, loading it checks it no more.
    if parent.has(A::FIXED_TPM) {
        checks::load(None, &public, Some(&sensitive)).map_err(blamed(2, 3))?;
    }
    let private = wrap::to_private(parent, &public, &name, &sensitive, &iv)?;
    cx.out.put(&private);
    Ok(())
}
