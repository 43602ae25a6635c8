//! Part 3 §14: asymmetric primitives.

use crate::buf::{Buf, Secret};
use crate::context::Context;
use crate::crypto::ecc;
use crate::crypto::rsa;
use crate::limits::{MAX_DATA, MAX_ECC_BYTES, MAX_RSA_BYTES};
use crate::object::Object;
use crate::rc::{Rc, Result};
use crate::signing::{failure, rsa_public};
use crate::types::{Curve, HashAlg, ObjectAttributes, Parameters, Point, Scheme, Unique, alg};

/// Scheme of an RSA encryption: the key's, or where that leaves it open the caller's.
fn rsa_scheme(object: &Object, wanted: Scheme) -> Result<Scheme> {
    let own = object.public.parameters.scheme();
    if own.is_null() {
        return Ok(wanted);
    }
    if wanted.is_null() || (wanted.alg == own.alg && wanted.hash == own.hash) {
        return Ok(own);
    }
    Err(Rc::SCHEME.param(2))
}

/// A label ends with a zero byte (Part 1 Annex B.4).
fn check_label(label: &[u8]) -> Result<()> {
    match label.last() {
        None | Some(0) => Ok(()),
        Some(_) => Err(Rc::VALUE.param(3)),
    }
}

/// TPM2_RSA_Encrypt.
pub(crate) fn rsa_encrypt(cx: &mut Context<'_>) -> Result<()> {
    let message: Secret<MAX_RSA_BYTES> = cx.params.get()?;
    let wanted = cx.params.with(Scheme::rsa_decrypt)?;
    let label: Buf<MAX_DATA> = cx.params.get()?;
    cx.params.end()?;
    cx.rng()?;
    let s = &mut *cx.s;
    let object = s.objects.get(cx.handles[0]).ok_or(Rc::KEY.handle(1))?;
    let (n, e) = rsa_public(&object.public).ok_or(Rc::KEY.handle(1))?;
    if !object.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    check_label(&label)?;
    let scheme = rsa_scheme(object, wanted)?;
    let mut out: Buf<MAX_RSA_BYTES> = Buf::zeroed(n.len());
    match (scheme.alg, scheme.hash) {
        (alg::NULL, _) => {
            // Part 1 Annex B.2: shorter data is a smaller number.
            if message.len() > n.len() {
                return Err(Rc::SIZE.param(1));
            }
            let mut padded: Secret<MAX_RSA_BYTES> = Secret::zeroed(n.len());
            let at = n.len().saturating_sub(message.len());
            if let Some(place) = padded.as_mut_slice().get_mut(at..) {
                place.copy_from_slice(&message);
            }
            rsa::public_op(n, e, &padded, out.as_mut_slice())
        }
        (alg::OAEP, Some(hash)) => rsa::oaep_encrypt(
            (n, e),
            hash,
            &label,
            &message,
            &mut s.drbg,
            out.as_mut_slice(),
        ),
        (alg::RSAES, _) => rsa::pkcs1_encrypt((n, e), &message, &mut s.drbg, out.as_mut_slice()),
        _ => return Err(Rc::SCHEME.param(2)),
    }
    .map_err(|error| match error {
        crate::crypto::CryptoError::Size | crate::crypto::CryptoError::Value => Rc::VALUE.param(1),
        error => failure(error),
    })?;
    cx.out.put(&out);
    Ok(())
}

/// TPM2_RSA_Decrypt.
pub(crate) fn rsa_decrypt(cx: &mut Context<'_>) -> Result<()> {
    let cipher: Buf<MAX_RSA_BYTES> = cx.params.get()?;
    let wanted = cx.params.with(Scheme::rsa_decrypt)?;
    let label: Buf<MAX_DATA> = cx.params.get()?;
    cx.params.end()?;
    cx.rng()?;
    let s = &mut *cx.s;
    let object = s.objects.get(cx.handles[0]).ok_or(Rc::KEY.handle(1))?;
    if !matches!(object.public.parameters, Parameters::Rsa { .. }) {
        return Err(Rc::KEY.handle(1));
    }
    if object.has(ObjectAttributes::RESTRICTED) || !object.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    check_label(&label)?;
    let scheme = rsa_scheme(object, wanted)?;
    let key = object.rsa.as_ref().ok_or(Rc::KEY.handle(1))?;
    if cipher.len() != key.size() {
        return Err(Rc::SIZE);
    }
    let rng = &mut s.drbg;
    let message: Secret<MAX_RSA_BYTES> = match (scheme.alg, scheme.hash) {
        (alg::NULL, _) => {
            let mut out = Secret::zeroed(key.size());
            key.private_op(rng, &cipher, out.as_mut_slice())
                .map(|()| out)
        }
        (alg::OAEP, Some(hash)) => rsa::oaep_decrypt(key, hash, &label, rng, &cipher),
        (alg::RSAES, _) => rsa::pkcs1_decrypt(key, rng, &cipher),
        _ => return Err(Rc::SCHEME.param(2)),
    }
    .map_err(|error| match error {
        crate::crypto::CryptoError::Fault => Rc::FAILURE,
        // One code for all that is wrong with the ciphertext.
        _ => Rc::VALUE,
    })?;
    cx.out.put(&message);
    Ok(())
}

