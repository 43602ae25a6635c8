//! Templates that are nearly valid, and the codes that Part 2 §8.3 and Part 3 §12.1 give them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

use super::checks::{self, Blame};
use super::tests::{AES128, OWN, STORAGE, cipher, ecc, keyed_hash, object, rsa, sensitive};
use super::*;
use crate::buf::Buf;
use crate::crypto::hash::HashAlg;
use crate::types::{Curve, ObjectAttributes as A, Scheme, SymObject, alg};

const P: Curve = Curve::P256;
const SIGN: A = OWN.union(A::SIGN);

fn parent(attributes: A) -> Object {
    object(
        ecc(P, attributes, Some(AES128)),
        sensitive(ObjectType::Ecc, b"", &[7; 32], &[1]),
    )
}

fn with_scheme(mut public: Public, new: Scheme) -> Public {
    match &mut public.parameters {
        Parameters::Rsa { scheme, .. }
        | Parameters::Ecc { scheme, .. }
        | Parameters::KeyedHash { scheme } => *scheme = new,
        Parameters::SymCipher { .. } => {}
    }
    public
}

fn with_kdf(mut public: Public) -> Public {
    if let Parameters::Ecc { kdf, .. } = &mut public.parameters {
        *kdf = Scheme::new(alg::KDF1_SP800_56A, HashAlg::Sha256);
    }
    public
}

#[test]
fn templates_under_a_fixed_parent() {
    let parent = parent(STORAGE);
    let hash = |alg| Scheme::new(alg, HashAlg::Sha256);
    let xor = |extra| Scheme {
        extra,
        ..hash(alg::XOR)
    };
    let tied = A::FIXED_TPM | A::FIXED_PARENT;
    let aes256 = SymObject {
        bits: 256,
        ..AES128
    };
    let policy = Public {
        auth_policy: Buf::zeroed(31),
        ..ecc(P, SIGN, None)
    };
    let other_names = Public {
        name_alg: Some(HashAlg::Sha384),
        ..ecc(P, STORAGE, Some(AES128))
    };
    let derives = xor(alg::KDF1_SP800_108);
    let parents = A::RESTRICTED | A::DECRYPT | A::SENSITIVE_DATA_ORIGIN;
    let cases = [
        (ecc(P, SIGN, None), 0, Ok(())),
        (ecc(P, STORAGE, Some(AES128)), 0, Ok(())),
        (ecc(P, SIGN, None), 1, Err(Rc::ATTRIBUTES)),
        (
            ecc(P, SIGN - A::SENSITIVE_DATA_ORIGIN, None),
            1,
            Err(Rc::ATTRIBUTES),
        ),
        (ecc(P, OWN, None), 0, Err(Rc::ATTRIBUTES)),
        (ecc(P, SIGN - A::FIXED_TPM, None), 0, Err(Rc::ATTRIBUTES)),
        (ecc(P, SIGN - A::FIXED_PARENT, None), 0, Err(Rc::ATTRIBUTES)),
        (ecc(P, SIGN - tied, None), 0, Ok(())),
        (
            ecc(P, SIGN | A::ENCRYPTED_DUPLICATION, None),
            0,
            Err(Rc::ATTRIBUTES),
        ),
        (
            ecc(P, STORAGE | A::SIGN, Some(AES128)),
            0,
            Err(Rc::ATTRIBUTES),
        ),
        (ecc(P, OWN | A::RESTRICTED, None), 0, Err(Rc::ATTRIBUTES)),
        (policy, 0, Err(Rc::SIZE)),
        // A parent needs a cipher, its parent's if it is tied to it; another key must have none.
        (ecc(P, STORAGE, None), 0, Err(Rc::SYMMETRIC)),
        (ecc(P, STORAGE, Some(aes256)), 0, Err(Rc::SYMMETRIC)),
        (ecc(P, STORAGE - tied, Some(aes256)), 0, Ok(())),
        (ecc(P, SIGN, Some(AES128)), 0, Err(Rc::SYMMETRIC)),
        (other_names, 0, Err(Rc::HASH)),
        // Schemes.
        (ecc(P, SIGN | A::RESTRICTED, None), 0, Err(Rc::SCHEME)),
        (
            with_scheme(ecc(P, SIGN | A::RESTRICTED, None), hash(alg::ECDSA)),
            0,
            Ok(()),
        ),
        (
            with_scheme(ecc(P, SIGN, None), hash(alg::ECDH)),
            0,
            Err(Rc::SCHEME),
        ),
        (
            with_scheme(ecc(P, OWN | A::DECRYPT, None), hash(alg::ECDH)),
            0,
            Ok(()),
        ),
        (
            with_scheme(ecc(P, SIGN | A::DECRYPT, None), hash(alg::ECDSA)),
            0,
            Err(Rc::SCHEME),
        ),
        (
            with_scheme(ecc(P, STORAGE, Some(AES128)), hash(alg::ECDH)),
            0,
            Err(Rc::SCHEME),
        ),
        (
            with_scheme(rsa(2048, SIGN, None), hash(alg::OAEP)),
            0,
            Err(Rc::SCHEME),
        ),
        (
            with_scheme(rsa(2048, SIGN, None), hash(alg::RSAPSS)),
            0,
            Ok(()),
        ),
        (with_kdf(ecc(P, SIGN, None)), 0, Err(Rc::KDF)),
        // Data, keys for MACs, and parents of derived objects.
        (keyed_hash(OWN, Scheme::NULL), 0, Err(Rc::ATTRIBUTES)),
        (keyed_hash(tied, Scheme::NULL), 0, Err(Rc::ATTRIBUTES)),
        (keyed_hash(tied, Scheme::NULL), 4, Ok(())),
        (keyed_hash(tied, hash(alg::HMAC)), 4, Err(Rc::SCHEME)),
        (keyed_hash(SIGN, Scheme::NULL), 0, Err(Rc::SCHEME)),
        (keyed_hash(SIGN, hash(alg::HMAC)), 0, Ok(())),
        (keyed_hash(SIGN, derives), 0, Err(Rc::SCHEME)),
        (keyed_hash(parents | tied, derives), 0, Ok(())),
        (
            keyed_hash(parents | tied, xor(alg::MGF1)),
            0,
            Err(Rc::SCHEME),
        ),
        (
            keyed_hash(tied | A::RESTRICTED | A::DECRYPT, derives),
            4,
            Err(Rc::ATTRIBUTES),
        ),
        (keyed_hash(A::RESTRICTED | A::DECRYPT, derives), 4, Ok(())),
        (cipher(OWN | A::DECRYPT), 0, Ok(())),
        (cipher(OWN), 0, Err(Rc::ATTRIBUTES)),
    ];
    for (at, (template, data, expected)) in cases.into_iter().enumerate() {
        let found = checks::template(Some(&parent), &template, data);
        assert_eq!(found, expected, "case {at}: {template:?}");
    }
}

