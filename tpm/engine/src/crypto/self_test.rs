//! Known answers of every algorithm, for TPM2_SelfTest: some milliseconds.

use super::drbg::Drbg;
use super::ecc::{self, Curve};
use super::hash::{HashAlg, digest};
use super::hmac::hmac;
use super::kdf::{kdfa, kdfe};
use super::sym::{BLOCK, Mode, crypt};
use super::{hex, rsa};

/// Whether everything computes what it should.
pub fn self_test() -> bool {
    hashes() && derivations() && ciphers() && generator() && curves() && asymmetric()
}

fn hashes() -> bool {
    let answers: [(HashAlg, &[u8]); 4] = [
        (
            HashAlg::Sha1,
            &hex::<20>("a9993e364706816aba3e25717850c26c9cd0d89d"),
        ),
        (
            HashAlg::Sha256,
            &hex::<32>("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        (
            HashAlg::Sha384,
            &hex::<48>(concat!(
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163",
                "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
            )),
        ),
        (
            HashAlg::Sha512,
            &hex::<64>(concat!(
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
                "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            )),
        ),
    ];
    answers
        .iter()
        .all(|(alg, answer)| *digest(*alg, &[b"a", b"bc"]) == **answer)
        && *hmac(
            HashAlg::Sha256,
            b"Jefe",
            &[b"what do ya want ", b"for nothing?"],
        ) == hex::<32>("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
}

fn derivations() -> bool {
    let (mut a, mut e) = ([0; 16], [0; 32]);
    let key: [u8; 32] = core::array::from_fn(|i| i as u8);
    kdfa(HashAlg::Sha256, &key, b"STORAGE", b"name", b"", 128, &mut a);
    kdfe(
        HashAlg::Sha256,
        &key,
        b"DUPLICATE",
        b"party u",
        b"party v",
        256,
        &mut e,
    );
    a == hex("97f1ccec355e7643a61c69d29ad6404d")
        && e == hex("435a3625ed260fe2b0a836f1f702e0cd1c096abcc075b2257edeeadf0a263b3d")
}

/// The first block of SP 800-38A's vectors, in every mode.
fn ciphers() -> bool {
    let short: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let long: [u8; 32] = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let plain: [u8; BLOCK] = hex("6bc1bee22e409f96e93d7e117393172a");
    let iv: [u8; BLOCK] = core::array::from_fn(|i| i as u8);
    let counter: [u8; BLOCK] = core::array::from_fn(|i| 0xF0 | i as u8);
    let answers: [(Mode, &[u8], _, [u8; BLOCK]); 7] = [
        (
            Mode::Cfb,
            &short,
            iv,
            hex("3b3fd92eb72dad20333449f8e83cfb4a"),
        ),
        (
            Mode::Cfb,
            &long,
            iv,
            hex("dc7e84bfda79164b7ecd8486985d3860"),
        ),
        (
            Mode::Ofb,
            &short,
            iv,
            hex("3b3fd92eb72dad20333449f8e83cfb4a"),
        ),
        (
            Mode::Cbc,
            &short,
            iv,
            hex("7649abac8119b246cee98e9b12e9197d"),
        ),
        (
            Mode::Ecb,
            &short,
            iv,
            hex("3ad77bb40d7a3660a89ecaf32466ef97"),
        ),
        (
            Mode::Ecb,
            &long,
            iv,
            hex("f3eed1bdb5d2a03c064b5a7e3db181f8"),
        ),
        (
            Mode::Ctr,
            &long,
            counter,
            hex("601ec313775789a5b7a7f504bbf3d228"),
        ),
    ];
    answers.iter().all(|(mode, key, iv, answer)| {
        let mut data = plain;
        crypt(*mode, true, key, &mut { *iv }, &mut data).is_ok()
            && data == *answer
            && crypt(*mode, false, key, &mut { *iv }, &mut data).is_ok()
            && data == plain
    })
}

/// A vector of NIST's CAVP: the first bytes of the second request.
fn generator() -> bool {
    let seed: [u8; 48] = hex(concat!(
        "63363377e41e86468deb0ab4a8ed683f6a134e47e014c700454e81e95358a569",
        "808aa38f2a72a62359915a9f8a04ca68"
    ));
    let mut drbg = Drbg::instantiate(&seed, b"");
    drbg.reseed(&hex::<32>(
        "e62b8a8ee8f141b6980566e3bfe3c04903dad4ac2cdf9f2280010a6739bc83d3",
    ));
    let mut out = [0; 128];
    drbg.generate(&mut out);
    drbg.generate(&mut out);
    out.starts_with(&hex::<16>("04eec63bb231df2c630a1afbe724949d"))
}

/// A key from a fixed stream, its public point against a known answer, a signature, and an agreement with itself.
fn curves() -> bool {
    let answers = [
        (Curve::P256, hex::<16>("29c3491dc4935ae54a9c06949c577521")),
        (Curve::P384, hex("da75d76dac84c15e016532de4e71a249")),
    ];
    answers.iter().all(|(curve, answer)| {
        let mut rng = Drbg::instantiate(b"frozen for ever", b"ECC");
        let (d, q) = ecc::keygen(*curve, &mut rng);
        let hash = digest(HashAlg::Sha256, &[b"abc"]);
        let signed = ecc::ecdsa_sign(*curve, &d, &hash, &mut rng);
        signed.is_ok_and(|signature| {
            q.x.starts_with(answer)
                && ecc::ecdsa_verify(*curve, &q, &hash, &signature.r, &signature.s).is_ok()
                && ecc::mul(*curve, &d, &q).is_ok_and(|point| ecc::on_curve(*curve, &point))
        })
    })
}

/// A signature with a fixed key, and its verification.
fn asymmetric() -> bool {
    const E: u32 = 65537;
    let Ok(key) = rsa::PrivateKey::from_prime(&N, E, &P) else {
        return false;
    };
    let mut rng = Drbg::instantiate(b"self-test", b"");
    let hash = digest(HashAlg::Sha256, &[b"abc"]);
    let mut signature = [0; 256];
    rsa::pkcs1_sign(&key, HashAlg::Sha256, &hash, &mut rng, &mut signature).is_ok()
        && *digest(HashAlg::Sha256, &[&signature])
            == hex::<32>("df113b4fef9154f2f15b2e13fdafc4ce451a0a2c3a36a097480d3bd08dd90392")
        && rsa::pkcs1_verify((&N, E), HashAlg::Sha256, &hash, &signature).is_ok()
}

static N: [u8; 256] = hex(concat!(
    "e21f80c677f1c344a1470d69b44c56318527018c185291599aa8a5902aee526a8916cb3e8c248e93f69e1de78aba0b11",
    "22c849612a03a0d63b31e079164874f8d9a1272e84e0aa2c8e906558801ab9702d6ec3e27fb4b8c6935d943cf852e477",
    "ea5c73f623fe4da80869fde5e477bcfe276c6263c36624d9446ee411f384814895c1a8124f2329b64f61ecbfd2c29fc8",
    "dd8ba1f987385d49fb2249b5e4b6a091f500ee563c245a22772e5a567b40aaac1414de1aeadcffa4bcc626bf3faff455",
    "15eed15ef2fcc00a016c8a144dd73054bfb3e8dbeb7ff7f35a9ecb409c857ccbe0417b98d7d584badc99afd9c36d5e5f",
    "17833ee48f5bb08294e9fb688ba3278f"
));

static P: [u8; 128] = hex(concat!(
    "eac52a0dfe1059d96f35057e2c4a6f47d1ce9ef520690a829bf83db35d8f5f2d8f3ecf197505a9e90d6fbbe579118fe3",
    "e4746025ad60ff79c07219c20a2b2c5e0379f0c036638d81f3e7f603d98a2075d5acbaf00e8fdac6a564fb9a8de793e1",
    "f0ea07accf97f02983e773c966f658811b38a47045376e08ebef723ba052a12d"
));
