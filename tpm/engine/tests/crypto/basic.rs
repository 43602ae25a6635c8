//! Hash, HMAC, key derivation, AES, the generator.

use tpm_engine::crypto::CryptoError;
use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::hash::{self, HashAlg, Hasher, digest};
use tpm_engine::crypto::hmac::{self, Hmac, hmac};
use tpm_engine::crypto::kdf::{kdfa, kdfe, mgf1};
use tpm_engine::crypto::sym::{Mode, crypt, xor_obfuscate};

use crate::hex;

fn pattern() -> Vec<u8> {
    (0..1000u32).map(|i| (i % 251) as u8).collect()
}

/// The digests and HMACs of all prefixes up to 300 bytes, hashed together; the values are Python's hashlib's.
#[test]
fn every_length_across_the_blocks_hashes_as_hashlib_does() {
    for (alg, digests, macs) in [
        (
            HashAlg::Sha1,
            "415cea6bc6991763c99ec16eb06ad992a955e73f",
            "3f8fe6a824697556817b0d63a7b70118158b40d4",
        ),
        (
            HashAlg::Sha256,
            "fa70b867db0a30acb7218d62945db0df52eb393808b30675ea9aac6b058a9a9d",
            "ad4e9f71c8e28f28f0cab19f271efc0a869487419be562a5be7b65824e94279a",
        ),
        (
            HashAlg::Sha384,
            "960929a702d4459cf68fcaab573d85b98a5d2d8b1026673f1198829cf429a13b
             0e8bb50b36fb7c0d3b0720605eef2998",
            "6bef2316c59765990a391edaf555ee694936f86270976a709ecdf6fd6ff08820
             0c78eb2b2a0db6fdbcbf08848fea0969",
        ),
        (
            HashAlg::Sha512,
            "5876909c163eee9aa8e3e0dbbe23ff09a3b1c1690c50ecab0cf75109b7ea0931
             80f3b1db84ac4671a35db7394d95e9b645b20209761dc874ec013385e1db7916",
            "6c5ef5ee08a4747c78931a273d82a660bade0b2f0efb5b90dbfedeb09aa34f73
             1f71a1dab287e3f7fe910b86a729f3a798595122c4d731eb5ff956e38a32ac91",
        ),
    ] {
        let data = pattern();
        let (mut of_digests, mut of_macs) = (Hasher::new(alg), Hasher::new(alg));
        for len in 0..300 {
            of_digests.update(&digest(alg, &[&data[..len]]));
            of_macs.update(&hmac(alg, &data[..len], &[&data[..len / 2]]));
        }
        assert_eq!(*of_digests.finish(), *hex(digests), "{alg:?}");
        assert_eq!(*of_macs.finish(), *hex(macs), "{alg:?}");
    }
}

#[test]
fn a_sequence_saved_and_restored_between_any_two_bytes_goes_on() {
    let data = pattern();
    for alg in HashAlg::ALL {
        for cut in 0..300 {
            let mut hasher = Hasher::new(alg);
            hasher.update(&data[..cut]);
            let mut saved = [0; hash::MAX_SAVED_SIZE];
            let len = hasher.save(&mut saved);
            let mut restored = Hasher::restore(alg, &saved[..len]).unwrap();
            assert!(Hasher::restore(alg, &saved[..len - 1]).is_none());
            assert_eq!(hasher.save(&mut saved[..len - 1]), 0);
            restored.update(&data[cut..]);
            assert_eq!(restored.finish(), digest(alg, &[&data]), "{alg:?} {cut}");

            let mut mac = Hmac::new(alg, b"key");
            mac.update(&data[..cut]);
            let mut saved = [0; hmac::MAX_SAVED_SIZE];
            let len = mac.save(&mut saved);
            let mut restored = Hmac::restore(alg, &saved[..len]).unwrap();
            assert!(Hmac::restore(alg, &saved[..len - 1]).is_none());
            assert_eq!(mac.save(&mut saved[..len - 1]), 0);
            restored.update(&data[cut..]);
            assert_eq!(restored.finish(), hmac(alg, b"key", &[&data]));
        }
    }
}

