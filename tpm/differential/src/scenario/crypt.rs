//! Encryption: RSA, ECDH, symmetric.

use crate::crypto::{SHA1, SHA256, SHA384};
use crate::scenario::builder::{Builder, OWNER};
use crate::scenario::keys::{self, bytes};
use crate::scenario::template::{Kind, NULL, Template};
use crate::step::{Part, Piece, b2, sized, u8, u16};

/// RSA_Encrypt and RSA_Decrypt.
pub fn rsa(b: &mut Builder<'_>) {
    b.maybe_hmac(25);
    let own = b.rng.pick(&[NULL, NULL, 0x15, 0x17]);
    let key = b.external(&Template::known(Kind::DecryptRsa(own, SHA256)), b"rsa");
    for _ in 0..2 {
        let by = b.rng.pick(&[NULL, own, own, 0x15, 0x17]);
        let scheme = match by {
            0x17 => vec![u16(0x17), u16(b.rng.pick(&[SHA256, SHA1, SHA384]))],
            other => vec![u16(other)],
        };
        let null = by == NULL && own == NULL;
        let label = b.rng.pick(&[&b""[..], b"label\0", b"no zero"]);
        let mut message = b.rng.some_bytes(80);
        if null && b.rng.chance(40) {
            message = b.rng.bytes(256);
            message[0] = 1;
        }
        let cipher = b.slot();
        let mut params = vec![b2(&message)];
        params.extend(scheme.clone());
        params.push(b2(label));
        let step = b.plain(0x174, vec![key.handle.clone()], params);
        step.saves = vec![(Part::Field(0), cipher)];
        step.exact = null;
        let mut params = vec![Piece::Slot(cipher)];
        params.extend(scheme);
        params.push(b2(label));
        let step = b.cmd(0x159, vec![key.handle.clone()], &[b"rsa"], params);
        step.exact = true;
        if b.rng.chance(30) {
            let mut random = b.rng.bytes(256);
            random[0] &= 0x7F;
            b.cmd(
                0x159,
                vec![key.handle.clone()],
                &[b"rsa"],
                vec![b2(&random), u16(by), b2(label)],
            );
        }
    }
    b.flush(&key);
    if b.rng.chance(30) {
        // With the public part only.
        let key = b.external_in(&Template::known(Kind::DecryptRsa(NULL, SHA256)), b"", false);
        b.plain(
            0x174,
            vec![key.handle.clone()],
            vec![b2(b"hello"), u16(NULL), b2(&[])],
        )
        .exact = true;
        b.cmd(
            0x159,
            vec![key.handle.clone()],
            &[b""],
            vec![b2(&[0; 256]), u16(NULL), b2(&[])],
        );
        b.flush(&key);
    }
}

