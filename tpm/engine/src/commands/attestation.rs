//! Part 3 §18 and §31.16: attestation. Each command gathers what it attests and gives it to [`attest`].

use crate::audit;
use crate::buf::Buf;
use crate::codec::{Writer, build};
use crate::command_table::COMMANDS;
use crate::commands::sequence::GENERATED;
use crate::context::Context;
use crate::crypto::hash::{Hasher, digest};
use crate::crypto::kdf::kdfa;
use crate::limits::{MAX_DATA, MAX_NV_BUFFER};
use crate::properties;
use crate::rc::{Rc, Result};
use crate::signing;
use crate::ticket::{self, CONTEXT_HASH};
use crate::types::{Digest, HashAlg, Name, PcrSelections, Scheme, Ticket, rh, st};

/// Largest TPMS_ATTEST: an NV certification.
const MAX_ATTEST: usize = MAX_NV_BUFFER + 512;

type Qualifying = Buf<MAX_DATA>;

/// The key that signs, as checked before the command does anything.
struct Signer {
    handle: u32,
    scheme: Scheme,
    name: Name,
    /// Counters and version are told as they are: to the privacy administrator and the platform.
    open: bool,
}

/// Handle `n` signs with the scheme that is parameter `number`.
fn signer(cx: &Context<'_>, n: usize, wanted: Scheme, number: usize) -> Result<Signer> {
    let handle = cx.handle(n);
    if handle == rh::NULL {
        return Ok(Signer {
            handle,
            scheme: Scheme::NULL,
            // The Name of TPM_RH_NULL.
            name: cx.s.name(handle),
            open: false,
        });
    }
    let n = n.saturating_add(1);
    let object = cx.s.objects.get(handle).ok_or(Rc::KEY.handle(n))?;
    signing::check_signing_key(object).map_err(|rc| rc.handle(n))?;
    let scheme = signing::select_scheme(object, wanted).map_err(|rc| rc.param(number))?;
    Ok(Signer {
        handle,
        scheme,
        name: object.qualified_name.clone(),
        open: matches!(object.hierarchy, rh::ENDORSEMENT | rh::PLATFORM),
    })
}

/// Writes TPM2B_ATTEST and TPMT_SIGNATURE.
fn attest(
    cx: &mut Context<'_>,
    signer: &Signer,
    tag: u16,
    qualifying: &Qualifying,
    body: impl FnOnce(&mut Writer<'_>, u64),
) -> Result<()> {
    let s = &*cx.s;
    let mut reset_count = s.perm.reset_count;
    let mut restart_count = s.reset.restart_count;
    let mut version = properties::firmware_version();
    if !signer.open {
        // Part 1 §33.7: what could identify the TPM is blurred by a value that is fixed for this key.
        let mut blur = [0; 16];
        kdfa(
            CONTEXT_HASH,
            s.proof(rh::OWNER),
            b"OBFUSCATE",
            &signer.name,
            &[],
            128,
            &mut blur,
        );
        let blur = u128::from_be_bytes(blur);
        version = version.wrapping_add(blur as u64);
        restart_count = restart_count.wrapping_add((blur >> 64) as u32);
        reset_count = reset_count.wrapping_add((blur >> 96) as u32);
    }
    let attested: Buf<MAX_ATTEST> = build(|w| {
        w.bytes(&GENERATED);
        w.u16(tag);
        w.put(&signer.name);
        w.put(qualifying);
        w.u64(s.clock.clock);
        w.u32(reset_count);
        w.u32(restart_count);
        w.put(&s.perm.clock_safe);
        w.u64(version);
        body(w, version);
    })?;
    let value = match signer.scheme.hash {
        Some(hash) => digest(hash, &[&attested]),
        None => Digest::new(),
    };
    let signature = signing::sign(cx, signer.handle, signer.scheme, &value)?;
    cx.out.put(&attested);
    cx.out.put(&signature);
    Ok(())
}

/// TPM2_Certify.
pub(crate) fn certify(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    cx.params.end()?;
    let signer = signer(cx, 1, wanted, 2)?;
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::TYPE.handle(1))?;
    let (name, qualified) = (object.name.clone(), object.qualified_name.clone());
    attest(cx, &signer, st::ATTEST_CERTIFY, &qualifying, |w, _| {
        w.put(&name);
        w.put(&qualified);
    })
}

/// TPM2_CertifyCreation.
pub(crate) fn certify_creation(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let creation_hash: Digest = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    let proof = cx.params.with(|r| Ticket::read(r, &[st::CREATION]))?;
    cx.params.end()?;
    let signer = signer(cx, 0, wanted, 3)?;
    let object = cx.s.objects.get(cx.handle(1)).ok_or(Rc::TYPE.handle(2))?;
    let name = object.name.clone();
    ticket::check(cx.s, &proof, &[&name, &creation_hash]).map_err(|rc| rc.param(4))?;
    attest(cx, &signer, st::ATTEST_CREATION, &qualifying, |w, _| {
        w.put(&name);
        w.put(&creation_hash);
    })
}