/// The values come from a transcription of Part 1 into Python.
#[test]
fn key_derivation_gives_the_known_answers() {
    let key: Vec<u8> = (0..32).collect();
    for (alg, label, u, v, bits, want) in [
        (
            HashAlg::Sha256,
            "STORAGE",
            "name",
            "",
            128,
            "97f1ccec355e7643a61c69d29ad6404d",
        ),
        (
            HashAlg::Sha384,
            "ATH",
            "newer",
            "older",
            521,
            "0015aab2fb9e3e36251dc6e3bbf780a54dc628ad3a6b9b06bb0a1b9ef7cb73d0
             cd36f97071036fd2d649786511efb53a0637bb84029d6ffe618feb599795d31b9534",
        ),
        (
            HashAlg::Sha1,
            "",
            "u",
            "v",
            256,
            "16d1544317990880ead4a47a5461ef5a89269e360ba3c5b6ce4ee6d3a52c4533",
        ),
    ] {
        let mut out = vec![0xEE; (bits as usize).div_ceil(8)];
        kdfa(
            alg,
            &key,
            label.as_bytes(),
            u.as_bytes(),
            v.as_bytes(),
            bits,
            &mut out,
        );
        assert_eq!(out, hex(want), "KDFa {label}");
    }
    for (label, bits, want) in [
        (
            "DUPLICATE",
            256,
            "435a3625ed260fe2b0a836f1f702e0cd1c096abcc075b2257edeeadf0a263b3d",
        ),
        (
            "IDENTITY\0",
            260,
            "0fba6c4eec8a39f50dcb36f65322a3e8be14a3c9fbb0328fb7801b0f91e020b678",
        ),
    ] {
        let mut out = vec![0xEE; (bits as usize).div_ceil(8)];
        kdfe(
            HashAlg::Sha256,
            &key,
            label.as_bytes(),
            b"party u",
            b"party v",
            bits,
            &mut out,
        );
        assert_eq!(out, hex(want), "KDFe {label}");
    }
    let mut mask = [0; 50];
    mgf1(HashAlg::Sha1, b"bar", &mut mask);
    assert_eq!(
        mask.to_vec(),
        hex(
            "bc0c655e016bc2931d85a2e675181adcef7f581f76df2739da74faac41627be2f7f415c89e983fd0ce80ced9878641cb4876"
        )
    );
    let mut data = [0; 40];
    xor_obfuscate(HashAlg::Sha256, &key, b"newer", b"older", &mut data);
    assert_eq!(
        data.to_vec(),
        hex("5238642a870405f8c1cfa3d12faec4cd4e56d32b319086f1752dbd9237fedd406457c6d5b2b493b8")
    );
}

