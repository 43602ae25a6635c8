//! Sessions as a client sees them: it computes every key, HMAC and digest itself (Part 1 §16.6, §17, §18).

use sha2::{Digest, Sha256};

use crate::client::{Client, NULL, OWNER, hex, sized, take_sized, u32_at};

const LOCKOUT: u32 = 0x4000_000A;
const ENDORSEMENT: u32 = 0x4000_000B;
const CONTINUE: u8 = 1;
const EXCLUSIVE: u8 = 2;
const RESET: u8 = 4;
const DECRYPT: u8 = 0x20;
const ENCRYPT: u8 = 0x40;
const AUDIT: u8 = 0x80;

const CHANGE_AUTH: u32 = 0x129;
const GET_RANDOM: u32 = 0x17B;
const GET_DIGEST: u32 = 0x189;
const START: u32 = 0x176;
const FLUSH: u32 = 0x165;

const NO_SYM: &str = "0010";
const AES_128_CFB: &str = "0006 0080 0043";
const AES_256_CFB: &str = "0006 0100 0043";
const XOR: &str = "000A 000B";

pub fn sha(parts: &[&[u8]]) -> Vec<u8> {
    Sha256::digest(parts.concat()).to_vec()
}

/// HMAC-SHA256 of a key that is no longer than a block (RFC 2104).
fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let pad = |byte: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|k| k ^ byte).collect()
    };
    assert!(key.len() <= 64);
    let inner = sha(&[&pad(0x36), &parts.concat()]);
    sha(&[&pad(0x5C), &inner])
}

/// KDFa with SHA-256.
fn kdfa(key: &[u8], label: &str, u: &[u8], v: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for counter in 1u32.. {
        if out.len() >= len {
            break;
        }
        let bits = (len as u32 * 8).to_be_bytes();
        out.extend(mac(
            key,
            &[&counter.to_be_bytes(), label.as_bytes(), &[0], u, v, &bits],
        ));
    }
    out.truncate(len);
    out
}

/// A session as its user has it.
pub struct Session {
    pub handle: u32,
    pub nonce_tpm: Vec<u8>,
    nonce_caller: Vec<u8>,
    key: Vec<u8>,
    sym: Vec<u8>,
}

impl Session {
    /// `bind` with its authorization value, `key` with encrypted and plain salt.
    fn begin(
        tpm: &mut Client,
        kind: u8,
        sym: &str,
        bind: (u32, &[u8]),
        key: (u32, &[u8], &[u8]),
    ) -> Session {
        let nonce = vec![0x5A; 20];
        let parameters = [
            sized(&nonce),
            sized(key.1),
            vec![kind],
            hex(sym),
            hex("000B"),
        ]
        .concat();
        let answer = tpm.plain(START, &[key.0, bind.0], &parameters).unwrap();
        let nonce_tpm = take_sized(&mut &answer[4..]).to_vec();
        assert_eq!(nonce_tpm.len(), nonce.len());
        let secret = [bind.1, key.2].concat();
        let session_key = if bind.0 == NULL && key.0 == NULL {
            Vec::new()
        } else {
            kdfa(&secret, "ATH", &nonce_tpm, &nonce, 32)
        };
        Session {
            handle: u32_at(&answer, 0),
            nonce_tpm,
            nonce_caller: nonce,
            key: session_key,
            sym: hex(sym),
        }
    }

    pub fn hmac(tpm: &mut Client, sym: &str, bind: u32, auth: &[u8]) -> Session {
        Session::begin(tpm, 0, sym, (bind, auth), (NULL, &[], &[]))
    }

    pub fn policy(tpm: &mut Client, kind: u8) -> Session {
        Session::begin(tpm, kind, NO_SYM, (NULL, &[]), (NULL, &[], &[]))
    }

