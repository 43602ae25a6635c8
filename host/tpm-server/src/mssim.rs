//! The protocol of the TPM simulator (the TCG's and Microsoft's reference code): a port for commands and, one number
//! above, a port for what a board does to a TPM. tpm2-tss's `mssim` TCTI speaks it.
//!
//! Every message begins with a 32-bit code; integers are big-endian. Nearly all are answered with a 32-bit zero once
//! they are done.

use std::io::{self, Write};

use crate::device::SharedDevice;
use crate::framing::{Framed, Length, Received, Source, be32};
use crate::serve::After;

const POWER_ON: u32 = 1;
const POWER_OFF: u32 = 2;
const PHYSICAL_PRESENCE_ON: u32 = 3;
const PHYSICAL_PRESENCE_OFF: u32 = 4;
const HASH_START: u32 = 5;
const HASH_DATA: u32 = 6;
const HASH_END: u32 = 7;
const SEND_COMMAND: u32 = 8;
const CANCEL_ON: u32 = 9;
const CANCEL_OFF: u32 = 10;
const NV_ON: u32 = 11;
const NV_OFF: u32 = 12;
const KEY_CACHE_ON: u32 = 13;
const KEY_CACHE_OFF: u32 = 14;
const REMOTE_HANDSHAKE: u32 = 15;
const SET_ALTERNATIVE_RESULT: u32 = 16;
const RESET: u32 = 17;
const RESTART: u32 = 18;
const SESSION_END: u32 = 20;
const STOP: u32 = 21;
const GET_COMMAND_RESPONSE_SIZES: u32 = 25;
const TEST_FAILURE_MODE: u32 = 30;

/// Version of the protocol, and what the peer is: a platform is available, commands are raw, physical presence can be
/// asserted.
const SERVER_VERSION: u32 = 1;
const ENDPOINT: u32 = 0x01 | 0x04 | 0x08;

/// A message of the command port.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// _TPM_Hash_Start.
    HashStart,
    /// _TPM_Hash_Data.
    HashData(&'a [u8]),
    /// _TPM_Hash_End.
    HashEnd,
    /// A TPM command.
    Send {
        /// Its locality.
        locality: u8,
        /// Its bytes.
        command: &'a [u8],
    },
    /// Both sides say what they are.
    Handshake {
        /// The client's version of the protocol.
        version: u32,
    },
    /// Means nothing here.
    AlternativeResult,
    /// The client goes.
    SessionEnd,
    /// The server shall end.
    Stop,
}

/// How long a message of the command port is.
pub fn command_length(bytes: &[u8]) -> Length {
    match be32(bytes, 0) {
        None => Length::AtLeast(4),
        Some(HASH_START | HASH_END | SESSION_END | STOP) => Length::of(4, bytes),
        Some(REMOTE_HANDSHAKE | SET_ALTERNATIVE_RESULT) => Length::of(8, bytes),
        Some(HASH_DATA) => Length::with_tail(8, bytes),
        Some(SEND_COMMAND) => Length::with_tail(9, bytes),
        Some(_) => Length::Refused,
    }
}

/// The message that `bytes` are, which [`command_length`] measured.
pub fn parse_command(bytes: &[u8]) -> Option<Command<'_>> {
    Some(match be32(bytes, 0)? {
        HASH_START => Command::HashStart,
        HASH_DATA => Command::HashData(bytes.get(8..)?),
        HASH_END => Command::HashEnd,
        SEND_COMMAND => Command::Send {
            locality: *bytes.get(4)?,
            command: bytes.get(9..)?,
        },
        REMOTE_HANDSHAKE => Command::Handshake {
            version: be32(bytes, 4)?,
        },
        SET_ALTERNATIVE_RESULT => Command::AlternativeResult,
        SESSION_END => Command::SessionEnd,
        STOP => Command::Stop,
        _ => return None,
    })
}

/// Serves one connection to the command port.
///
/// # Errors
/// The connection broke.
pub fn serve_commands<S: Source + Write>(stream: S, device: &SharedDevice) -> io::Result<After> {
    let mut framed = Framed::new(stream);
    loop {
        let Received::Message(message) = framed.next(command_length)? else {
            return Ok(After::Continue);
        };
        let mut answer = Vec::new();
        match parse_command(&message) {
            Some(Command::HashStart) => {
                let mut device = device.lock();
                if device.powered() {
                    device.tpm().hash_start();
                }
            }
            Some(Command::HashData(data)) => {
                let mut device = device.lock();
                if device.powered() {
                    device.tpm().hash_data(data);
                }
            }
            Some(Command::HashEnd) => {
                let mut device = device.lock();
                if device.powered() {
                    device.tpm().hash_end();
                }
            }
            Some(Command::Send { locality, command }) => {
                let mut device = device.lock();
                let response = device.execute(locality, command);
                answer.extend_from_slice(&(response.len() as u32).to_be_bytes());
                answer.extend_from_slice(response);
            }
            Some(Command::Handshake { version: 0 }) | Some(Command::SessionEnd) | None => {
                return Ok(After::Continue);
            }
            Some(Command::Handshake { .. }) => {
                answer.extend_from_slice(&SERVER_VERSION.to_be_bytes());
                answer.extend_from_slice(&ENDPOINT.to_be_bytes());
            }
            Some(Command::AlternativeResult) => {}
            Some(Command::Stop) => return Ok(After::End),
        }
        answer.extend_from_slice(&[0; 4]);
        framed.source().write_all(&answer)?;
        framed.source().flush()?;
    }
}

/// How long a message of the platform port is.
pub fn platform_length(bytes: &[u8]) -> Length {
    Length::of(4, bytes)
}

/// Serves one connection to the platform port.
///
/// # Errors
/// The connection broke.
pub fn serve_platform<S: Source + Write>(stream: S, device: &SharedDevice) -> io::Result<After> {
    let mut framed = Framed::new(stream);
    loop {
        let Received::Message(message) = framed.next(platform_length)? else {
            return Ok(After::Continue);
        };
        let mut answer = Vec::new();
        match be32(&message, 0).unwrap_or(0) {
            POWER_ON => device.lock().power_on(),
            POWER_OFF => device.lock().power_off(),
            RESET | RESTART => {
                let mut device = device.lock();
                if device.powered() {
                    device.reset();
                }
            }
            PHYSICAL_PRESENCE_ON => device.lock().physical_presence(true),
            PHYSICAL_PRESENCE_OFF => device.lock().physical_presence(false),
            // The store is always there, no command is interrupted, and there is no cache of keys.
            NV_ON | NV_OFF | CANCEL_ON | CANCEL_OFF | KEY_CACHE_ON | KEY_CACHE_OFF => {}
            GET_COMMAND_RESPONSE_SIZES => {
                // A structure of the simulator's memory: sizes as x86 has them, codes as they stood in the message.
                let largest = device.lock().take_largest();
                answer.extend_from_slice(&16u32.to_be_bytes());
                answer.extend_from_slice(&largest.command_size.to_le_bytes());
                answer.extend_from_slice(&largest.command.to_be_bytes());
                answer.extend_from_slice(&largest.response_size.to_le_bytes());
                answer.extend_from_slice(&largest.response.to_be_bytes());
            }
            TEST_FAILURE_MODE => device.lock().fail(),
            SESSION_END => return Ok(After::Continue),
            STOP => return Ok(After::End),
            _ => {
                framed.source().write_all(&1u32.to_be_bytes())?;
                return Ok(After::Continue);
            }
        }
        answer.extend_from_slice(&[0; 4]);
        framed.source().write_all(&answer)?;
        framed.source().flush()?;
    }
}
