//! Part 3 §15: symmetric primitives.

use zeroize::Zeroize;

use crate::buf::{Buf, Secret};
use crate::commands::sequence::{hash_check, hierarchy, hmac_hash, is_foreign, key_of};
use crate::context::Context;
use crate::crypto::hash::{HashAlg, digest};
use crate::crypto::hmac::hmac as compute_hmac;
use crate::crypto::sym::{BLOCK, crypt};
use crate::limits::MAX_BUFFER;
use crate::rc::{Rc, Result};
use crate::types::{Mode, ObjectAttributes, Parameters, rh};

/// TPM2_Hash.
pub(crate) fn hash(cx: &mut Context<'_>) -> Result<()> {
    let data = cx.params.with(|r| r.sized_bytes(MAX_BUFFER))?;
    let hash: HashAlg = cx.params.get()?;
    let hierarchy = cx.params.with(hierarchy)?;
    cx.params.end()?;
    if hierarchy != rh::NULL && !cx.s.hierarchy_enabled(hierarchy) {
        return Err(Rc::HIERARCHY.param(3));
    }
    let value = digest(hash, &[data]);
    let ticket = hash_check(cx, hierarchy, is_foreign(data), hash, &value);
    cx.out.put(&value);
    cx.out.put(&ticket);
    Ok(())
}

/// TPM2_HMAC.
pub(crate) fn hmac(cx: &mut Context<'_>) -> Result<()> {
    let data = cx.params.with(|r| r.sized_bytes(MAX_BUFFER))?;
    let wanted: Option<HashAlg> = cx.params.get()?;
    cx.params.end()?;
    let key = cx.s.objects.get(cx.handle(0));
    let hash = hmac_hash(key, wanted, 2)?;
    let value = compute_hmac(hash, key.map_or(&[], key_of), &[data]);
    cx.out.put(&value);
    Ok(())
}

/// TPM2_EncryptDecrypt: the data comes last, so that it cannot be encrypted on its way.
pub(crate) fn encrypt_decrypt(cx: &mut Context<'_>) -> Result<()> {
    let decrypt: bool = cx.params.get()?;
    let mode: Option<Mode> = cx.params.get()?;
    let iv: Buf<BLOCK> = cx.params.get()?;
    let data: Secret<MAX_BUFFER> = cx.params.get()?;
    cx.params.end()?;
    run(cx, decrypt, mode, &iv, data, [2, 3, 4])
}

/// TPM2_EncryptDecrypt2.
pub(crate) fn encrypt_decrypt_2(cx: &mut Context<'_>) -> Result<()> {
    let data: Secret<MAX_BUFFER> = cx.params.get()?;
    let decrypt: bool = cx.params.get()?;
    let mode: Option<Mode> = cx.params.get()?;
    let iv: Buf<BLOCK> = cx.params.get()?;
    cx.params.end()?;
    run(cx, decrypt, mode, &iv, data, [3, 4, 1])
}

/// `numbers`: those of the parameters mode, IV and data.
fn run(
    cx: &mut Context<'_>,
    decrypt: bool,
    mode: Option<Mode>,
    iv: &Buf<BLOCK>,
    mut data: Secret<MAX_BUFFER>,
    numbers: [usize; 3],
) -> Result<()> {
    let [mode_number, iv_number, data_number] = numbers;
    let object = cx.s.objects.get(cx.handle(0)).ok_or(Rc::KEY.handle(1))?;
    let Parameters::SymCipher { sym } = object.public.parameters else {
        return Err(Rc::KEY.handle(1));
    };
    let needed = if decrypt {
        ObjectAttributes::DECRYPT
    } else {
        ObjectAttributes::SIGN
    };
    if object.has(ObjectAttributes::RESTRICTED) || !object.has(needed) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    // The key's mode decides; the caller repeats it or leaves it open.
    let mode = match (sym.mode, mode) {
        (Some(own), None) => own,
        (Some(own), Some(asked)) if own == asked => own,
        (None, Some(asked)) => asked,
        _ => return Err(Rc::MODE.param(mode_number)),
    };
    let iv_length = if mode == Mode::Ecb { 0 } else { BLOCK };
    if iv.len() != iv_length {
        return Err(Rc::SIZE.param(iv_number));
    }
    if mode.needs_whole_blocks() && !data.len().is_multiple_of(BLOCK) {
        return Err(Rc::SIZE.param(data_number));
    }
    let mut chain = [0; BLOCK];
    for (to, from) in chain.iter_mut().zip(iv.iter()) {
        *to = *from;
    }
    let result = crypt(
        mode,
        !decrypt,
        key_of(object),
        &mut chain,
        data.as_mut_slice(),
    );
    let out_iv: Buf<BLOCK> = if iv_length == 0 {
        Buf::new()
    } else {
        Buf::from_prefix(&chain)
    };
    chain.zeroize();
    result.map_err(|_| Rc::FAILURE)?;
    cx.out.put(&data);
    cx.out.put(&out_iv);
    Ok(())
}
