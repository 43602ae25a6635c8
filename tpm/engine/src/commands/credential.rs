//! Part 3 §12.5, §12.6: credentials.

use crate::buf::Buf;
use crate::codec::{Reader, build};
use crate::context::Context;
use crate::limits::{MAX_DIGEST, MAX_ENCRYPTED_SECRET};
use crate::object::secret::{self, IDENTITY};
use crate::object::wrap::{Outer, Private};
use crate::rc::{Rc, Result};
use crate::types::{Digest, HashAlg, Name};

/// TPM2_ActivateCredential.
pub(crate) fn activate_credential(cx: &mut Context<'_>) -> Result<()> {
    let blob: Private = cx.params.get()?;
    let encrypted: Buf<MAX_ENCRYPTED_SECRET> = cx.params.get()?;
    cx.params.end()?;
    let (activated, key) = (cx.handle(0), cx.handle(1));
    if !cx
        .s
        .objects
        .get(key)
        .is_some_and(|key| key.opens_credentials())
    {
        return Err(Rc::TYPE.handle(2));
    }
    let seed = secret::decrypt(cx, key, IDENTITY, &encrypted).map_err(|rc| rc.param(2))?;
    let key = cx.s.objects.object(key)?;
    let name = cx.s.objects.get(activated).map_or(&[][..], |o| &o.name);
    let open = || {
        let plain = Outer::new(&key.public, &seed)?.unwrap(name, false, &blob)?;
        let mut r = Reader::new(&plain);
        let credential = zeroize::Zeroizing::new(r.get::<Digest>()?);
        if r.is_empty() {
            Ok(credential)
        } else {
            Err(Rc::SIZE)
        }
    };
    let credential = open().map_err(|rc: Rc| rc.param(1))?;
    cx.out.put(&*credential);
    Ok(())
}

/// TPM2_MakeCredential.
pub(crate) fn make_credential(cx: &mut Context<'_>) -> Result<()> {
    let credential = zeroize::Zeroizing::new(cx.params.get::<Digest>()?);
    let name: Name = cx.params.get()?;
    cx.params.end()?;
    cx.rng()?;
    let key = cx.s.objects.get(cx.handle(0));
    let key = key
        .filter(|key| key.opens_credentials())
        .ok_or(Rc::TYPE.handle(1))?;
    if credential.len() > key.public.name_alg.map_or(0, HashAlg::size) {
        return Err(Rc::SIZE.param(1));
    }
    let (seed, encrypted) = secret::encrypt(&key.public, &mut cx.s.drbg, IDENTITY)?;
    let plain = zeroize::Zeroizing::new(build::<{ MAX_DIGEST + 2 }>(|w| w.put(&*credential))?);
    let blob = Outer::new(&key.public, &seed)?.wrap(&name, None, &plain)?;
    cx.out.put(&blob);
    cx.out.put(&encrypted);
    Ok(())
}