/// NIST SP 800-38A appendix F.
#[test]
fn aes_modes_give_the_answers_of_sp_800_38a() {
    let plain = hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let short = "2b7e151628aed2a6abf7158809cf4f3c";
    let long = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    let iv = "000102030405060708090a0b0c0d0e0f";
    let counter = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
    for (mode, key, iv, want) in [
        (
            Mode::Ecb,
            short,
            iv,
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf
             43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
        ),
        (
            Mode::Ecb,
            long,
            iv,
            "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870
             b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
        ),
        (
            Mode::Cbc,
            short,
            iv,
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            Mode::Cbc,
            long,
            iv,
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
        (
            Mode::Cfb,
            short,
            iv,
            "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b
             26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6",
        ),
        (
            Mode::Cfb,
            long,
            iv,
            "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b
             df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471",
        ),
        (
            Mode::Ofb,
            short,
            iv,
            "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825
             9740051e9c5fecf64344f7a82260edcc304c6528f659c77866a510d9c1d6ae5e",
        ),
        (
            Mode::Ofb,
            long,
            iv,
            "dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d
             71ab47a086e86eedf39d1c5bba97c4080126141d67f37be8538f5a8be740e484",
        ),
        (
            Mode::Ctr,
            short,
            counter,
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff
             5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (
            Mode::Ctr,
            long,
            counter,
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
    ] {
        let (key, iv): (_, [u8; 16]) = (hex(key), hex(iv).try_into().unwrap());
        let mut data = plain.clone();
        crypt(mode, true, &key, &mut { iv }, &mut data).unwrap();
        assert_eq!(data, hex(want), "{mode:?}");
        // Two calls chained by the vector are one.
        let mut chained = plain.clone();
        let mut vector = iv;
        let (first, second) = chained.split_at_mut(16);
        crypt(mode, true, &key, &mut vector, first).unwrap();
        crypt(mode, true, &key, &mut vector, second).unwrap();
        assert_eq!(chained, data, "{mode:?}");
        let mut vector = iv;
        let (first, second) = chained.split_at_mut(32);
        crypt(mode, false, &key, &mut vector, first).unwrap();
        crypt(mode, false, &key, &mut vector, second).unwrap();
        assert_eq!(chained, plain, "{mode:?}");
        // A part of a block, in the modes that take it, is the part of the whole.
        let mut part = plain[..21].to_vec();
        let result = crypt(mode, true, &key, &mut { iv }, &mut part);
        if mode.needs_whole_blocks() {
            assert_eq!(result, Err(CryptoError::Size));
        } else {
            assert_eq!(part, data[..21], "{mode:?}");
            let (mut one, mut other) = (iv, iv);
            crypt(mode, false, &key, &mut one, &mut part).unwrap();
            assert_eq!(part, plain[..21], "{mode:?}");
            crypt(mode, true, &key, &mut other, &mut part).unwrap();
            assert_eq!(one, other, "{mode:?}");
            if mode == Mode::Cfb {
                assert_eq!(one[..5], data[16..21]);
            }
        }
        assert_eq!(
            crypt(mode, true, &key[1..], &mut { iv }, &mut data),
            Err(CryptoError::Key)
        );
    }
}

/// NIST CAVP, Hash_DRBG, SHA-256, without prediction resistance: the output of the second request.
#[test]
fn the_generator_gives_the_answers_of_cavp() {
    for (entropy, nonce, personalization, reseed, want) in [
        (
            "b87bb4de5c148d964fc0cb612d69295671780b4270fe32bf389b6f49488efe13",
            "27eb37a0c695c4ee3c9b70b7f6b33492",
            "52321406ac8a9c266b1f8d811bb871269e5824b59a0234f01d358193523bbb7c",
            "7638267f534c4e6ee22cc6ca6ed824fd5d3d387c00b89dd791eb5ac9766385b8",
            "de01c061651bab3cef2fc4ea89a56b6e86e74b2e9fd11ed671c97c813778a06a
             2c1f41b41e754a5257750c6bde9601da9d67d8d9564f4a8538b92516a2dacc49
             6dee257b85393f2a01ad59aa3257f1b6da9566e3706d2d6d4a26e511b0c64d7d
             c223acb24827178afa43ca8d5a66f983d6929dc61564c4c14fc32d85765a23f7",
        ),
        (
            "63363377e41e86468deb0ab4a8ed683f6a134e47e014c700454e81e95358a569",
            "808aa38f2a72a62359915a9f8a04ca68",
            "",
            "e62b8a8ee8f141b6980566e3bfe3c04903dad4ac2cdf9f2280010a6739bc83d3",
            "04eec63bb231df2c630a1afbe724949d005a587851e1aa795e477347c8b05662
             1c18bddcdd8d99fc5fc2b92053d8cfacfb0bb8831205fad1ddd6c071318a6018
             f03b73f5ede4d4d071f9de03fd7aea105d9299b8af99aa075bdb4db9aa28c18d
             174b56ee2a014d098896ff2282c955a81969e069fa8ce007a180183a07dfae17",
        ),
    ] {
        let seed = [hex(entropy), hex(nonce)].concat();
        let mut drbg = Drbg::instantiate(&seed, &hex(personalization));
        drbg.reseed(&hex(reseed));
        let mut out = [0; 128];
        drbg.generate(&mut out);
        drbg.generate(&mut out);
        assert_eq!(out.to_vec(), hex(want));
    }
}

#[test]
fn stirring_changes_what_follows() {
    let mut plain = Drbg::instantiate(&[7; 48], b"");
    let mut stirred = plain.clone();
    stirred.stir(b"some");
    let (mut a, mut b) = ([0; 16], [0; 16]);
    plain.generate(&mut a);
    stirred.generate(&mut b);
    assert_ne!(a, b);
    assert!(!stirred.needs_reseed());
}

#[test]
fn the_self_test_passes() {
    assert!(tpm_engine::crypto::self_test());
}
