//! Part 3 §11: the beginning of sessions.

use crate::buf::{Buf, Secret};
use crate::codec::Reader;
use crate::context::Context;
use crate::crypto::kdf::kdfa;
use crate::entity;
use crate::limits::{MAX_AUTH, MAX_DIGEST, MAX_ENCRYPTED_SECRET};
use crate::object::secret;
use crate::rc::{Rc, Result};
use crate::session::{Bound, PolicyState, Session, SessionKind};
use crate::types::{HashAlg, Mode, ObjectAttributes, SymDef, hr, rh};

/// Shortest nonce.
const MIN_NONCE: usize = 16;

fn kind(r: &mut Reader<'_>) -> Result<SessionKind> {
    match r.u8()? {
        0 => Ok(SessionKind::Hmac),
        1 => Ok(SessionKind::Policy),
        3 => Ok(SessionKind::Trial),
        _ => Err(Rc::VALUE),
    }
}

/// TPM2_StartAuthSession.
pub(crate) fn start_auth_session(cx: &mut Context<'_>) -> Result<()> {
    let nonce_caller = cx.params.with(|r| r.sized_bytes(MAX_DIGEST))?;
    let encrypted = cx.params.with(|r| r.sized_bytes(MAX_ENCRYPTED_SECRET))?;
    let kind = cx.params.with(kind)?;
    let symmetric: SymDef = cx.params.get()?;
    let hash: HashAlg = cx.params.get()?;
    cx.params.end()?;
    let (key, bind) = (cx.handle(0), cx.handle(1));

    let salt = salt(cx, key, encrypted)?;
    if bind != rh::NULL {
        check_bind(cx, bind)?;
    }
    if matches!(symmetric, SymDef::Aes { mode, .. } if mode != Some(Mode::Cfb)) {
        return Err(Rc::MODE.param(4));
    }
    if !(MIN_NONCE..=hash.size()).contains(&nonce_caller.len()) {
        return Err(Rc::SIZE.param(1));
    }
    cx.s.sessions.check_room()?;

    let mut nonce_tpm = Buf::zeroed(nonce_caller.len());
    cx.rng()?.generate(nonce_tpm.as_mut_slice());
    let s = &mut *cx.s;
    let mut session_key = Secret::new();
    if key != rh::NULL || bind != rh::NULL {
        let mut secret =
            Secret::<{ MAX_AUTH + MAX_DIGEST }>::from_slice(entity::auth_value(s, bind))?;
        secret.buf_mut().extend(&salt)?;
        session_key = Secret::zeroed(hash.size());
        let bits = (hash.size() as u32).wrapping_mul(8);
        kdfa(
            hash,
            &secret,
            b"ATH",
            &nonce_tpm,
            nonce_caller,
            bits,
            session_key.as_mut_slice(),
        );
    }
    // Only an HMAC session is bound: a policy session's authorization is the policy's alone.
    let bound = kind == SessionKind::Hmac && bind != rh::NULL;
    let session = Session {
        kind,
        hash,
        symmetric,
        key: session_key,
        nonce_tpm,
        bound: if bound {
            Some(Bound {
                name: s.name(bind),
                auth: Secret::from_slice(entity::auth_value(s, bind))?,
            })
        } else {
            None
        },
        da_bound: bound && !entity::da_exempt(s, bind),
        lockout_bound: bound && bind == rh::LOCKOUT,
        audit: None,
        policy: if kind == SessionKind::Hmac {
            PolicyState::default()
        } else {
            PolicyState::new(hash, s.clock.time, s.clock.epoch)
        },
    };
    cx.out.put(&session.nonce_tpm);
    cx.out_handle = s.sessions.insert(session)?;
    Ok(())
}

/// The salt that the caller encrypted to `key`.
fn salt(cx: &mut Context<'_>, key: u32, encrypted: &[u8]) -> Result<secret::Seed> {
    if (key == rh::NULL) != encrypted.is_empty() {
        return Err(Rc::VALUE.param(2));
    }
    if key == rh::NULL {
        return Ok(secret::Seed::new());
    }
    // The key is used without authorization: what authorization would have checked is checked here.
    let object = cx.s.objects.get(key).ok_or(Rc::HANDLE.handle(1))?;
    if !object.public.object_type().is_asymmetric() {
        return Err(Rc::KEY.handle(1));
    }
    if object.sensitive.is_none() {
        return Err(Rc::HANDLE.handle(1));
    }
    if !object.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    secret::decrypt(cx, key, secret::SECRET, encrypted).map_err(|rc| match rc {
        Rc::FAILURE => rc,
        // Whatever is wrong with the ciphertext.
        _ => Rc::VALUE.param(2),
    })
}

/// Whether a session can be bound to `bind`: its authorization value must be one that not everybody knows.
fn check_bind(cx: &Context<'_>, bind: u32) -> Result<()> {
    let bindable = match hr::of(bind) {
        hr::TRANSIENT | hr::PERSISTENT => match cx.s.objects.get(bind) {
            Some(object) => object.sensitive.is_some() && object.public.name_alg.is_some(),
            None => false,
        },
        hr::NV_INDEX => {
            cx.s.nv
                .get(bind)
                .is_some_and(|index| !entity::is_pin(index))
        }
        _ => true,
    };
    if bindable {
        Ok(())
    } else {
        Err(Rc::HANDLE.handle(2))
    }
}

/// TPM2_PolicyRestart.
pub(crate) fn policy_restart(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let handle = cx.handle(0);
    let session = cx.s.sessions.get_mut(handle).ok_or(Rc::HANDLE)?;
    session.policy = PolicyState::new(session.hash, session.policy.start, session.policy.epoch);
    Ok(())
}
