//! Commands without an envelope: each says its own size. swtpm's data channel and the `cmd` TCTI of tpm2-tss.
//!
//! A command may have the envelope of the simulator in front of it (32-bit 8, locality, 32-bit size); the response then
//! has its size in front and a 32-bit zero behind. swtpm calls that "send command header".

use std::io::{self, Write};

use tpm_engine::rc::Rc;

use crate::device::{BUFFER, SharedDevice, code, header};
use crate::framing::{Framed, Length, Received, Source, be32};
use crate::swtpm::Locality;

const ENVELOPE: u32 = 8;
const ENVELOPE_SIZE: usize = 9;
/// A command of swtpm's that is none of the TPM's: the byte behind its header is the new locality.
const SET_LOCALITY: u32 = 0x2000_1000;

/// How long a command is. One that claims a size that no command has is [`Length::Refused`].
pub fn length(bytes: &[u8]) -> Length {
    let Some(first) = be32(bytes, 0) else {
        return Length::AtLeast(4);
    };
    let (size, from) = match first {
        ENVELOPE => (be32(bytes, 5), ENVELOPE_SIZE),
        _ => (be32(bytes, 2), 0),
    };
    match size.map(|size| size as usize) {
        None => Length::AtLeast(if from == 0 { 6 } else { ENVELOPE_SIZE }),
        Some(size) if !(10..=BUFFER).contains(&size) => Length::Refused,
        Some(size) if from + size <= bytes.len() => Length::Whole(from + size),
        Some(size) => Length::AtLeast(from + size),
    }
}

/// Locality (where the envelope says one) and command of a message.
pub fn parse(message: &[u8]) -> (Option<u8>, &[u8]) {
    match message {
        [0, 0, 0, 8, locality, _, _, _, _, command @ ..] => (Some(*locality), command),
        command => (None, command),
    }
}

/// Serves one connection until its end.
///
/// What is no command, or too long, or (with patience set in `framed`) not continued, goes to the engine as it is, and
/// is answered with the engine's error: then the client sees one instead of waiting.
///
/// # Errors
/// The connection broke.
pub fn serve<S: Source>(
    framed: &mut Framed<S>,
    mut out: impl FnMut(&mut S, &[u8]) -> io::Result<()>,
    device: &SharedDevice,
    locality: &Locality,
) -> io::Result<()> {
    loop {
        let message = match framed.next(length)? {
            Received::Message(message)
            | Received::Partial(message)
            | Received::Refused(message) => message,
            Received::End => return Ok(()),
        };
        let (own_locality, command) = parse(&message);
        if let Some(own) = own_locality {
            locality.set(own);
        }
        let answer = answer(device, locality, command, own_locality.is_some());
        out(framed.source(), &answer)?;
    }
}

fn answer(device: &SharedDevice, locality: &Locality, command: &[u8], enveloped: bool) -> Vec<u8> {
    let mut answer = Vec::with_capacity(256);
    if enveloped {
        answer.extend_from_slice(&[0; 4]);
    }
    match (code(command), command.get(10..)) {
        (Some(SET_LOCALITY), Some(&[wanted])) if locality.settable_by_command => {
            let rc = match locality.set(wanted) {
                true => Rc::SUCCESS,
                false => Rc::LOCALITY,
            };
            answer.extend_from_slice(&header(rc));
        }
        _ => {
            let mut device = device.lock();
            let response = device.execute(locality.get(), command);
            match response {
                [] => answer.extend_from_slice(&header(Rc::FAILURE)),
                response => answer.extend_from_slice(response),
            }
        }
    }
    if enveloped {
        let size = (answer.len() - 4) as u32;
        answer[..4].copy_from_slice(&size.to_be_bytes());
        answer.extend_from_slice(&[0; 4]);
    }
    answer
}

/// Serves stdin and stdout.
///
/// # Errors
/// One of them broke.
pub fn serve_stdio(device: &SharedDevice, locality: &Locality) -> io::Result<()> {
    let mut framed = Framed::new(io::stdin());
    let out = |_: &mut io::Stdin, bytes: &[u8]| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    };
    match serve(&mut framed, out, device, locality) {
        // The reader has gone.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