    fn crypt(&self, auth: &[u8], newer: &[u8], older: &[u8], encrypt: bool, data: &mut [u8]) {
        let value = [&self.key[..], auth].concat();
        if self.sym[1] == 0x0A {
            let mask = kdfa(&value, "XOR", newer, older, data.len());
            data.iter_mut().zip(mask).for_each(|(d, m)| *d ^= m);
            return;
        }
        let key_len = usize::from(u16::from_be_bytes([self.sym[2], self.sym[3]]) / 8);
        let key = kdfa(&value, "CFB", newer, older, key_len + 16);
        let (key, iv) = key.split_at(key_len);
        cfb(key, iv, encrypt, data);
    }
}

/// CFB with nothing but the block function.
fn cfb(key: &[u8], iv: &[u8], encrypt: bool, data: &mut [u8]) {
    use aes::cipher::{BlockCipherEncrypt, KeyInit};
    let block = |input: &[u8; 16]| -> [u8; 16] {
        let mut block = (*input).into();
        if key.len() == 16 {
            aes::Aes128::new_from_slice(key)
                .unwrap()
                .encrypt_block(&mut block);
        } else {
            aes::Aes256::new_from_slice(key)
                .unwrap()
                .encrypt_block(&mut block);
        }
        block.into()
    };
    let mut chain: [u8; 16] = iv.try_into().unwrap();
    for chunk in data.chunks_mut(16) {
        let before = chunk.to_vec();
        let stream = block(&chain);
        chunk.iter_mut().zip(stream).for_each(|(d, s)| *d ^= s);
        let cipher = if encrypt { chunk.to_vec() } else { before };
        chain[..cipher.len()].copy_from_slice(&cipher);
    }
}

/// One use of a session.
pub struct Use<'a> {
    pub session: &'a mut Session,
    pub attributes: u8,
    /// Authorization value in the HMAC's key.
    pub auth: &'a [u8],
    /// The same, for the response.
    pub auth_after: &'a [u8],
    /// Authorization value in the encryption's key.
    pub value: &'a [u8],
}

impl<'a> Use<'a> {
    pub fn new(session: &'a mut Session, attributes: u8, auth: &'a [u8]) -> Use<'a> {
        Use {
            session,
            attributes,
            auth,
            auth_after: auth,
            value: auth,
        }
    }
}

/// What a command with sessions comes back with: the parameters, decrypted, and cpHash and rpHash.
pub struct Done {
    pub parameters: Vec<u8>,
    pub cp_hash: Vec<u8>,
    pub rp_hash: Vec<u8>,
    pub attributes: Vec<u8>,
}

