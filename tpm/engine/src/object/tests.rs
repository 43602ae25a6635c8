//! Names, wrapping, secrets and keys against answers that were computed with other software (Python's hashlib, hmac and
//! cryptography; derived objects: swtpm), and the frozen answers of primary objects.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

extern crate std;
use std::vec::Vec;

use super::primary::{self, Derivation, Root};
use super::saved::Header;
use super::secret::{self, DUPLICATE, IDENTITY};
use super::wrap::{self, Outer};
use super::*;
use crate::buf::Buf;
use crate::codec::{Reader, Writer};
use crate::crypto::drbg::Drbg;
use crate::crypto::hash::HashAlg;
use crate::ek::EndorsementKey;
use crate::persist::{self, tests::Host};
use crate::state::State;
use crate::types::{
    Curve, Mode, ObjectAttributes as A, Point, Scheme, SensitiveCreate, SymObject, alg, rh,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(super) const AES128: SymObject = SymObject {
    bits: 128,
    mode: Some(Mode::Cfb),
};

pub(super) fn ecc(curve: Curve, attributes: A, symmetric: Option<SymObject>) -> Public {
    Public {
        name_alg: Some(HashAlg::Sha256),
        attributes,
        auth_policy: Buf::new(),
        parameters: Parameters::Ecc {
            symmetric,
            scheme: Scheme::NULL,
            curve,
            kdf: Scheme::NULL,
        },
        unique: Unique::Ecc(Point {
            x: Buf::new(),
            y: Buf::new(),
        }),
    }
}

pub(super) fn rsa(bits: u16, attributes: A, symmetric: Option<SymObject>) -> Public {
    Public {
        parameters: Parameters::Rsa {
            symmetric,
            scheme: Scheme::NULL,
            bits,
            exponent: 0,
        },
        unique: Unique::Rsa(Buf::new()),
        ..ecc(Curve::P256, attributes, None)
    }
}

pub(super) fn keyed_hash(attributes: A, scheme: Scheme) -> Public {
    Public {
        parameters: Parameters::KeyedHash { scheme },
        unique: Unique::Digest(Buf::new()),
        ..ecc(Curve::P256, attributes, None)
    }
}

pub(super) fn cipher(attributes: A) -> Public {
    Public {
        parameters: Parameters::SymCipher { sym: AES128 },
        ..keyed_hash(attributes, Scheme::NULL)
    }
}

pub(super) const OWN: A = A::FIXED_TPM
    .union(A::FIXED_PARENT)
    .union(A::SENSITIVE_DATA_ORIGIN)
    .union(A::USER_WITH_AUTH);
pub(super) const STORAGE: A = OWN.union(A::RESTRICTED).union(A::DECRYPT);

pub(super) fn sensitive(kind: ObjectType, auth: &[u8], seed: &[u8], secret: &[u8]) -> Sensitive {
    Sensitive {
        kind,
        auth: Secret::from_slice(auth).unwrap(),
        seed: Secret::from_slice(seed).unwrap(),
        secret: Secret::from_slice(secret).unwrap(),
    }
}

pub(super) fn object(public: Public, sensitive: Sensitive) -> Object {
    Object::assemble(public, Some(sensitive), Ancestor::Hierarchy(rh::OWNER)).unwrap()
}

/// A parent with the seed 00 01 .. 1f.
fn parent() -> Object {
    let seed: Vec<u8> = (0..32).collect();
    object(
        ecc(Curve::P256, STORAGE, Some(AES128)),
        sensitive(ObjectType::Ecc, b"", &seed, &[1]),
    )
}

/// The Name in all answers of this file: SHA-256 of "name".
fn name() -> Name {
    name::tagged(HashAlg::Sha256, &[b"name"])
}

fn sealed() -> Sensitive {
    sensitive(ObjectType::KeyedHash, b"auth", &[0x55; 32], b"sealed data")
}

#[test]
fn a_private_area_is_what_part_1_says() {
    let public = keyed_hash(A::USER_WITH_AUTH, Scheme::NULL);
    let iv: [u8; 16] = core::array::from_fn(|i| 0xa0 + i as u8);
    let parent = parent();
    let private = wrap::to_private(&parent, &public, &name(), &sealed(), &iv).unwrap();
    assert_eq!(private.as_slice(), hex(PRIVATE));
    let back = wrap::from_private(&parent, &name(), &private).unwrap();
    assert_eq!(back.secret.as_slice(), b"sealed data");
    for at in 0..private.len() {
        let mut other = private.clone();
        other.as_mut_slice()[at] ^= 0x80;
        let rc = wrap::from_private(&parent, &name(), &other).unwrap_err();
        // Its first two bytes are the length of the digest.
        assert_eq!(rc, if at < 2 { rc } else { Rc::INTEGRITY }, "{at}");
    }
    assert_eq!(
        wrap::from_private(&parent, b"another", &private).unwrap_err(),
        Rc::INTEGRITY
    );
}

#[test]
fn a_duplicate_with_both_wrappers_is_what_part_1_says() {
    let public = keyed_hash(A::USER_WITH_AUTH, Scheme::NULL);
    let parent = parent();
    let outer = Outer::child(&parent).unwrap();
    let key = Some(&b"kkkkkkkkkkkkkkkk"[..]);
    let duplicate = wrap::to_duplicate(Some(&outer), key, &public, &name(), &sealed()).unwrap();
    assert_eq!(duplicate.as_slice(), hex(DUPLICATE_BLOB));
    let back = wrap::from_duplicate(Some(&outer), key, &public, &name(), &duplicate).unwrap();
    assert_eq!(back.secret.as_slice(), b"sealed data");
    let wrong = Some(&b"kkkkkkkkkkkkkkkl"[..]);
    assert!(wrap::from_duplicate(Some(&outer), wrong, &public, &name(), &duplicate).is_err());
}

#[test]
fn a_credential_is_what_part_1_says() {
    let parent = parent();
    let blob = Outer::child(&parent)
        .unwrap()
        .wrap(&name(), None, b"\0\x0acredential")
        .unwrap();
    assert_eq!(blob.as_slice(), hex(CREDENTIAL));
}

#[test]
fn a_seed_for_an_ecc_key_is_what_part_1_says() {
    let mut public = ecc(Curve::P256, STORAGE, Some(AES128));
    public.unique = Unique::Ecc(Point {
        x: Buf::from_prefix(&hex(ECC_X)),
        y: Buf::from_prefix(&hex(ECC_Y)),
    });
    let key = object(
        public,
        sensitive(ObjectType::Ecc, b"", &[0; 32], &hex(ECC_D)),
    );
    let mut rng = Drbg::instantiate(&[1; 32], b"");
    let seed = secret::decrypt_with(&key, &mut rng, IDENTITY, &hex(ECC_ENCRYPTED)).unwrap();
    assert_eq!(seed.as_slice(), hex(ECC_SEED));
    let (seed, encrypted) = secret::encrypt(&key.public, &mut rng, DUPLICATE).unwrap();
    let back = secret::decrypt_with(&key, &mut rng, DUPLICATE, &encrypted).unwrap();
    assert!(seed.ct_eq(&back));
    let other = secret::decrypt_with(&key, &mut rng, IDENTITY, &encrypted).unwrap();
    assert!(!seed.ct_eq(&other));
}

#[test]
fn a_seed_for_an_rsa_key_is_what_part_1_says() {
    let mut public = rsa(2048, STORAGE, Some(AES128));
    public.unique = Unique::Rsa(Buf::from_prefix(&hex(RSA_N)));
    let key = object(
        public,
        sensitive(ObjectType::Rsa, b"", &[0; 32], &hex(RSA_P)),
    );
    let mut rng = Drbg::instantiate(&[1; 32], b"");
    let seed = secret::decrypt_with(&key, &mut rng, DUPLICATE, &hex(RSA_ENCRYPTED)).unwrap();
    assert_eq!(seed.as_slice(), b"rsa seed");
    let wrong = secret::decrypt_with(&key, &mut rng, IDENTITY, &hex(RSA_ENCRYPTED));
    assert_eq!(wrong.unwrap_err(), Rc::VALUE);
    let (seed, encrypted) = secret::encrypt(&key.public, &mut rng, IDENTITY).unwrap();
    let back = secret::decrypt_with(&key, &mut rng, IDENTITY, &encrypted).unwrap();
    assert!(seed.ct_eq(&back));
    let short = secret::decrypt_with(&key, &mut rng, IDENTITY, &encrypted[1..]);
    assert_eq!(short.unwrap_err(), Rc::SIZE);
}

fn derived(template: Public) -> Vec<u8> {
    let mut public = template;
    let mut rng = Derivation::new(HashAlg::Sha256, &[b'k'; 40], b"lab", b"ctx");
    let secret = create::key(&mut public, &[], &mut rng).unwrap();
    create::finish(&mut public, Secret::new(), secret, &mut rng).unwrap();
    name::of(&public).to_vec()
}

#[test]
fn derived_objects_have_the_names_that_swtpm_gives_them() {
    let attributes = A::USER_WITH_AUTH | A::FIXED_PARENT;
    let sign = attributes | A::SIGN;
    assert_eq!(derived(ecc(Curve::P256, sign, None)), hex(DERIVED_P256));
    assert_eq!(derived(ecc(Curve::P384, sign, None)), hex(DERIVED_P384));
    assert_eq!(
        derived(cipher(attributes | A::DECRYPT)),
        hex(DERIVED_CIPHER)
    );
    let scheme = Scheme::new(alg::HMAC, HashAlg::Sha384);
    assert_eq!(derived(keyed_hash(sign, scheme)), hex(DERIVED_HMAC));
}

fn primary(hierarchy: u32, template: Public, data: &[u8]) -> (Public, Sensitive) {
    let seed: [u8; 64] = core::array::from_fn(|i| i as u8);
    let root = Root {
        seed: &seed,
        hierarchy,
        owner_proof: &[0x5a; 64],
    };
    let create = SensitiveCreate {
        auth: Secret::new(),
        data: Secret::from_slice(data).unwrap(),
    };
    primary::create(&root, template, &create).unwrap()
}

/// What must never change: docs/src/tpm-derivation.md. The first answer is the Name, the second SHA-256 of the sensitive area.
#[test]
fn primary_objects_are_frozen() {
    let sign = OWN | A::SIGN;
    let hmac = Scheme::new(alg::HMAC, HashAlg::Sha256);
    let cases = [
        (
            "L-1",
            rh::ENDORSEMENT,
            EndorsementKey::Rsa2048.template(),
            &b""[..],
        ),
        (
            "L-2",
            rh::ENDORSEMENT,
            EndorsementKey::EccP256.template(),
            b"",
        ),
        (
            "H-3",
            rh::ENDORSEMENT,
            EndorsementKey::EccP384.template(),
            b"",
        ),
        ("RSA-2048", rh::OWNER, rsa(2048, STORAGE, Some(AES128)), b""),
        ("RSA-3072", rh::OWNER, rsa(3072, sign, None), b""),
        (
            "P-256",
            rh::OWNER,
            ecc(Curve::P256, STORAGE, Some(AES128)),
            b"",
        ),
        (
            "P-256 again",
            rh::PLATFORM,
            ecc(Curve::P256, STORAGE, Some(AES128)),
            b"",
        ),
        ("P-384", rh::NULL, ecc(Curve::P384, sign, None), b""),
        ("HMAC", rh::OWNER, keyed_hash(sign, hmac), b""),
        ("AES", rh::OWNER, cipher(OWN | A::DECRYPT), b""),
        (
            "data",
            rh::OWNER,
            keyed_hash(A::FIXED_TPM | A::FIXED_PARENT, Scheme::NULL),
            b"data",
        ),
    ];
    let mut all = std::string::String::new();
    for (what, hierarchy, template, data) in cases {
        let (public, sensitive) = primary(hierarchy, template, data);
        let private = crate::codec::to_buf::<512>(&sensitive).unwrap();
        let digest = crate::crypto::hash::digest(HashAlg::Sha256, &[&private]);
        all += &std::format!("{what}: {:?} {:?}\n", name::of(&public), digest);
    }
    assert_eq!(all, PRIMARIES, "{all}");
}

#[test]
fn a_context_loads_until_something_of_it_or_of_the_tpm_changes() {
    let mut s = persist::power_on(&mut Host::default());
    let header = |handle| Header {
        sequence: 7,
        handle,
        hierarchy: rh::OWNER,
    };
    let mut out = [0; 2048];
    let mut w = Writer::new(&mut out);
    header(saved::ST_CLEAR)
        .protect(&s, &mut w, |w| w.bytes(b"contents"))
        .unwrap();
    let bytes = w.written().to_vec();
    let mut r = Reader::new(&bytes);
    let read = Header::read(&mut r).unwrap();
    let blob = r.sized_bytes(2048).unwrap();
    let open = |s: &State, header: Header, blob: &[u8]| {
        header
            .open(s, &blob[2..66], &blob[66..])
            .map(|c| c.to_vec())
    };
    assert_eq!(&open(&s, read, blob).unwrap()[8..], b"contents");
    for at in 2..blob.len() {
        let mut other = blob.to_vec();
        other[at] ^= 1;
        assert_eq!(open(&s, read, &other), Err(Rc::INTEGRITY), "{at}");
    }
    let changed = [
        Header {
            sequence: 8,
            ..read
        },
        Header {
            handle: saved::OBJECT,
            ..read
        },
        Header {
            hierarchy: rh::PLATFORM,
            ..read
        },
    ];
    for header in changed {
        assert_eq!(open(&s, header, blob), Err(Rc::INTEGRITY));
    }
    s.reset.clear_count += 1;
    assert_eq!(open(&s, read, blob), Err(Rc::INTEGRITY));
    s.reset.clear_count -= 1;
    s.perm.total_reset_count += 1;
    assert_eq!(open(&s, read, blob), Err(Rc::INTEGRITY));
}

#[test]
fn objects_and_sequences_come_back_from_their_bytes() {
    let (public, sensitive) = primary(rh::OWNER, rsa(3072, STORAGE, Some(AES128)), b"");
    let mut one = object(public, sensitive);
    one.st_clear = true;
    let hasher = crate::crypto::hash::Hasher::new(HashAlg::Sha384);
    let slots = [
        Slot::Object(one),
        Slot::Sequence(Sequence {
            auth: Secret::from_slice(b"auth").unwrap(),
            kind: SequenceKind::Hash {
                hasher,
                first: false,
                ticket: true,
            },
        }),
        Slot::Sequence(Sequence {
            auth: Secret::new(),
            kind: SequenceKind::Event(crate::pcr::BANK_ALGS.map(Hasher::new)),
        }),
        Slot::Sequence(Sequence {
            auth: Secret::new(),
            kind: SequenceKind::Hmac(Hmac::new(HashAlg::Sha512, b"key")),
        }),
    ];
    let bytes = |slot: &Slot| {
        let mut out = [0; saved::MAX_CONTEXT];
        let mut w = Writer::new(&mut out);
        store::put_slot(&mut w, slot);
        assert!(!w.overflowed());
        w.written().to_vec()
    };
    for slot in &slots {
        let back = store::get_slot(&bytes(slot)).unwrap();
        assert_eq!(bytes(&back), bytes(slot));
        if let Slot::Object(object) = back {
            assert!(object.rsa.is_some() && object.st_clear && object.primary);
        }
    }
}

const PRIVATE: &str = "0020faa050f90f4f1a44790470e180f13651b1e73a73986e7b6573e453ee6344f7130010a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\
         7ea76d8d10a2d6cc4b07e0077bfa2823d5eb25335a05d0ae2b9ecdaf3bae6ab3f87a800874bd95ebafa1307b378fad67fbf46064\
         e92e7d859c2e4fe28b784a88c28a529c856a609e694e6ad2349a4ac4edf79ec715";
const CREDENTIAL: &str =
    "00200147b1dfc126259087e71fcf5ed5d14a08ec62c985d32260a36fd0235fbb056d6c3e68f86e5cbe9a5c610df4";
const DUPLICATE_BLOB: &str = "002042567b8c8106bc3ee68c84ec6986e73843032061a7602f12d70f937ad5e60fd6f937b03192a5e143f2a00af56582f831d0ee\
         48c5611dfd4c2b33c62ce4547974abd47e8571ed5827fb4dcc247e2aaeff3a6526f08506b0af5051b89bbb2abd13ccdb98197001\
         a15d7d9540e5a5ba79eeace00fc3fb9de8effc4f1846ab53c10e51be9309610679e59fc89559e08f8e47f0465bda2ebb31";
const ECC_D: &str = "2053dbbf6ec7135c4e994d3464c478db6f48d3ca21052c8f44915edc96e02c39";
const ECC_X: &str = "0031b3f4fb169af4e1ca1ca5e5ca4891eb9462dab53f4dedc360dec746a61440";
const ECC_Y: &str = "2b7aaae3b96907d4af8f822e39839cd8a686aa2c55d3d49eacf6c6c54db05803";
const ECC_ENCRYPTED: &str = "00209a781ca6d055a7f30d0c9ff87936c739f6816ef5f5e72b4b946404b0a1a83b2a0020c19f842945ea2bf65aa1649b2b02ff79\
         854c8d5ecfcd403862e8a97ea66c71c1";
const ECC_SEED: &str = "3a29e93da4e6c744c74239f819f89da9b64da716394ceef859c625877be3749f";
const RSA_N: &str = "df2878f8a57ba0a468298e77af2e34cedbea0daf14df5778c9861bbd46dcc8912cd6e8d08e7aa26ffe7ab1e1d97abc666d21254e\
         76100ba54e4e72cca93941e8fb5b617c396afa085a2f1943d3befd25df4067ead171054dd84fb1a76c4b72aea3d9b96dbfe85852\
         bbfbb802190a8bd805827d431a9e7d64201a43394c1f38a8e57dbeae5b5ace3506e7d7671025acfbee9b09bffb066b24cdd8335f\
         24f9f4de9a2107c1eda318f9c70dc0262ddd9db5fcd94f65a92a6da71d9fd9a0bf59fa1e106bb6a10b03a5e6370af486f1e97f0d\
         d73d8b49539d89e14691635ef545ad209842ab298113aed812737819604e8fcb3c4837b41372482f43e88ea3b4ac4df5";
const RSA_P: &str = "efb0a7431f51e229a42eaa7906feb165abfea520123a4db63e08afd57a0270391bea5af42c280b99f8d63c62baded01e7354c95f\
         3a90d666c0d3b76e2a1fe8ec77407b83409082af9f1323285678a639649d2ddafaf97ef77bac0df5c3801cbca6c51ceb9d6bc46f\
         fc28362eed572e5e13132c4784d95e456371d81e8574ba07";
const RSA_ENCRYPTED: &str = "142690fd62f2793f4f10181099b7b6720e1d37cd90973c0ebbf7b0ad6408d94f4ba9612e806ed36a0d3821d380957506160bd77e\
         0ee1b75f9624c676e8564dc9b74c5851c6296c017f4d6ef50bbffd2d9618e62920054cacc1df4eebdf5371b70058e601efd4a9b2\
         1b1fa6a43317b2933a626c7c972662cc60c9e0310e34c75f786ad1c6f5e82e86db84cea7f318dd4ffb9035c90850f091e3044070\
         e83bca6d9e3a5d99742c2e5accf9f36c592bb9b35f3c20887fdcbc14c5c16ade60fe937bfb7039785d135af7e60f153db3bb6af6\
         515ee7f7636b8838e5bdc6e3ff1f3e8637dca69086351c3eab1e6409f6f72262ced9166dbbac26f54162c2063bbf1b28";
const DERIVED_P256: &str = "000b6e37f3de02f8a6e5f1048105b63df7d1be50a20e097988e9708137c752eb7c46";
const DERIVED_P384: &str = "000bd483f521e2895f96763c934682d8769c38221bccc51f1d04662a98eee14ab74e";
const DERIVED_CIPHER: &str = "000b5a60faeab73445d81c4d3799a579c2296676d729ea66a0a298bf9c4b226fbe98";
const DERIVED_HMAC: &str = "000b73ded97e27b828ecc730258662380d29dd44cb7dc80c4a9fa4c26b0e020cfdd0";
/// Computed from docs/src/tpm-derivation.md by a program of its own (Python), and the same.
const PRIMARIES: &str = "\
L-1: 000b49d01a4e624a26570d761541b183db9ce4d44ff6dd43d149dc913ac4ad9b174b b28de3a040474a8d34f849143152d4dde7fae51dbf4b84c3f40e86676711ad59\n\
L-2: 000b744c4acdd338126760f07d1c41bd4653cee4bee1b1deaca9c7e58816c9766d66 e5e169c59293016511bf8ca3f43acabb93636e0c80da1f9f050b40f29defb1fa\n\
H-3: 000c498a891641faf870383bea969244bccaf01cc9c58cdb6d53abf89ba162e810b49845c2ec42cd9a6da194689b013df187 f3382f01f7d35f91ce8cef0cf06705f9ed59930e94d16ba955355c8d4b14f40e\n\
RSA-2048: 000b78d72ded89d7868aa61d8a42e287f4de09da4ef83bb956f52cd256c5cb3e4f5d c495502927e4013dac232d391f2cd35f89198412c13dfa49aeb9ddcf3190344b\n\
RSA-3072: 000bc65f9fd0b810189bf5cd21d13ada55ae5b488e877661b8c6d5f99e75a9e8c4b3 8ed9c0996825b62d01ac61e986583b2003d2179e50aaef3a9fdd45aaf5b3ce3a\n\
P-256: 000bf30ddff8086b6b52a5dd522af8463ac1f86cf3fbe6a944154e10ed0c81b58757 a4a94b6120a6ed2abd899e91eca41af4919c3e7feca5011a5993e1eec5e683ff\n\
P-256 again: 000b00f16d8e2d8778b58756d852855de75daccdde5963b2aedfb02df0fff38f032e b992bbb4cd439bd495ee9ab59f966d827fc741b12f2920d0ccd245a3afc73c76\n\
P-384: 000bf87dbd979ef000ba8af22fd1ba9b597001a768a313847360ba0304420677430a e9ed653e8ec48257d68aa27915595ea916ae86d692416ab75ced5db82a2f5f5f\n\
HMAC: 000bfa8d8fe2ef9e38c2cd9ee064e56a0e07b3b626b2d5a209268ba869fa176a40c5 5bfa253fe2cd7b674b01be56570f01034a6c8f46f2399a524a3aeb2eedaa3134\n\
AES: 000b01f6711e0fe00e9ce772ff6659b62de54e6697baa3ecb66debf78a3cf962fe4c f076b7ee10d1fecb300631f1195767168805f96851c79b05731f7680291023f8\n\
data: 000b9b8ffcec08745f0c465e134eb6473f8b69f0c41e7aee843bed89b3f6e406475a a5b0bcea3fa88a0b38646170e4339e4344bb5df47cfac2e9a0b53e4f349bf74f\n\
";
