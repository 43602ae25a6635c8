//! Whether a template, or a public area with its sensitive one, makes sense (Part 1 §22, §24.2; Part 2 §8.3; Part 3
//! §12.1, §12.2). Codes are bare: the caller knows which parameter is at fault.

use crate::buf::ct_eq;
use crate::crypto::ecc;
use crate::object::{Object, create, secret};
use crate::rc::{Rc, Result};
use crate::types::{
    HashAlg, ObjectAttributes as A, ObjectType, Parameters, Public, Scheme, Sensitive, Unique, alg,
};

fn ensure(condition: bool, rc: Rc) -> Result<()> {
    if condition { Ok(()) } else { Err(rc) }
}

/// A template of TPM2_Create and its relatives, with `data` bytes of the caller's. Without `parent` it is a primary.
///
/// # Errors
/// ATTRIBUTES, and those of [`public_area`].
pub(crate) fn template(parent: Option<&Object>, public: &Public, data: usize) -> Result<()> {
    let has = |bit| public.attributes.contains(bit);
    let origin = has(A::SENSITIVE_DATA_ORIGIN);
    // Data comes from somewhere; only that of a primary's seed may be mixed with the caller's.
    ensure(origin || data != 0, Rc::ATTRIBUTES)?;
    ensure(!origin || data == 0 || parent.is_none(), Rc::ATTRIBUTES)?;
    let kind = public.object_type();
    if kind.is_asymmetric() {
        ensure(origin, Rc::ATTRIBUTES)?;
    } else {
        let is_data = kind == ObjectType::KeyedHash && !has(A::SIGN) && !has(A::DECRYPT);
        ensure(!is_data || !origin, Rc::ATTRIBUTES)?;
        // A parent that somebody else knows must not look as if it were known to this TPM only.
        let tied = has(A::FIXED_PARENT) || has(A::FIXED_TPM);
        ensure(!has(A::RESTRICTED) || origin || !tied, Rc::ATTRIBUTES)?;
    }
    public_area(parent, public)
}

/// Attributes, policy and schemes of an object under `parent`, or of a primary.
///
/// # Errors
/// HASH, SIZE, ATTRIBUTES, and those of [`schemes`].
pub(crate) fn public_area(parent: Option<&Object>, public: &Public) -> Result<()> {
    let has = |bit| public.attributes.contains(bit);
    let alg = public.name_alg.ok_or(Rc::HASH)?;
    let policy = public.auth_policy.len();
    ensure(policy == 0 || policy == alg.size(), Rc::SIZE)?;
    let fixed = has(A::FIXED_TPM);
    match parent.filter(|parent| !parent.has(A::FIXED_TPM)) {
        // Seeds count as fixed.
        None => ensure(has(A::FIXED_PARENT) == fixed, Rc::ATTRIBUTES)?,
        Some(parent) => {
            ensure(!fixed, Rc::ATTRIBUTES)?;
            let encrypted = has(A::ENCRYPTED_DUPLICATION);
            ensure(
                encrypted == parent.has(A::ENCRYPTED_DUPLICATION),
                Rc::ATTRIBUTES,
            )?;
        }
    }
    ensure(
        !has(A::RESTRICTED) || has(A::SIGN) != has(A::DECRYPT),
        Rc::ATTRIBUTES,
    )?;
    ensure(!fixed || !has(A::ENCRYPTED_DUPLICATION), Rc::ATTRIBUTES)?;
    // Only a keyed hash may be neither: data.
    let may_be_data = public.object_type() == ObjectType::KeyedHash;
    ensure(
        has(A::SIGN) || has(A::DECRYPT) || may_be_data,
        Rc::ATTRIBUTES,
    )?;
    if let Some(parent) = parent.filter(|parent| parent.is_derivation_parent()) {
        ensure(fixed == parent.has(A::FIXED_TPM), Rc::ATTRIBUTES)?;
        ensure(has(A::FIXED_PARENT), Rc::ATTRIBUTES)?;
    }
    schemes(parent, public)
}