/// TPM2_Quote.
pub(crate) fn quote(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    let mut selections: PcrSelections = cx.params.get()?;
    cx.params.end()?;
    let signer = signer(cx, 0, wanted, 2)?;
    cx.s.pcr.filter(&mut selections);
    // Nothing says how to digest the PCRs where neither a key nor a scheme is given.
    let hash = signer.scheme.hash.ok_or(Rc::SCHEME.param(2))?;
    let value = cx.s.pcr.composite(hash, &selections);
    attest(cx, &signer, st::ATTEST_QUOTE, &qualifying, |w, _| {
        w.put(&selections);
        w.put(&value);
    })
}

/// TPM2_GetTime.
pub(crate) fn get_time(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    cx.params.end()?;
    let signer = signer(cx, 1, wanted, 2)?;
    let time = build::<32>(|w| crate::clock::put_time_info(cx.s, w))?;
    attest(cx, &signer, st::ATTEST_TIME, &qualifying, |w, version| {
        w.bytes(&time);
        w.u64(version);
    })
}

/// Whether the audit session is exclusive, and its digest.
fn session_audit(cx: &Context<'_>, handle: u32) -> Option<(bool, Digest)> {
    let sessions = &cx.s.sessions;
    let audit = sessions.get(handle)?.audit.clone()?;
    Some((sessions.exclusive == handle, audit))
}

/// TPM2_GetSessionAuditDigest.
pub(crate) fn get_session_audit_digest(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    cx.params.end()?;
    let signer = signer(cx, 1, wanted, 2)?;
    let (exclusive, value) = session_audit(cx, cx.handle(2)).ok_or(Rc::TYPE.handle(3))?;
    attest(
        cx,
        &signer,
        st::ATTEST_SESSION_AUDIT,
        &qualifying,
        |w, _| {
            w.put(&exclusive);
            w.put(&value);
        },
    )
}

/// The digest of the list of commands that are audited.
fn audited_commands(cx: &Context<'_>, hash: HashAlg) -> Digest {
    let mut hasher = Hasher::new(hash);
    for info in COMMANDS {
        if audit::bit(&cx.s.perm.audit_commands, info.cc) {
            hasher.update(&info.cc.to_be_bytes());
        }
    }
    hasher.finish()
}

/// TPM2_GetCommandAuditDigest. A signed digest starts anew.
pub(crate) fn get_command_audit_digest(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    cx.params.end()?;
    let signer = signer(cx, 1, wanted, 2)?;
    let hash = cx.s.perm.audit_hash;
    let counter = cx.s.perm.audit_counter;
    let value = cx.s.reset.audit_digest.clone();
    let commands = audited_commands(cx, hash);
    attest(
        cx,
        &signer,
        st::ATTEST_COMMAND_AUDIT,
        &qualifying,
        |w, _| {
            w.u64(counter);
            w.put(&hash);
            w.put(&value);
            w.put(&commands);
        },
    )?;
    if signer.handle != rh::NULL {
        cx.s.reset.audit_digest = Digest::new();
    }
    Ok(())
}

/// TPM2_NV_Certify: a part of the data, or with size and offset zero the digest of all of it.
pub(crate) fn nv_certify(cx: &mut Context<'_>) -> Result<()> {
    let qualifying: Qualifying = cx.params.get()?;
    let wanted = cx.params.with(Scheme::signing)?;
    let size: u16 = cx.params.get()?;
    let offset: u16 = cx.params.get()?;
    cx.params.end()?;
    let (authorized, index) = (cx.handle(1), cx.handle(2));
    crate::nv::read_access(cx.s, authorized, index)?;
    let signer = signer(cx, 0, wanted, 2)?;
    let name = cx.s.name(index);
    if size == 0 && offset == 0 {
        let data = cx.s.nv.data(index).ok_or(Rc::NV_UNINITIALIZED)?;
        let value = match signer.scheme.hash {
            Some(hash) => digest(hash, &[data]),
            None => Digest::new(),
        };
        return attest(cx, &signer, st::ATTEST_NV_DIGEST, &qualifying, |w, _| {
            w.put(&name);
            w.put(&value);
        });
    }
    let contents: Buf<MAX_NV_BUFFER> = {
        let data = cx.s.nv.data(index).ok_or(Rc::NV_UNINITIALIZED)?;
        let part = data
            .get(usize::from(offset)..)
            .and_then(|rest| rest.get(..usize::from(size)))
            .ok_or(Rc::NV_RANGE)?;
        Buf::from_slice(part).map_err(|_| Rc::VALUE.param(3))?
    };
    attest(cx, &signer, st::ATTEST_NV, &qualifying, |w, _| {
        w.put(&name);
        w.u16(offset);
        w.put(&contents);
    })
}
