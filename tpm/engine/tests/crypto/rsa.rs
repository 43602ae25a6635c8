//! RSA: keys from a fixed stream, and that what one side does the other undoes.

use std::time::Instant;

use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::hash::{HashAlg, digest};
use tpm_engine::crypto::rsa::*;

#[test]
#[ignore = "a measurement: run it in release"]
fn speed() {
    let mut rng = Drbg::instantiate(b"speed", b"");
    let mut times = Vec::new();
    let mut key = None;
    for _ in 0..60 {
        let start = Instant::now();
        key = Some(generate(2048, 65537, &mut rng).unwrap());
        times.push(start.elapsed());
    }
    times.sort();
    let mean = times.iter().sum::<std::time::Duration>() / times.len() as u32;
    println!(
        "generate 2048: min {:?} median {:?} mean {mean:?}",
        times[0],
        times[times.len() / 2]
    );
    let (n, p) = key.unwrap();
    let best = |name: &str, f: &mut dyn FnMut()| {
        let time = (0..200)
            .map(|_| {
                let start = Instant::now();
                f();
                start.elapsed()
            })
            .min();
        println!("{name}: {:?}", time.unwrap());
    };
    best("from_prime 2048", &mut || {
        PrivateKey::from_prime(&n, 65537, &p).unwrap();
    });
    let key = PrivateKey::from_prime(&n, 65537, &p).unwrap();
    let mut out = [0; 256];
    best("private_op 2048", &mut || {
        key.private_op(&mut rng, &[0x55; 256], &mut out).unwrap();
    });
    let mut back = [0; 256];
    best("public_op 2048", &mut || {
        public_op(&n, 65537, &out, &mut back).unwrap();
    });
    assert_eq!(back, [0x55; 256]);
    let hash = digest(HashAlg::Sha256, &[b"message"]);
    best("pkcs1_sign", &mut || {
        pkcs1_sign(&key, HashAlg::Sha256, &hash, &mut rng, &mut out).unwrap();
    });
    best("pkcs1_verify", &mut || {
        pkcs1_verify((&n, 65537), HashAlg::Sha256, &hash, &out).unwrap();
    });
}