/// Whether the schemes fit what the attributes allow, and those of a parent that of its own.
///
/// # Errors
/// SCHEME, SYMMETRIC, KDF, HASH.
pub(crate) fn schemes(parent: Option<&Object>, public: &Public) -> Result<()> {
    let has = |bit| public.attributes.contains(bit);
    let (sign, decrypt) = (has(A::SIGN), has(A::DECRYPT));
    let is_parent = has(A::RESTRICTED) && decrypt;
    match public.parameters {
        Parameters::SymCipher { .. } => {}
        Parameters::KeyedHash { scheme } => return keyed_hash(&scheme, sign, decrypt, is_parent),
        Parameters::Rsa { scheme, .. } => {
            let decrypts = matches!(scheme.alg, alg::RSAES | alg::OAEP);
            let signs = matches!(scheme.alg, alg::RSASSA | alg::RSAPSS);
            asymmetric(public, &scheme, signs, decrypts)?;
        }
        Parameters::Ecc { scheme, kdf, .. } => {
            let decrypts = matches!(scheme.alg, alg::ECDH | alg::ECMQV);
            let signs = scheme.is_asymmetric_signing();
            asymmetric(public, &scheme, signs, decrypts)?;
            ensure(kdf.is_null(), Rc::KDF)?;
        }
    }
    if is_parent {
        let sym = public.parameters.symmetric().ok_or(Rc::SYMMETRIC)?;
        if let Some(parent) = parent.filter(|_| has(A::FIXED_PARENT)) {
            ensure(public.name_alg == parent.public.name_alg, Rc::HASH)?;
            let theirs = parent.public.parameters.symmetric();
            ensure(theirs == Some(sym), Rc::SYMMETRIC)?;
        }
    }
    Ok(())
}

fn keyed_hash(scheme: &Scheme, sign: bool, decrypt: bool, is_parent: bool) -> Result<()> {
    let allowed = match (sign, decrypt) {
        (true, false) => scheme.alg == alg::HMAC,
        (false, true) if is_parent => scheme.alg == alg::XOR && scheme.extra == alg::KDF1_SP800_108,
        (false, true) => scheme.alg == alg::XOR,
        _ => scheme.is_null(),
    };
    ensure(allowed, Rc::SCHEME)
}

fn asymmetric(public: &Public, scheme: &Scheme, signs: bool, decrypts: bool) -> Result<()> {
    let has = |bit| public.attributes.contains(bit);
    let restricted = has(A::RESTRICTED);
    let allowed = match (has(A::SIGN), has(A::DECRYPT)) {
        // A restricted key must not leave it to its user how it signs.
        (true, false) => signs || scheme.is_null() && !restricted,
        (false, true) => scheme.is_null() || decrypts && !restricted,
        _ => scheme.is_null(),
    };
    ensure(allowed, Rc::SCHEME)?;
    let is_parent = restricted && has(A::DECRYPT);
    ensure(
        is_parent || public.parameters.symmetric().is_none(),
        Rc::SYMMETRIC,
    )
}

/// Which of the two areas an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The public area.
    Public,
    /// The sensitive area.
    Sensitive,
    /// That they do not belong together, which has no number.
    Neither,
}

/// What is wrong with a pair of areas, and with which.
pub(crate) type Blamed = (Rc, Blame);

/// Consistency of what is loaded under `parent` (none for TPM2_LoadExternal and TPM2_Import).
///
/// # Errors
/// Those of [`public_area`], [`keys`].
pub(crate) fn load(
    parent: Option<&Object>,
    public: &Public,
    sensitive: Option<&Sensitive>,
) -> Result<(), Blamed> {
    let about_public = |rc| (rc, Blame::Public);
    match (sensitive, public.name_alg) {
        (Some(sensitive), Some(alg)) => {
            if sensitive.seed.len() > alg.size() {
                return Err((Rc::KEY_SIZE, Blame::Sensitive));
            }
            public_area(parent, public).map_err(about_public)?;
        }
        _ => schemes(None, public).map_err(about_public)?,
    }
    // A parent that is fixedTPM has its children from this TPM only, or from an import that checked them.
    if parent.is_some_and(|parent| parent.has(A::FIXED_TPM)) {
        return Ok(());
    }
    keys(public, sensitive)
}

