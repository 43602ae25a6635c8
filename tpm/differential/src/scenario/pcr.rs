//! PCRs, hash sequences and events.

use crate::crypto::{SHA1, SHA256, SHA384, SHA512, digest_len};
use crate::scenario::builder::{Builder, NULL_HANDLE, PLATFORM};
use crate::scenario::template::pcrs;
use crate::step::{Action, Handle, HandleValue, Name, Part, Piece, b2, raw, sized, u16, u32};

/// PCR_Read, PCR_Extend, PCR_Event, PCR_Reset, PCR_Allocate, PCR_SetAuth*.
pub fn registers(b: &mut Builder<'_>) {
    b.maybe_hmac(20);
    for _ in 0..4 + b.rng.below(6) {
        let pcr = b.rng.below(24) as u32;
        let alg = b.rng.pick(&[SHA256, SHA256, SHA384, SHA1]);
        let locality = b.rng.pick(&[0, 0, 0, 1, 2, 3, 4]);
        match b.rng.below(8) {
            0..=2 => {
                let digests: Vec<u16> = b.rng.pick(&[
                    vec![SHA256],
                    vec![SHA256, SHA384],
                    vec![SHA1],
                    vec![SHA384, SHA512],
                ]);
                let mut params = vec![u32(digests.len() as u32)];
                for alg in digests {
                    params.push(u16(alg));
                    params.push(raw(&b.rng.bytes(digest_len(alg))));
                }
                b.cmd(0x182, vec![pcr.into()], &[&[]], params).locality = locality;
            }
            3 => {
                let data = b.data(200);
                b.cmd(0x13C, vec![pcr.into()], &[&[]], vec![data]).locality = locality;
            }
            4 => {
                b.cmd(0x13D, vec![pcr.into()], &[&[]], vec![]).locality = locality;
            }
            5 if b.rng.chance(30) => {
                let params = pcrs(alg, [0xFF, 0xFF, 0xFF]);
                let auth = b.hierarchy_auth(PLATFORM);
                b.cmd(0x12B, vec![PLATFORM.into()], &[&auth], params);
            }
            6 if b.rng.chance(30) => {
                let value = b.data(20);
                b.cmd(0x183, vec![pcr.into()], &[&[]], vec![value]);
                let auth = b.hierarchy_auth(PLATFORM);
                b.cmd(
                    0x12C,
                    vec![PLATFORM.into()],
                    &[&auth],
                    vec![b2(&[]), u16(0x10), u32(pcr)],
                );
            }
            _ => {
                let select = b.rng.word().to_be_bytes();
                let mut params = pcrs(alg, [select[0], select[1], select[2]]);
                if b.rng.chance(40) {
                    params[0] = u32(2);
                    params.extend(pcrs(SHA384, [select[3], 0, select[4]]).drain(1..));
                }
                b.plain(0x17E, vec![], params);
            }
        }
    }
    b.plain(0x17E, vec![], pcrs(SHA256, [0xFF, 0, 0xFF]));
}

/// Hash, HashSequenceStart, SequenceUpdate, SequenceComplete, EventSequenceComplete.
pub fn sequences(b: &mut Builder<'_>) {
    b.maybe_hmac(25);
    for _ in 0..2 {
        let alg = b.alg();
        let hierarchy = b.hierarchy();
        let most = b.rng.pick(&[300, 300, 5]);
        let mut data = b.rng.some_bytes(most);
        if b.rng.chance(15) {
            data.splice(0..0, [0xFF, 0x54, 0x43, 0x47]); // TPM_GENERATED_VALUE: no ticket
        }
        b.plain(0x17D, vec![], vec![b2(&data), u16(alg), u32(hierarchy)]);
        let event = b.rng.chance(30);
        let slot = b.slot();
        let auth = b.secret();
        let start = vec![b2(&auth), u16(if event { 0x10 } else { alg })];
        b.plain(0x186, vec![], start).saves = vec![(Part::Handle, slot)];
        let handle = sequence(slot);
        for _ in 0..b.rng.below(3) {
            let most = b.rng.pick(&[500, 500, 5]);
            let data = b.data(most);
            b.cmd(0x15C, vec![handle.clone()], &[&auth], vec![data]);
        }
        let last = b.data(100);
        if event {
            let pcr = b.rng.pick(&[NULL_HANDLE, 0, 9, 16, 17]);
            b.cmd(0x185, vec![pcr.into(), handle], &[&[], &auth], vec![last]);
        } else {
            b.cmd(0x13E, vec![handle], &[&auth], vec![last, u32(hierarchy)]);
        }
    }
}

/// The handle of a sequence object, whose name is empty.
pub fn sequence(slot: u32) -> Handle {
    Handle {
        value: HandleValue::Slot(slot),
        name: Name::Slot(0), // never saved: empty
    }
}

/// _TPM_Hash_Start: PCR 17 at locality 4.
pub fn hash_sequence(b: &mut Builder<'_>) {
    let data = (0..b.rng.below(3)).map(|_| b.rng.some_bytes(100)).collect();
    b.action(Action::HashSequence(data));
    b.plain(0x17E, vec![], pcrs(SHA256, [0, 0, 0xFF]));
    b.plain(0x17E, vec![], vec![u32(0)]);
    let piece: Piece = sized(vec![raw(&[1, 2, 3])]);
    b.cmd(0x13C, vec![17.into()], &[&[]], vec![piece]).locality = 3;
}
