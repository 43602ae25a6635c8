//! What the primitives cost: `cargo run --release -p tpm-engine --example primitives`. Commands are measured by
//! `cargo xtask bench tpm`.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a measurement that panics has failed"
)]

use std::time::{Duration, Instant};

use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::ecc::*;
use tpm_engine::crypto::hash::{HashAlg, digest};
use tpm_engine::crypto::hmac::hmac;
use tpm_engine::crypto::rsa::*;

/// Time this thread has been running, to some milliseconds: that others run too does not count.
fn running() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// The least time of a call by the clock, and the mean by what the processor did, of 60 samples of `batch` calls.
fn measure(name: &str, batch: u32, mut f: impl FnMut()) {
    let before = running();
    let least = (0..60).map(|_| {
        let start = Instant::now();
        for _ in 0..batch {
            f();
        }
        start.elapsed() / batch
    });
    let least = least.min().unwrap();
    let mean = (running() - before) / 60 / batch;
    println!("{name}: least {least:?}, mean {mean:?}");
}

fn of_small_things() {
    let mut rng = Drbg::instantiate(b"speed", b"");
    let mut out = [0; 32];
    measure("32 random bytes", 1000, || rng.generate(&mut out));
    for alg in HashAlg::ALL {
        measure(&format!("{alg:?} of 64 bytes"), 1000, || {
            digest(alg, &[&[1; 64]]);
        });
        measure(&format!("{alg:?} of 1024 bytes"), 1000, || {
            digest(alg, &[&[1; 1024]]);
        });
        measure(&format!("HMAC {alg:?} of 64 bytes"), 1000, || {
            hmac(alg, &[2; 32], &[&[1; 64]]);
        });
    }
}

fn of_curves() {
    let hash = digest(HashAlg::Sha256, &[b"message"]);
    for curve in Curve::ALL {
        let mut rng = Drbg::instantiate(b"speed", b"");
        let (d, q) = keygen(curve, &mut rng);
        let signature = ecdsa_sign(curve, &d, &hash, &mut rng).unwrap();
        let name = |what| format!("{curve:?} {what}");
        measure(&name("random"), 100, || {
            random(curve, &mut rng);
        });
        measure(&name("keygen"), 10, || {
            keygen(curve, &mut rng);
        });
        measure(&name("ecdsa_sign"), 10, || {
            ecdsa_sign(curve, &d, &hash, &mut rng).unwrap();
        });
        measure(&name("ecdsa_verify"), 10, || {
            ecdsa_verify(curve, &q, &hash, &signature.r, &signature.s).unwrap();
        });
        measure(&name("mul"), 10, || {
            mul(curve, &d, &q).unwrap();
        });
    }
}

fn of_rsa() {
    for bits in [2048, 3072] {
        let mut rng = Drbg::instantiate(b"speed", b"");
        let name = |what| format!("RSA-{bits} {what}");
        measure(&name("generate"), 1, || {
            generate(bits, 65537, &mut rng).unwrap();
        });
        let (n, p) = generate(bits, 65537, &mut rng).unwrap();
        measure(&name("from_prime"), 10, || {
            PrivateKey::from_prime(&n, 65537, &p).unwrap();
        });
        let key = PrivateKey::from_prime(&n, 65537, &p).unwrap();
        let (input, mut out) = (vec![0x55; key.size()], vec![0; key.size()]);
        measure(&name("private_op"), 5, || {
            key.private_op(&mut rng, &input, &mut out).unwrap();
        });
        let mut back = vec![0; key.size()];
        measure(&name("public_op"), 100, || {
            public_op(&n, 65537, &out, &mut back).unwrap();
        });
        assert_eq!(back, input);
    }
}

fn main() {
    of_small_things();
    of_curves();
    of_rsa();
}