fn blame(condition: bool, rc: Rc, whom: Blame) -> Result<(), Blamed> {
    if condition { Ok(()) } else { Err((rc, whom)) }
}

/// Whether the key has the size that the parameters say, and the areas belong together. That an RSA prime divides its
/// modulus is found out where the key is made ready.
fn keys(public: &Public, sensitive: Option<&Sensitive>) -> Result<(), Blamed> {
    let alg = public.name_alg;
    let digest = alg.map_or(0, HashAlg::size);
    if let Some(s) = sensitive {
        blame(s.kind == public.object_type(), Rc::TYPE, Blame::Sensitive)?;
        blame(
            digest == 0 || s.auth.len() <= digest,
            Rc::SIZE,
            Blame::Sensitive,
        )?;
    }
    match (&public.parameters, &public.unique) {
        (Parameters::Rsa { bits, exponent, .. }, Unique::Rsa(n)) => {
            let size = usize::from(bits.div_ceil(8));
            let full = |number: &[u8]| number.first().is_some_and(|byte| *byte >= 0x80);
            blame(n.len() == size && full(n), Rc::KEY, Blame::Public)?;
            blame(*exponent == 0 || *exponent >= 7, Rc::VALUE, Blame::Public)?;
            if let Some(s) = sensitive {
                let fits = s.secret.len() == size / 2 && full(&s.secret);
                blame(fits, Rc::KEY_SIZE, Blame::Sensitive)?;
            }
        }
        (Parameters::Ecc { curve, .. }, Unique::Ecc(point)) => match sensitive {
            None => {
                let size = curve.size();
                let fits = point.x.len() == size && point.y.len() == size;
                blame(fits, Rc::KEY, Blame::Public)?;
                let on = alg.is_none() || ecc::on_curve(*curve, point);
                blame(on, Rc::ECC_POINT, Blame::Public)?;
            }
            Some(s) => {
                let own = ecc::public_of(*curve, &s.secret)
                    .map_err(|_| (Rc::KEY_SIZE, Blame::Neither))?;
                let same = ct_eq(&own.x, &secret::full(*curve, &point.x))
                    && ct_eq(&own.y, &secret::full(*curve, &point.y));
                blame(alg.is_none() || same, Rc::BINDING, Blame::Neither)?;
            }
        },
        (parameters, Unique::Digest(unique)) => {
            let Some(s) = sensitive else {
                return blame(unique.len() == digest, Rc::KEY, Blame::Public);
            };
            let fits = match parameters {
                Parameters::SymCipher { sym } => s.secret.len() == sym.key_bytes(),
                other => s.secret.len() <= create::most_data(&other.scheme()),
            };
            blame(fits, Rc::KEY_SIZE, Blame::Sensitive)?;
            if let Some(alg) = alg {
                blame(s.seed.len() == digest, Rc::KEY_SIZE, Blame::Sensitive)?;
                let own = create::symmetric_unique(alg, s);
                blame(ct_eq(&own, unique), Rc::BINDING, Blame::Neither)?;
            }
        }
        _ => return Err((Rc::TYPE, Blame::Public)),
    }
    let is_parent = public.attributes.contains(A::RESTRICTED.union(A::DECRYPT));
    if let (true, Some(s)) = (is_parent && alg.is_some(), sensitive) {
        let fits = (digest / 2..=digest).contains(&s.seed.len());
        blame(fits, Rc::SIZE, Blame::Sensitive)?;
    }
    Ok(())
}