#[test]
fn a_parent_that_can_be_duplicated_hands_its_duplication_down() {
    let movable = STORAGE - A::FIXED_TPM - A::FIXED_PARENT;
    let free = SIGN - A::FIXED_TPM - A::FIXED_PARENT;
    let encrypted = A::ENCRYPTED_DUPLICATION;
    let check = |parent_attributes, attributes| {
        checks::template(
            Some(&parent(parent_attributes)),
            &ecc(P, attributes, None),
            0,
        )
    };
    assert_eq!(check(movable, free), Ok(()));
    assert_eq!(check(movable, free | A::FIXED_PARENT), Ok(()));
    assert_eq!(check(movable, free | A::FIXED_TPM), Err(Rc::ATTRIBUTES));
    assert_eq!(check(movable, free | encrypted), Err(Rc::ATTRIBUTES));
    assert_eq!(check(movable | encrypted, free), Err(Rc::ATTRIBUTES));
    assert_eq!(check(movable | encrypted, free | encrypted), Ok(()));
}

#[test]
fn areas_that_do_not_belong_together_are_told_apart() {
    let seed = [9; 32];
    let own = |public: Public, s: &Sensitive| Public {
        unique: Unique::Digest(create::symmetric_unique(HashAlg::Sha256, s)),
        ..public
    };
    let public = cipher(A::DECRYPT);
    let key = sensitive(ObjectType::SymCipher, b"", &seed, &[1; 16]);
    let good = own(public.clone(), &key);
    let check = |public: &Public, s: &Sensitive| checks::load(None, public, Some(s));
    assert_eq!(check(&good, &key), Ok(()));
    assert_eq!(check(&public, &key), Err((Rc::BINDING, Blame::Neither)));
    let cases = [
        (
            sensitive(ObjectType::KeyedHash, b"", &seed, &[1; 16]),
            Rc::TYPE,
        ),
        (
            sensitive(ObjectType::SymCipher, &[1; 33], &seed, &[1; 16]),
            Rc::SIZE,
        ),
        (
            sensitive(ObjectType::SymCipher, b"", &seed, &[1; 15]),
            Rc::KEY_SIZE,
        ),
        (
            sensitive(ObjectType::SymCipher, b"", &seed[1..], &[1; 16]),
            Rc::KEY_SIZE,
        ),
        (
            sensitive(ObjectType::SymCipher, b"", &[9; 33], &[1; 16]),
            Rc::KEY_SIZE,
        ),
    ];
    for (sensitive, rc) in cases {
        assert_eq!(check(&good, &sensitive), Err((rc, Blame::Sensitive)));
    }
    let point = ecc(P, A::SIGN, None);
    let zero = sensitive(ObjectType::Ecc, b"", b"", &[0; 32]);
    assert_eq!(check(&point, &zero), Err((Rc::KEY_SIZE, Blame::Neither)));
    let other = sensitive(ObjectType::Ecc, b"", b"", &[2; 32]);
    assert_eq!(check(&point, &other), Err((Rc::BINDING, Blame::Neither)));
    assert_eq!(
        checks::load(None, &point, None),
        Err((Rc::KEY, Blame::Public))
    );
}
