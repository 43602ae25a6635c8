//! What outlasts what: start-up, shutdown, NV indices, the dictionary attack protection, Clear, a store that fails. Expectations are
//! those of the specification.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

mod crash;
mod lockout;
mod nv;
mod owner;
mod startup;

#[path = "../host/mod.rs"]
mod host;

use tpm_engine::Tpm;

pub use host::Host;

pub const OWNER: u32 = 0x4000_0001;
pub const LOCKOUT: u32 = 0x4000_000A;
pub const ENDORSEMENT: u32 = 0x4000_000B;
pub const PLATFORM: u32 = 0x4000_000C;

pub const INITIALIZE: u32 = 0x100;
pub const FAILURE: u32 = 0x101;
pub const DISABLED: u32 = 0x120;
pub const AUTH_TYPE: u32 = 0x124;
pub const NV_RANGE: u32 = 0x146;
pub const NV_LOCKED: u32 = 0x148;
pub const NV_AUTHORIZATION: u32 = 0x149;
pub const NV_UNINITIALIZED: u32 = 0x14A;
pub const NV_SPACE: u32 = 0x14B;
pub const NV_DEFINED: u32 = 0x14C;
pub const LOCKED_OUT: u32 = 0x921;
/// Parameter 1, handle 1, session 1 of a format-one code.
pub const P1: u32 = 0x1C0;
pub const P2: u32 = 0x2C0;
pub const H1: u32 = 0x180;
pub const H2: u32 = 0x280;
pub const S1: u32 = 0x980;

pub struct Machine(pub Tpm<Host>);

/// A response: its code, and its parameters where it is a success.
pub type Response = Result<Vec<u8>, u32>;

impl Machine {
    /// A new TPM after Startup(CLEAR).
    #[allow(clippy::new_without_default, reason = "a test's fixture")]
    pub fn new() -> Machine {
        let mut machine = Machine::off();
        machine.startup(false).unwrap();
        machine
    }

    /// A new TPM before TPM2_Startup.
    pub fn off() -> Machine {
        Machine(Tpm::new(Host::default()))
    }

    pub fn host(&mut self) -> &mut Host {
        self.0.platform()
    }

    pub fn raw(&mut self, locality: u8, command: &[u8]) -> Response {
        let mut response = [0; 4096];
        let response = self.0.execute(locality, command, &mut response);
        let rc = u32::from_be_bytes(response[6..10].try_into().unwrap());
        let size = u32::from_be_bytes(response[2..6].try_into().unwrap());
        assert_eq!(size as usize, response.len());
        match (rc, response[1]) {
            (0, 2) => {
                let size = u32::from_be_bytes(response[10..14].try_into().unwrap());
                Ok(response[14..14 + size as usize].to_vec())
            }
            (0, _) => Ok(response[10..].to_vec()),
            _ => Err(rc),
        }
    }

    /// A command without sessions.
    pub fn plain(&mut self, cc: u32, body: &[u8]) -> Response {
        self.raw(0, &command(0x8001, cc, &[body]))
    }

    /// A command whose first handle is authorized by `password`.
    pub fn auth(&mut self, cc: u32, handles: &[u32], password: &[u8], body: &[u8]) -> Response {
        let handles: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
        let mut area = vec![0x40, 0, 0, 9, 0, 0, 0];
        area.extend(tpm2b(password));
        let size = (area.len() as u32).to_be_bytes();
        self.raw(0, &command(0x8002, cc, &[&handles, &size, &area, body]))
    }

    pub fn startup(&mut self, state: bool) -> Response {
        self.plain(0x144, &[0, state.into()])
    }

    pub fn shutdown(&mut self, state: bool) -> Response {
        self.plain(0x145, &[0, state.into()])
    }

    /// Power off and on, Startup.
    pub fn cycle(&mut self, state: bool) -> Response {
        self.0.init();
        self.startup(state)
    }

    /// The value of TPM property `tag`.
    pub fn property(&mut self, tag: u32) -> u32 {
        let body = [6u32.to_be_bytes(), tag.to_be_bytes(), 1u32.to_be_bytes()].concat();
        let out = self.plain(0x17A, &body).unwrap();
        assert_eq!(out[9..13], tag.to_be_bytes());
        u32::from_be_bytes(out[13..17].try_into().unwrap())
    }

    pub fn time(&mut self) -> Time {
        let out = self.plain(0x181, &[]).unwrap();
        let long = |at: usize| u64::from_be_bytes(out[at..at + 8].try_into().unwrap());
        let short = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!(out.len(), 25);
        Time {
            time: long(0),
            clock: long(8),
            resets: short(16),
            restarts: short(20),
            safe: out[24] != 0,
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.host().now += ms;
    }
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub struct Time {
    pub time: u64,
    pub clock: u64,
    pub resets: u32,
    pub restarts: u32,
    pub safe: bool,
}

fn command(tag: u16, cc: u32, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let size = (10 + body.len()) as u32;
    [
        &tag.to_be_bytes()[..],
        &size.to_be_bytes(),
        &cc.to_be_bytes(),
        &body,
    ]
    .concat()
}

pub fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}