/// Runs a command whose handles' Names are the handles.
pub fn run(
    tpm: &mut Client,
    code: u32,
    handles: &[u32],
    uses: &mut [Use<'_>],
    parameters: &[u8],
) -> Result<Done, u32> {
    let mut parameters = parameters.to_vec();
    let names: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
    for (n, used) in uses.iter_mut().enumerate() {
        used.session.nonce_caller = sha(&[&used.session.nonce_caller, &[n as u8]]);
        if used.attributes & DECRYPT != 0 {
            let size = usize::from(u16::from_be_bytes([parameters[0], parameters[1]]));
            let (newer, older) = (&used.session.nonce_caller, &used.session.nonce_tpm);
            used.session
                .crypt(used.value, newer, older, true, &mut parameters[2..2 + size]);
        }
    }
    let cp_hash = sha(&[&code.to_be_bytes(), &names, &parameters]);
    let of = |bit: u8| uses.iter().position(|used| used.attributes & bit != 0);
    let (decrypt, encrypt) = (of(DECRYPT), of(ENCRYPT));
    let mut area = Vec::new();
    for (n, used) in uses.iter().enumerate() {
        let key = [&used.session.key[..], used.auth].concat();
        let other = |other: Option<usize>| match other {
            Some(other) if n == 0 && other != 0 => uses[other].session.nonce_tpm.clone(),
            _ => Vec::new(),
        };
        let nonces = [
            other(decrypt),
            other(encrypt.filter(|_| encrypt != decrypt)),
        ]
        .concat();
        let hmac = mac(
            &key,
            &[
                &cp_hash,
                &used.session.nonce_caller,
                &used.session.nonce_tpm,
                &nonces,
                &[used.attributes],
            ],
        );
        area.extend(used.session.handle.to_be_bytes());
        area.extend(sized(&used.session.nonce_caller));
        area.push(used.attributes);
        area.extend(sized(&hmac));
    }
    let body = [
        names,
        (area.len() as u32).to_be_bytes().to_vec(),
        area,
        parameters,
    ]
    .concat();
    let response = tpm.run(&crate::client::packet(0x8002, code, &body))?;
    let size = u32_at(&response, 10) as usize;
    let mut parameters = response[14..14 + size].to_vec();
    let rp_hash = sha(&[&[0; 4], &code.to_be_bytes(), &parameters]);
    let mut rest = &response[14 + size..];
    let mut attributes = Vec::new();
    for used in uses.iter_mut() {
        used.session.nonce_tpm = take_sized(&mut rest).to_vec();
        attributes.push(rest[0]);
        rest = &rest[1..];
        let key = [&used.session.key[..], used.auth_after].concat();
        let expected = mac(
            &key,
            &[
                &rp_hash,
                &used.session.nonce_tpm,
                &used.session.nonce_caller,
                &attributes[attributes.len() - 1..],
            ],
        );
        assert_eq!(take_sized(&mut rest), expected, "the response's HMAC");
    }
    assert!(rest.is_empty());
    for used in uses {
        if used.attributes & ENCRYPT != 0 {
            let size = usize::from(u16::from_be_bytes([parameters[0], parameters[1]]));
            let (newer, older) = (&used.session.nonce_tpm, &used.session.nonce_caller);
            used.session.crypt(
                used.value,
                newer,
                older,
                false,
                &mut parameters[2..2 + size],
            );
        }
    }
    Ok(Done {
        parameters,
        cp_hash,
        rp_hash,
        attributes,
    })
}

fn change_owner_auth(
    tpm: &mut Client,
    session: &mut Session,
    attributes: u8,
    (in_key, old): (&[u8], &[u8]),
    (key_after, new): (&[u8], &[u8]),
) -> Result<Done, u32> {
    let mut used = Use::new(session, attributes, in_key);
    used.auth_after = key_after;
    used.value = old;
    run(tpm, CHANGE_AUTH, &[OWNER], &mut [used], &sized(new))
}

#[test]
fn an_unbound_session_proves_the_authorization_value_and_its_response_the_new_one() {
    let tpm = &mut Client::new();
    let s = &mut Session::hmac(tpm, NO_SYM, NULL, &[]);
    change_owner_auth(tpm, s, CONTINUE, (b"", b""), (b"one", b"one")).unwrap();
    change_owner_auth(tpm, s, CONTINUE, (b"one", b""), (b"two", b"two")).unwrap();
    // Zeros at the end do not count.
    change_owner_auth(tpm, s, CONTINUE, (b"two", b""), (b"three", b"three\0\0")).unwrap();
    let wrong = change_owner_auth(tpm, s, CONTINUE, (b"two", b""), (b"", b""));
    assert_eq!(wrong.err(), Some(0x9A2));
    change_owner_auth(tpm, s, 0, (b"three", b""), (b"", b"")).unwrap();
    let ended = change_owner_auth(tpm, s, 0, (b"", b""), (b"", b""));
    assert_eq!(ended.err(), Some(0x918));
}

#[test]
fn a_bound_session_needs_no_value_until_the_value_changes() {
    let tpm = &mut Client::new();
    let s = &mut Session::hmac(tpm, NO_SYM, NULL, &[]);
    change_owner_auth(tpm, s, 0, (b"", b""), (b"one", b"one")).unwrap();
    let s = &mut Session::hmac(tpm, NO_SYM, OWNER, b"one");
    // HMAC keys are those of the command: the binding, lost by this command, still holds for its response.
    change_owner_auth(tpm, s, CONTINUE, (b"", b""), (b"", b"two")).unwrap();
    let wrong = change_owner_auth(tpm, s, CONTINUE, (b"", b""), (b"", b""));
    assert_eq!(wrong.err(), Some(0x9A2));
    change_owner_auth(tpm, s, CONTINUE, (b"two", b""), (b"", b"")).unwrap();
}

#[test]
fn a_nonce_is_good_for_one_command() {
    let tpm = &mut Client::new();
    let s = &mut Session::hmac(tpm, NO_SYM, OWNER, b"");
    let old = s.nonce_tpm.clone();
    run(
        tpm,
        GET_RANDOM,
        &[],
        &mut [Use::new(s, CONTINUE | AUDIT, b"")],
        &[0, 4],
    )
    .unwrap();
    assert_ne!(old, s.nonce_tpm);
    s.nonce_tpm = old;
    let again = run(
        tpm,
        GET_RANDOM,
        &[],
        &mut [Use::new(s, CONTINUE | AUDIT, b"")],
        &[0, 4],
    );
    assert_eq!(again.err(), Some(0x9A2));
}

#[test]
fn parameters_are_encrypted_with_cfb_and_xor_in_both_directions() {
    for sym in [AES_128_CFB, AES_256_CFB, XOR] {
        let tpm = &mut Client::new();
        let s = &mut Session::hmac(tpm, sym, OWNER, b"");
        let new: &[u8] = b"a value of more than one block";
        change_owner_auth(tpm, s, CONTINUE | DECRYPT, (b"", b""), (b"", new)).unwrap();
        let s = &mut Session::hmac(tpm, sym, OWNER, new);
        // The authorization value is in the encryption's key though the session is bound.
        change_owner_auth(tpm, s, CONTINUE | DECRYPT, (b"", new), (b"", b"x")).unwrap();

        // What is known to be the response: the digest of a policy session. The names are the handles.
        let policy = Session::policy(tpm, 1);
        let used = Use::new(s, CONTINUE | ENCRYPT, b"");
        let done = run(tpm, GET_DIGEST, &[policy.handle], &mut [used], &[]).unwrap();
        assert_eq!(done.parameters, sized(&[0; 32]));
    }
}

#[test]
fn the_first_session_covers_the_nonces_of_those_that_encrypt() {
    let tpm = &mut Client::new();
    let first = &mut Session::hmac(tpm, NO_SYM, NULL, &[]);
    let second = &mut Session::hmac(tpm, AES_128_CFB, OWNER, b"");
    let third = &mut Session::hmac(tpm, XOR, OWNER, b"");
    let done = run(
        tpm,
        0x17D,
        &[],
        &mut [
            Use::new(first, CONTINUE | AUDIT, b""),
            Use::new(second, CONTINUE | DECRYPT, b""),
            Use::new(third, CONTINUE | ENCRYPT, b""),
        ],
        &[sized(b"abc"), hex("000B 40000007")].concat(),
    )
    .unwrap();
    assert_eq!(done.parameters[..34], sized(&sha(&[b"abc"])));
    let both = &mut [
        Use::new(first, CONTINUE | AUDIT, b""),
        Use::new(second, CONTINUE | DECRYPT | ENCRYPT, b""),
    ];
    let parameters = [sized(b"abc"), hex("000B 40000007")].concat();
    let done = run(tpm, 0x17D, &[], both, &parameters).unwrap();
    assert_eq!(done.parameters[..34], sized(&sha(&[b"abc"])));
}

#[test]
fn an_audit_session_keeps_a_digest_and_knows_whether_it_saw_everything() {
    let tpm = &mut Client::new();
    let s = &mut Session::hmac(tpm, NO_SYM, NULL, &[]);
    let mut digest = vec![0; 32];
    let mut audited = |tpm: &mut Client, s: &mut Session, attributes: u8, fresh: bool| {
        let used = Use::new(s, CONTINUE | AUDIT | attributes, b"");
        let done = run(tpm, GET_RANDOM, &[], &mut [used], &[0, 4])?;
        if fresh {
            digest = vec![0; 32];
        }
        digest = sha(&[&digest, &done.cp_hash, &done.rp_hash]);
        Ok::<_, u32>((done.attributes[0], digest.clone()))
    };
    assert_eq!(
        audited(tpm, s, 0, true).unwrap().0,
        CONTINUE | AUDIT | EXCLUSIVE
    );
    assert!(audited(tpm, s, EXCLUSIVE, false).is_ok());
    tpm.plain(GET_RANDOM, &[], &[0, 4]).unwrap();
    assert_eq!(audited(tpm, s, EXCLUSIVE, false).err(), Some(0x121));
    let (attributes, digest) = audited(tpm, s, 0, false).unwrap();
    assert_eq!(attributes, CONTINUE | AUDIT);
    let report = tpm
        .auth(0x14D, &[ENDORSEMENT, NULL, s.handle], 2, &hex("0000 0010"))
        .unwrap();
    assert!(report.windows(32).any(|part| part == digest));
    assert_eq!(
        audited(tpm, s, RESET, true).unwrap().0,
        CONTINUE | AUDIT | EXCLUSIVE
    );
}

#[test]
fn a_session_that_audits_is_bound_no_longer() {
    let tpm = &mut Client::new();
    let s = &mut Session::hmac(tpm, NO_SYM, NULL, &[]);
    change_owner_auth(tpm, s, 0, (b"", b""), (b"one", b"one")).unwrap();
    let s = &mut Session::hmac(tpm, NO_SYM, OWNER, b"one");
    let used = Use::new(s, CONTINUE | AUDIT, b"");
    run(tpm, GET_RANDOM, &[], &mut [used], &[0, 4]).unwrap();
    let bound = change_owner_auth(tpm, s, CONTINUE, (b"", b""), (b"", b""));
    assert_eq!(bound.err(), Some(0x9A2));
    change_owner_auth(tpm, s, CONTINUE, (b"one", b""), (b"", b"")).unwrap();
}

#[test]
fn without_a_key_there_need_not_be_an_hmac() {
    let tpm = &mut Client::new();
    let s = Session::hmac(tpm, NO_SYM, NULL, &[]);
    let area = [&s.handle.to_be_bytes()[..], &hex("0000 81 0000")].concat();
    let body = [&hex("00000009")[..], &area, &[0, 4]].concat();
    let response = tpm
        .run(&crate::client::packet(0x8002, GET_RANDOM, &body))
        .unwrap();
    // A nonce, and no HMAC either.
    assert_eq!(response.len(), 14 + 6 + 2 + 20 + 1 + 2);
    let area = [&s.handle.to_be_bytes()[..], &hex("0000 81 0001 00")].concat();
    let body = [&hex("0000000A")[..], &area, &[0, 4]].concat();
    let wrong = tpm.run(&crate::client::packet(0x8002, GET_RANDOM, &body));
    assert_eq!(wrong.err(), Some(0x9A2));
}

#[test]
fn lockout_is_entered_once_lockout_authorization_failed() {
    let tpm = &mut Client::new();
    let s = &mut Session::hmac(tpm, NO_SYM, LOCKOUT, b"");
    let used = Use::new(s, CONTINUE, b"wrong");
    let reset = run(tpm, 0x139, &[LOCKOUT], &mut [used], &[]);
    assert_eq!(reset.err(), Some(0x98E));
    // Now not even the right value, nor for another purpose a session bound to it.
    assert_eq!(tpm.auth(0x139, &[LOCKOUT], 1, &[]), Err(0x921));
    let used = Use::new(s, CONTINUE | AUDIT, b"");
    let random = run(tpm, GET_RANDOM, &[], &mut [used], &[0, 4]);
    assert_eq!(random.err(), Some(0x921));
}

#[test]
fn a_salt_sent_to_an_ecc_key_makes_the_session_key() {
    use p256::elliptic_curve::sec1::ToSec1Point;
    let tpm = &mut Client::new();
    // A P-256 storage key of the owner.
    let template = hex("0023 000B 00030072 0000 0006 0080 0043 0010 0003 0010 0000 0000");
    let parameters = [
        sized(&hex("0000 0000")),
        sized(&template),
        hex("0000 00000000"),
    ]
    .concat();
    let answer = tpm
        .auth_with_handle(0x131, &[OWNER], 1, &parameters)
        .unwrap();
    let key = u32_at(&answer, 0);
    let public = take_sized(&mut &answer[4..]).to_vec();
    let mut unique = &public[public.len() - 68..];
    let (x, y) = (take_sized(&mut unique), take_sized(&mut unique));
    let point = [&[4], x, y].concat();
    let theirs = p256::PublicKey::from_sec1_bytes(&point).unwrap();
    let ours = p256::SecretKey::from_slice(&[0x77; 32]).unwrap();
    let ephemeral = ours.public_key().to_sec1_point(false);
    let ephemeral = ephemeral.as_bytes();
    let (ex, ey) = (&ephemeral[1..33], &ephemeral[33..]);
    let z = (theirs.to_projective() * *ours.to_nonzero_scalar()).to_affine();
    let z = z.to_sec1_point(false);
    let salt = sha(&[&[0, 0, 0, 1], &z.as_bytes()[1..33], b"SECRET\0", ex, x]);
    let encrypted = [sized(ex), sized(ey)].concat();
    for bind in [NULL, OWNER] {
        let s = &mut Session::begin(tpm, 0, NO_SYM, (bind, b""), (key, &encrypted, &salt));
        let used = Use::new(s, AUDIT, b"");
        run(tpm, GET_RANDOM, &[], &mut [used], &[0, 4]).unwrap();
    }
    // A point that is not on the curve.
    let bad = [sized(ex), sized(ex)].concat();
    let parameters = [sized(&[0; 16]), sized(&bad), hex("00 0010 000B")].concat();
    let rc = tpm.plain(START, &[key, NULL], &parameters);
    assert_eq!(rc, Err(0x2C4));
}

#[test]
fn sessions_are_numbered_saved_and_counted() {
    let tpm = &mut Client::new();
    let mut contexts = Vec::new();
    for n in 0..64 {
        let s = Session::policy(tpm, 1);
        assert_eq!(s.handle, 0x0300_0000 + n);
        contexts.push(tpm.plain(0x162, &[s.handle], &[]).unwrap());
    }
    let start = [sized(&[0; 16]), hex("0000 00 0010 000B")].concat();
    // No handle is left; then, no memory.
    assert_eq!(tpm.plain(START, &[NULL, NULL], &start), Err(0x905));
    for context in &contexts[..3] {
        tpm.plain(0x161, &[], context).unwrap();
    }
    assert_eq!(tpm.plain(START, &[NULL, NULL], &start), Err(0x903));
    assert_eq!(tpm.plain(0x161, &[], &contexts[3]), Err(0x903));
    assert_eq!(tpm.plain(0x161, &[], &contexts[0]), Err(0x1CB));
    tpm.plain(FLUSH, &[], &hex("03000001")).unwrap();
    tpm.plain(FLUSH, &[], &hex("03000003")).unwrap();
    assert_eq!(tpm.plain(0x161, &[], &contexts[3]), Err(0x1CB));
    let s = Session::hmac(tpm, NO_SYM, NULL, &[]);
    assert_eq!(s.handle, 0x0200_0001);
    // A TPM Reset makes the keys of contexts anew.
    tpm.reset();
    assert_eq!(tpm.plain(0x161, &[], &contexts[9]), Err(0x1DF));
}