/// ECDH_KeyGen, ECDH_ZGen, EC_Ephemeral, ZGen_2Phase, Commit, ECC_Parameters.
pub fn ecdh(b: &mut Builder<'_>) {
    b.maybe_hmac(25);
    let curve = b.rng.pick(&[3, 3, 4]);
    let (x, y) = if curve == 3 {
        (keys::P256_X, keys::P256_Y)
    } else {
        (keys::P384_X, keys::P384_Y)
    };
    let point = sized(vec![b2(&bytes(x)), b2(&bytes(y))]);
    b.plain(0x178, vec![], vec![u16(curve)]);
    match b.rng.below(3) {
        0 => {
            let key = b.external(&Template::known(Kind::Exchange(curve)), b"ecc");
            let public = b.slot();
            b.plain(0x163, vec![key.handle.clone()], vec![]).saves = vec![(Part::Field(1), public)];
            b.cmd(
                0x154,
                vec![key.handle.clone()],
                &[b"ecc"],
                vec![Piece::Slot(public)],
            );
            b.cmd(0x154, vec![key.handle.clone()], &[b"ecc"], vec![point])
                .exact = true;
            let off = sized(vec![b2(&bytes(x)), b2(&bytes(x))]);
            b.cmd(0x154, vec![key.handle.clone()], &[b"ecc"], vec![off]);
            b.flush(&key);
        }
        1 => {
            let key = b.primary(OWNER, &Template::new(Kind::Exchange(curve)), b"ecc", &[]);
            b.without_session();
            let ephemeral = b.slot();
            let counter = b.slot();
            b.plain(0x18E, vec![], vec![u16(curve)]).saves =
                vec![(Part::Field(0), ephemeral), (Part::Field(1), counter)];
            let by = b.rng.pick(&[0x19, 0x19, 0x18]);
            let params = vec![point.clone(), point, u16(by), Piece::Slot(counter)];
            b.cmd(0x18D, vec![key.handle.clone()], &[b"ecc"], params);
            b.flush(&key);
        }
        _ => {
            let key = b.primary(
                OWNER,
                &Template::new(Kind::SignEcc(curve, 0x1A, SHA256)),
                b"daa",
                &[],
            );
            let counter = b.slot();
            let (first, second) = b
                .rng
                .pick(&[(b2(&[]), b2(&[])), (b2(b"basename"), b2(&bytes(y)))]);
            let p1 = if b.rng.chance(50) {
                point
            } else {
                sized(vec![b2(&[]), b2(&[])])
            };
            let step = b.cmd(
                0x18B,
                vec![key.handle.clone()],
                &[b"daa"],
                vec![p1, first, second],
            );
            step.saves = vec![(Part::Field(3), counter)];
            let mut params = vec![b2(&[7; 32]), u16(0x1A), u16(SHA256), Piece::Slot(counter)];
            params.extend(super::attest::null_ticket(super::attest::HASHCHECK));
            b.cmd(0x15D, vec![key.handle.clone()], &[b"daa"], params.clone());
            b.cmd(0x15D, vec![key.handle.clone()], &[b"daa"], params); // the counter was used
            b.flush(&key);
        }
    }
}

/// EncryptDecrypt and EncryptDecrypt2 in all modes.
pub fn symmetric(b: &mut Builder<'_>) {
    b.maybe_hmac(25);
    let bits = b.rng.pick(&[128, 256]);
    let own = b.rng.pick(&[NULL, 0x40, 0x41, 0x42, 0x43, 0x44]);
    let key = b.external(&Template::known(Kind::Sym(bits, own)), b"sym");
    for _ in 0..3 {
        let mode = if own == NULL || b.rng.chance(10) {
            b.rng.pick(&[0x40, 0x41, 0x42, 0x43, 0x44])
        } else {
            b.rng.pick(&[own, NULL])
        };
        let effective = if mode == NULL { own } else { mode };
        let blocks = matches!(effective, 0x42 | 0x44);
        let len = if blocks {
            16 * b.rng.below(5)
        } else {
            b.rng.below(100)
        };
        let len = if b.rng.chance(5) { 1024 } else { len };
        let data = b.rng.bytes(len);
        let iv = if effective == 0x44 {
            vec![]
        } else {
            b.rng.bytes(16)
        };
        let new = b.rng.chance(50);
        let (out, chained) = (b.slot(), b.slot());
        let order = |data: Piece, iv: Piece, decrypt: u8, new: bool| {
            let mut params = vec![u8(decrypt), u16(mode), iv];
            params.insert(if new { 0 } else { 3 }, data);
            params
        };
        let code = if new { 0x193 } else { 0x164 };
        let step = b.cmd(
            code,
            vec![key.handle.clone()],
            &[b"sym"],
            order(b2(&data), b2(&iv), 0, new),
        );
        step.saves = vec![(Part::Field(0), out), (Part::Field(1), chained)];
        step.exact = true;
        let step = b.cmd(
            code,
            vec![key.handle.clone()],
            &[b"sym"],
            order(Piece::Slot(out), b2(&iv), 1, new),
        );
        step.exact = true;
        let step = b.cmd(
            code,
            vec![key.handle.clone()],
            &[b"sym"],
            order(b2(&[5; 32]), Piece::Slot(chained), 0, new),
        );
        step.exact = true;
    }
    b.flush(&key);
}
