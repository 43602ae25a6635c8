//! Part 3 §20: signatures.

use crate::context::Context;
use crate::rc::{Rc, Result};
use crate::signing;
use crate::ticket;
use crate::types::{Digest, ObjectAttributes, Scheme, Signature, Ticket, rh, st};

/// TPM2_VerifySignature.
pub(crate) fn verify_signature(cx: &mut Context<'_>) -> Result<()> {
    let digest: Digest = cx.params.get()?;
    let signature: Signature = cx.params.get()?;
    cx.params.end()?;
    let object =
        cx.s.objects
            .get(cx.handle(0))
            .ok_or(Rc::ATTRIBUTES.handle(1))?;
    if !object.has(ObjectAttributes::SIGN) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    signing::verify(object, &digest, &signature).map_err(|rc| rc.param(2))?;
    let ticket = if object.hierarchy == rh::NULL || object.public.name_alg.is_none() {
        Ticket::null(st::VERIFIED)
    } else {
        ticket::make(
            cx.s,
            st::VERIFIED,
            object.hierarchy,
            &[&digest, &object.name],
        )
    };
    cx.out.put(&ticket);
    Ok(())
}

/// TPM2_Sign.
pub(crate) fn sign(cx: &mut Context<'_>) -> Result<()> {
    let digest: Digest = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    let validation = cx.params.with(|r| Ticket::read(r, &[st::HASHCHECK]))?;
    cx.params.end()?;
    let handle = cx.handle(0);
    let object = cx.s.objects.get(handle).ok_or(Rc::KEY.handle(1))?;
    signing::check_signing_key(object).map_err(|rc| rc.handle(1))?;
    if object.has(ObjectAttributes::X509_SIGN) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let scheme = signing::select_scheme(object, wanted).map_err(|rc| rc.param(2))?;
    let hash = scheme.hash.ok_or(Rc::SCHEME.param(2))?;
    if !validation.digest.is_empty() || object.has(ObjectAttributes::RESTRICTED) {
        let id = hash.id().to_be_bytes();
        ticket::check(cx.s, &validation, &[&digest, &id]).map_err(|rc| rc.param(3))?;
    } else if digest.len() != hash.size() {
        return Err(Rc::SIZE.param(1));
    }
    let signature = signing::sign(cx, handle, scheme, &digest)?;
    cx.out.put(&signature);
    Ok(())
}
