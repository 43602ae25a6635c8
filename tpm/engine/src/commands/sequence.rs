//! Part 3 §17: hash, HMAC and event sequences.

use crate::buf::{Buf, Secret};
use crate::commands::integrity;
use crate::context::Context;
use crate::crypto::hash::{HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::limits::{MAX_AUTH, MAX_BUFFER};
use crate::object::{Object, Sequence, SequenceKind, Slot};
use crate::pcr::BANK_ALGS;
use crate::rc::{Rc, Result};
use crate::ticket;
use crate::types::{ObjectAttributes, Parameters, Ticket, alg, rh, st};

/// TPM_GENERATED_VALUE: what begins with it may be an attestation of this TPM, so it gets no ticket as foreign data.
pub(crate) const GENERATED: [u8; 4] = [0xFF, 0x54, 0x43, 0x47];

/// Whether `data`, from its first byte on, can be no attestation of this TPM.
pub(crate) fn is_foreign(data: &[u8]) -> bool {
    !data.starts_with(&GENERATED)
}

/// The hash that an HMAC with `key` uses when the caller asks for `wanted` (Part 3 §15.4.1, §17.2.1).
///
/// # Errors
/// TYPE handle 1, ATTRIBUTES handle 1, KEY handle 1, VALUE parameter `number`.
pub(crate) fn hmac_hash(
    key: Option<&Object>,
    wanted: Option<HashAlg>,
    number: usize,
) -> Result<HashAlg> {
    let object = key.ok_or(Rc::TYPE.handle(1))?;
    let Parameters::KeyedHash { scheme } = object.public.parameters else {
        return Err(Rc::TYPE.handle(1));
    };
    if object.has(ObjectAttributes::RESTRICTED) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    if !object.has(ObjectAttributes::SIGN) {
        return Err(Rc::KEY.handle(1));
    }
    let hash = match (scheme.alg, scheme.hash) {
        (alg::NULL, _) => wanted,
        (alg::HMAC, Some(hash)) if wanted.is_none() || wanted == Some(hash) => Some(hash),
        _ => None,
    };
    hash.ok_or(Rc::VALUE.param(number))
}

/// The key of a keyed hash object.
pub(crate) fn key_of(object: &Object) -> &[u8] {
    object
        .sensitive
        .as_ref()
        .map_or(&[], |sensitive| &sensitive.secret)
}

fn start(cx: &mut Context<'_>, auth: Secret<MAX_AUTH>, kind: SequenceKind) -> Result<()> {
    let mut auth = auth;
    auth.buf_mut().strip_trailing_zeros();
    cx.out_handle =
        cx.s.objects
            .insert(Slot::Sequence(Sequence { auth, kind }))?;
    Ok(())
}

/// TPM2_HMAC_Start.
pub(crate) fn hmac_start(cx: &mut Context<'_>) -> Result<()> {
    let auth = cx.params.get()?;
    let wanted: Option<HashAlg> = cx.params.get()?;
    cx.params.end()?;
    cx.s.objects.check_room()?;
    let key = cx.s.objects.get(cx.handle(0));
    let hash = hmac_hash(key, wanted, 2)?;
    let hmac = Hmac::new(hash, key.map_or(&[], key_of));
    start(cx, auth, SequenceKind::Hmac(hmac))
}

/// TPM2_HashSequenceStart.
pub(crate) fn hash_sequence_start(cx: &mut Context<'_>) -> Result<()> {
    let auth = cx.params.get()?;
    let hash: Option<HashAlg> = cx.params.get()?;
    cx.params.end()?;
    let kind = match hash {
        Some(hash) => SequenceKind::Hash {
            hasher: Hasher::new(hash),
            first: true,
            ticket: true,
        },
        None => SequenceKind::Event(BANK_ALGS.map(Hasher::new)),
    };
    start(cx, auth, kind)
}

fn update(kind: &mut SequenceKind, data: &[u8]) {
    match kind {
        SequenceKind::Hash {
            hasher,
            first,
            ticket,
        } => {
            // A first part that is too short to tell gets no ticket, as if it were the beginning of an attestation.
            if *first {
                *ticket = data.len() >= GENERATED.len() && is_foreign(data);
                *first = false;
            }
            hasher.update(data);
        }
        SequenceKind::Hmac(hmac) => hmac.update(data),
        SequenceKind::Event(hashers) => {
            for hasher in hashers {
                hasher.update(data);
            }
        }
    }
}

/// TPM2_SequenceUpdate.
pub(crate) fn sequence_update(cx: &mut Context<'_>) -> Result<()> {
    let data: Buf<MAX_BUFFER> = cx.params.get()?;
    cx.params.end()?;
    let handle = cx.handle(0);
    let sequence =
        cx.s.objects
            .sequence_mut(handle)
            .ok_or(Rc::MODE.handle(1))?;
    update(&mut sequence.kind, &data);
    Ok(())
}

/// TPMI_RH_HIERARCHY+ as a parameter.
pub(crate) fn hierarchy(r: &mut crate::codec::Reader<'_>) -> Result<u32> {
    match r.u32()? {
        handle @ (rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM | rh::NULL) => Ok(handle),
        _ => Err(Rc::VALUE),
    }
}

/// The ticket that says that this TPM hashed foreign data to `value`.
pub(crate) fn hash_check(
    cx: &Context<'_>,
    hierarchy: u32,
    foreign: bool,
    hash: HashAlg,
    value: &[u8],
) -> Ticket {
    if hierarchy == rh::NULL || !foreign {
        return Ticket::null(st::HASHCHECK);
    }
    let id = hash.id().to_be_bytes();
    ticket::make(cx.s, st::HASHCHECK, hierarchy, &[value, &id])
}

/// TPM2_SequenceComplete.
pub(crate) fn sequence_complete(cx: &mut Context<'_>) -> Result<()> {
    let data: Buf<MAX_BUFFER> = cx.params.get()?;
    let hierarchy = cx.params.with(hierarchy)?;
    cx.params.end()?;
    let handle = cx.handle(0);
    let mut sequence = match cx.s.objects.sequence(handle) {
        Some(sequence) if !matches!(sequence.kind, SequenceKind::Event(_)) => sequence.clone(),
        _ => return Err(Rc::MODE.handle(1)),
    };
    if let SequenceKind::Hash { .. } = &sequence.kind
        && hierarchy != rh::NULL
        && !cx.s.hierarchy_enabled(hierarchy)
    {
        return Err(Rc::HIERARCHY.param(2));
    }
    update(&mut sequence.kind, &data);
    match sequence.kind {
        SequenceKind::Hash { hasher, ticket, .. } => {
            let hash = hasher.alg();
            let value = hasher.finish();
            let ticket = hash_check(cx, hierarchy, ticket, hash, &value);
            cx.out.put(&value);
            cx.out.put(&ticket);
        }
        SequenceKind::Hmac(hmac) => {
            let value = hmac.finish();
            cx.out.put(&value);
            cx.out.put(&Ticket::null(st::HASHCHECK));
        }
        SequenceKind::Event(_) => return Err(Rc::MODE.handle(1)),
    }
    cx.s.objects.flush(handle);
    Ok(())
}

/// TPM2_EventSequenceComplete.
pub(crate) fn event_sequence_complete(cx: &mut Context<'_>) -> Result<()> {
    let data: Buf<MAX_BUFFER> = cx.params.get()?;
    cx.params.end()?;
    let handle = cx.handle(1);
    let Some(SequenceKind::Event(hashers)) = cx.s.objects.sequence(handle).map(|s| &s.kind) else {
        return Err(Rc::MODE.handle(2));
    };
    let mut hashers = hashers.clone();
    let pcr = match cx.handle(0) {
        rh::NULL => None,
        pcr => Some(integrity::check_extend(cx, pcr)?),
    };
    for hasher in &mut hashers {
        hasher.update(&data);
    }
    integrity::event_digests(cx, pcr, hashers);
    cx.s.objects.flush(handle);
    Ok(())
}
