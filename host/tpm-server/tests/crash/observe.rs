//! The state of a TPM as its commands show it.

use std::collections::BTreeMap;

use crate::commands::{
    AUTHS, ENDORSEMENT, LOCKOUT, OWNER, command, create_primary, sized, startup,
};

/// What was asked, and what the answer was.
pub type State = BTreeMap<String, Vec<u8>>;

/// Something that executes commands.
pub trait Target {
    fn run(&mut self, command: &[u8]) -> Vec<u8>;
}

pub fn code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

/// What `boot` boots says about itself. What is asked may change it: each boot brings up a copy.
pub fn observe<T: Target>(mut boot: impl FnMut() -> T) -> State {
    let mut state = State::new();
    let mut tpm = boot();
    let mut ask = |tpm: &mut T, what: String, command: &[u8]| {
        let response = tpm.run(command);
        state.insert(what, response.clone());
        response
    };
    ask(&mut tpm, "startup".into(), &startup());
    let clock = ask(&mut tpm, "clock".into(), &command(0x181, &[], &[], &[]));
    assert_eq!(code(&clock), 0, "a TPM that was started has a clock");
    ask(&mut tpm, "permanent".into(), &capability(6, 0x200, 64));
    ask(&mut tpm, "pcr banks".into(), &capability(5, 0, 1));
    ask(&mut tpm, "audited".into(), &capability(4, 0, 256));
    ask(&mut tpm, "policies".into(), &capability(9, OWNER, 16));
    let owner = AUTHS
        .iter()
        .position(|auth| authorizes(&mut tpm, OWNER, auth));
    let endorsement = AUTHS
        .iter()
        .position(|auth| authorizes(&mut tpm, ENDORSEMENT, auth));
    let owner_auth = AUTHS[owner.expect("owner authorization is none that was ever set")];
    ask(&mut tpm, format!("owner auth {owner:?}"), &[0; 10]);
    ask(
        &mut tpm,
        format!("endorsement auth {endorsement:?}"),
        &[0; 10],
    );
    for index in handles(&ask(
        &mut tpm,
        "indices".into(),
        &capability(1, 0x0100_0000, 254),
    )) {
        let public = ask(
            &mut tpm,
            format!("public of {index:x}"),
            &command(0x169, &[index], &[], &[]),
        );
        let size = data_size(&public);
        let read = [size.to_be_bytes(), [0; 2]].concat();
        ask(
            &mut tpm,
            format!("data of {index:x}"),
            &command(0x14E, &[OWNER, index], &[owner_auth], &read),
        );
    }
    for object in handles(&ask(
        &mut tpm,
        "objects".into(),
        &capability(1, 0x8100_0000, 254),
    )) {
        ask(
            &mut tpm,
            format!("object {object:x}"),
            &command(0x173, &[object], &[], &[]),
        );
    }
    // The seeds show in the keys that come from them.
    for (hierarchy, auth) in [(OWNER, owner), (ENDORSEMENT, endorsement)] {
        if let Some(auth) = auth {
            let made = tpm.run(&create_primary(hierarchy, AUTHS[auth], 77));
            assert_eq!(code(&made), 0, "CreatePrimary in {hierarchy:x}");
            let public = 18 + usize::from(u16::from_be_bytes([made[18], made[19]]));
            state.insert(
                format!("primary of {hierarchy:x}"),
                made[18..public + 2].to_vec(),
            );
        }
    }
    drop(tpm);
    // A wrong one locks lockout: one try for each boot.
    let lockout = AUTHS.iter().position(|auth| {
        let mut tpm = boot();
        tpm.run(&startup());
        authorizes(&mut tpm, LOCKOUT, auth)
    });
    state.insert(format!("lockout auth {lockout:?}"), vec![]);
    state
}

/// resetCount and Clock in an answer to TPM2_ReadClock.
pub fn resets_and_clock(state: &State) -> (u32, u64) {
    let clock = &state["clock"];
    (
        u32::from_be_bytes(clock[26..30].try_into().unwrap()),
        u64::from_be_bytes(clock[18..26].try_into().unwrap()),
    )
}

fn capability(capability: u32, property: u32, count: u32) -> Vec<u8> {
    let parameters: Vec<u8> = [capability, property, count]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    command(0x17A, &[], &[], &parameters)
}

fn handles(response: &[u8]) -> Vec<u32> {
    assert_eq!(code(response), 0);
    response[19..]
        .chunks(4)
        .map(|handle| u32::from_be_bytes(handle.try_into().unwrap()))
        .collect()
}

/// dataSize in an answer to TPM2_NV_ReadPublic: behind index, nameAlg, attributes and an empty policy.
fn data_size(response: &[u8]) -> u16 {
    assert_eq!(code(response), 0);
    u16::from_be_bytes([response[24], response[25]])
}

/// Whether `auth` authorizes `hierarchy`: with it, it can be changed to itself.
fn authorizes(tpm: &mut impl Target, hierarchy: u32, auth: &[u8]) -> bool {
    code(&tpm.run(&command(0x129, &[hierarchy], &[auth], &sized(auth)))) == 0
}