/// Curve and public point of an ECC key.
fn ecc_key(object: Option<&Object>) -> Result<(&Object, Curve, &Point)> {
    match object.map(|object| (object, &object.public.parameters, &object.public.unique)) {
        Some((object, Parameters::Ecc { curve, .. }, Unique::Ecc(point))) => {
            Ok((object, *curve, point))
        }
        _ => Err(Rc::KEY.handle(1)),
    }
}

/// TPM2B_ECC_POINT as a parameter; it may be empty nowhere.
pub(crate) fn sized_point(r: &mut crate::codec::Reader<'_>) -> Result<Point> {
    r.sized(|r| r.get())?.ok_or(Rc::SIZE)
}

/// TPM2_ECDH_KeyGen.
pub(crate) fn ecdh_keygen(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    cx.rng()?;
    let s = &mut *cx.s;
    let (_, curve, point) = ecc_key(s.objects.get(cx.handles[0]))?;
    let (scalar, public) = ecc::keygen(curve, &mut s.drbg);
    let shared = ecc::mul(curve, &scalar, point).map_err(|_| Rc::KEY.handle(1))?;
    cx.out.sized(|w| w.put(&shared));
    cx.out.sized(|w| w.put(&public));
    Ok(())
}

/// The key of an ECDH command: unrestricted, for decryption, with a scheme that allows it.
fn ecdh_key(object: Option<&Object>, scheme: u16) -> Result<(&Object, Curve, &[u8])> {
    let (object, curve, _) = ecc_key(object)?;
    if object.has(ObjectAttributes::RESTRICTED) || !object.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let own = object.public.parameters.scheme().alg;
    if own != alg::NULL && own != scheme {
        return Err(Rc::SCHEME.handle(1));
    }
    let sensitive = object.sensitive.as_ref().ok_or(Rc::KEY.handle(1))?;
    Ok((object, curve, &sensitive.secret))
}

/// TPM2_ECDH_ZGen.
pub(crate) fn ecdh_zgen(cx: &mut Context<'_>) -> Result<()> {
    let point = cx.params.with(sized_point)?;
    cx.params.end()?;
    let (_, curve, secret) = ecdh_key(cx.s.objects.get(cx.handle(0)), alg::ECDH)?;
    let shared = ecc::mul(curve, secret, &point).map_err(|_| Rc::ECC_POINT.param(1))?;
    cx.out.sized(|w| w.put(&shared));
    Ok(())
}

/// TPM2_ECC_Parameters: TPMS_ALGORITHM_DETAIL_ECC.
pub(crate) fn ecc_parameters(cx: &mut Context<'_>) -> Result<()> {
    let curve: Curve = cx.params.get()?;
    cx.params.end()?;
    let parameters = curve.parameters();
    cx.out.put(&curve);
    cx.out.u16((curve.size() as u16).saturating_mul(8));
    let hash = match curve {
        Curve::P256 => HashAlg::Sha256,
        Curve::P384 => HashAlg::Sha384,
    };
    // The KDF of its key agreement; no signature scheme is prescribed.
    cx.out.put(&Scheme::new(alg::KDF1_SP800_56A, hash));
    cx.out.put(&Scheme::NULL);
    for value in [
        parameters.p,
        parameters.a,
        parameters.b,
        parameters.gx,
        parameters.gy,
        parameters.n,
        parameters.h,
    ] {
        cx.out.sized_bytes(value);
    }
    Ok(())
}

/// TPM2_ZGen_2Phase: one ephemeral key of TPM2_EC_Ephemeral is used up.
pub(crate) fn zgen_2phase(cx: &mut Context<'_>) -> Result<()> {
    let static_point = cx.params.with(sized_point)?;
    let ephemeral_point = cx.params.with(sized_point)?;
    let scheme = cx.params.with(|r| match r.u16()? {
        id @ alg::ECDH => Ok(id),
        _ => Err(Rc::SCHEME),
    })?;
    let counter: u16 = cx.params.get()?;
    cx.params.end()?;
    let (_, curve, _) = ecdh_key(cx.s.objects.get(cx.handle(0)), scheme)?;
    for (number, point) in [(1, &static_point), (2, &ephemeral_point)] {
        if !ecc::on_curve(curve, point) {
            return Err(Rc::ECC_POINT.param(number));
        }
    }
    let scalar: Secret<MAX_ECC_BYTES> =
        super::ephemeral::scalar(cx.s, curve, counter).ok_or(Rc::VALUE.param(4))?;
    let (_, _, secret) = ecdh_key(cx.s.objects.get(cx.handle(0)), scheme)?;
    let first = ecc::mul(curve, secret, &static_point).map_err(|_| Rc::ECC_POINT.param(1))?;
    let second = ecc::mul(curve, &scalar, &ephemeral_point).map_err(|_| Rc::ECC_POINT.param(2))?;
    super::ephemeral::used(cx.s, counter);
    cx.out.sized(|w| w.put(&first));
    cx.out.sized(|w| w.put(&second));
    Ok(())
}
