//! swtpm's control channel, which QEMU, tpm2-tss's `swtpm` TCTI and `swtpm_ioctl` speak. Commands go through another
//! connection, [`crate::raw`]; QEMU hands its end of that over with a message ([`Request::SetDataFd`]).
//!
//! A request is a 32-bit code and fixed fields, a response a 32-bit result (in codes of TPM 1.2) and fixed fields;
//! integers are big-endian. Facts: swtpm's `tpm_ioctl.h`, and Debian's swtpm 0.7.1 watched.
//!
//! The permanent state can be fetched and set, in this program's own format. The volatile state cannot: that would be a
//! copy of sessions and loaded keys that nobody needs but migration, and the capabilities say that there is none.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::device::{BUFFER, Device, MAX_LOCALITY, SharedDevice};
use crate::framing::{Framed, Length, Received, Source, be32};
use crate::serve::After;

/// The smallest size of a command that a client can set as the largest, in bytes.
pub const MIN_BUFFER: usize = 2808;

const SUCCESS: u32 = 0;
const BAD_PARAMETER: u32 = 0x3;
const FAIL: u32 = 0x9;
const BAD_ORDINAL: u32 = 0xa;
const BAD_LOCALITY: u32 = 0x3d;
const RETRY: u32 = 0x800;

/// What is answered well, and that the data channel takes commands with an envelope. Without state blobs QEMU knows
/// that it cannot migrate.
const CAPABILITIES: u32 = 1 // INIT
    | 1 << 1 // SHUTDOWN
    | 1 << 2 // GET_TPMESTABLISHED
    | 1 << 3 // SET_LOCALITY
    | 1 << 4 // HASHING
    | 1 << 5 // CANCEL_TPM_CMD
    | 1 << 7 // RESET_TPMESTABLISHED
    | 1 << 10 // STOP
    | 1 << 11 // GET_CONFIG
    | 1 << 12 // SET_DATAFD
    | 1 << 13 // SET_BUFFERSIZE
    | 1 << 14 // GET_INFO
    | 1 << 15 // SEND_COMMAND_HEADER
    | 1 << 16; // LOCK_STORAGE

const PERMANENT: u32 = 1;
const VOLATILE: u32 = 2;
const SAVESTATE: u32 = 3;

/// A request.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub enum Request<'a> {
    GetCapability,
    Init,
    Shutdown,
    GetTpmEstablished,
    SetLocality(u8),
    HashStart,
    HashData(&'a [u8]),
    HashEnd,
    CancelTpmCmd,
    StoreVolatile,
    ResetTpmEstablished(u8),
    GetStateBlob {
        kind: u32,
        offset: u32,
    },
    SetStateBlob {
        kind: u32,
        blob: &'a [u8],
    },
    Stop,
    GetConfig,
    SetDataFd,
    SetBufferSize(u32),
    GetInfo {
        flags: u64,
        offset: u32,
    },
    LockStorage,
    Unknown(u32),
    /// No request. The locality requests have one byte, but some clients send the structure's four.
    Padding,
}

/// How long a request is.
pub fn length(bytes: &[u8]) -> Length {
    let Some(code) = be32(bytes, 0) else {
        return Length::AtLeast(4);
    };
    match code {
        // No request has code 0: three zeros that were padding, and the first byte of the next request.
        0 => Length::Whole(3),
        0x05 | 0x0b => Length::of(5, bytes),
        0x02 | 0x11 | 0x13 => Length::of(8, bytes),
        0x07 => Length::with_tail(8, bytes),
        0x0c => Length::of(16, bytes),
        0x0d => Length::with_tail(16, bytes),
        0x12 => Length::of(20, bytes),
        _ => Length::of(4, bytes),
    }
}

/// The request that `bytes` are, which [`length`] measured.
pub fn parse(bytes: &[u8]) -> Option<Request<'_>> {
    if bytes.len() == 3 {
        return Some(Request::Padding);
    }
    Some(match be32(bytes, 0)? {
        0x01 => Request::GetCapability,
        0x02 => Request::Init,
        0x03 => Request::Shutdown,
        0x04 => Request::GetTpmEstablished,
        0x05 => Request::SetLocality(*bytes.get(4)?),
        0x06 => Request::HashStart,
        0x07 => Request::HashData(bytes.get(8..)?),
        0x08 => Request::HashEnd,
        0x09 => Request::CancelTpmCmd,
        0x0a => Request::StoreVolatile,
        0x0b => Request::ResetTpmEstablished(*bytes.get(4)?),
        0x0c => Request::GetStateBlob {
            kind: be32(bytes, 8)?,
            offset: be32(bytes, 12)?,
        },
        0x0d => Request::SetStateBlob {
            kind: be32(bytes, 8)?,
            blob: bytes.get(16..)?,
        },
        0x0e => Request::Stop,
        0x0f => Request::GetConfig,
        0x10 => Request::SetDataFd,
        0x11 => Request::SetBufferSize(be32(bytes, 4)?),
        0x12 => Request::GetInfo {
            flags: u64::from(be32(bytes, 4)?) << 32 | u64::from(be32(bytes, 8)?),
            offset: be32(bytes, 12)?,
        },
        0x13 => Request::LockStorage,
        code => Request::Unknown(code),
    })
}

/// The locality of commands on data channels, which the control channel sets.
#[derive(Clone)]
pub struct Locality {
    current: Arc<AtomicU8>,
    most: u8,
    /// Whether a command on the data channel may set it too.
    pub settable_by_command: bool,
}

impl Locality {
    /// Starts at `locality`; at most `most` can be set.
    pub fn new(locality: u8, most: u8) -> Locality {
        Locality {
            current: Arc::new(AtomicU8::new(locality)),
            most: most.min(MAX_LOCALITY),
            settable_by_command: false,
        }
    }

    /// What it is.
    pub fn get(&self) -> u8 {
        self.current.load(Ordering::SeqCst)
    }

    /// Sets it, if it may be that.
    pub fn set(&self, locality: u8) -> bool {
        let allowed = locality <= self.most;
        if allowed {
            self.current.store(locality, Ordering::SeqCst);
        }
        allowed
    }
}

/// What the control channel needs from the server.
pub trait Host {
    /// A descriptor that came with the connection's last bytes.
    fn take_fd(&mut self) -> Option<OwnedFd>;
}

impl<H: Host + ?Sized> Host for &mut H {
    fn take_fd(&mut self) -> Option<OwnedFd> {
        (**self).take_fd()
    }
}

/// Serves one connection to the control channel. `data` gets the data channels that clients hand over.
///
/// # Errors
/// The connection broke.
pub fn serve<S: Source + Write + Host>(
    stream: S,
    device: &SharedDevice,
    locality: &Locality,
    mut data: impl FnMut(OwnedFd),
) -> io::Result<After> {
    let mut framed = Framed::new(stream);
    loop {
        let message = match framed.next(length)? {
            Received::Message(message) => message,
            Received::Refused(_) => {
                // How much is still to come of it is not known: the connection ends.
                framed.source().write_all(&BAD_PARAMETER.to_be_bytes())?;
                return Ok(After::Continue);
            }
            Received::Partial(_) | Received::End => return Ok(After::Continue),
        };
        let Some(request) = parse(&message) else {
            return Ok(After::Continue);
        };
        let fd = framed.source().take_fd();
        let answer = match request {
            Request::Padding => continue,
            Request::SetDataFd => match fd {
                Some(fd) => {
                    data(fd);
                    words(&[SUCCESS])
                }
                None => words(&[BAD_PARAMETER]),
            },
            ref request => answer(request, device, locality),
        };
        framed.source().write_all(&answer)?;
        framed.source().flush()?;
        if request == Request::Shutdown {
            return Ok(After::End);
        }
    }
}

fn answer(request: &Request<'_>, device: &SharedDevice, locality: &Locality) -> Vec<u8> {
    let mut device = device.lock();
    let needs_power = matches!(
        request,
        Request::GetTpmEstablished
            | Request::ResetTpmEstablished(_)
            | Request::HashStart
            | Request::HashData(_)
            | Request::HashEnd
            | Request::CancelTpmCmd
            | Request::StoreVolatile
            | Request::GetStateBlob { .. }
    );
    if needs_power && !device.powered() {
        return words(&[BAD_ORDINAL]);
    }
    let ok = words(&[SUCCESS]);
    match *request {
        Request::GetCapability => words(&[SUCCESS, CAPABILITIES]),
        Request::Init => {
            device.reset();
            ok
        }
        Request::Stop | Request::Shutdown => {
            device.power_off();
            ok
        }
        Request::GetTpmEstablished => {
            let bit = u32::from(device.tpm().established());
            words(&[SUCCESS, bit << 24])
        }
        // Only the localities of a dynamic launch (TPM Part 1 §34.2).
        Request::ResetTpmEstablished(3..=MAX_LOCALITY) => {
            device.tpm().reset_established();
            ok
        }
        Request::ResetTpmEstablished(_) => words(&[BAD_LOCALITY]),
        Request::SetLocality(wanted) => match locality.set(wanted) {
            true => ok,
            false => words(&[BAD_LOCALITY]),
        },
        Request::HashStart => {
            device.tpm().hash_start();
            ok
        }
        Request::HashData(bytes) => {
            device.tpm().hash_data(bytes);
            ok
        }
        Request::HashEnd => {
            device.tpm().hash_end();
            ok
        }
        // No command is interrupted; each ends soon.
        Request::CancelTpmCmd => ok,
        Request::StoreVolatile => {
            eprintln!("control channel: STORE_VOLATILE: volatile state cannot be stored");
            words(&[FAIL])
        }
        Request::GetStateBlob { kind, offset } => get_state(&mut device, kind, offset),
        Request::SetStateBlob { kind, blob } => words(&[set_state(&mut device, kind, blob)]),
        // Neither the file nor a migration is encrypted with a key of the server's.
        Request::GetConfig => words(&[SUCCESS, 0]),
        Request::SetBufferSize(wanted) => {
            if wanted != 0 && device.powered() {
                return words(&[BAD_ORDINAL]);
            }
            if wanted != 0 {
                device.set_buffer((wanted as usize).clamp(MIN_BUFFER, BUFFER));
            }
            let size = device.buffer() as u32;
            words(&[SUCCESS, size, MIN_BUFFER as u32, BUFFER as u32])
        }
        Request::GetInfo { flags, offset } => info(flags, offset),
        // It is locked as long as the server runs.
        Request::LockStorage => ok,
        Request::Unknown(code) => {
            eprintln!("control channel: unknown request {code:#x}");
            words(&[BAD_ORDINAL])
        }
        Request::SetDataFd | Request::Padding => words(&[BAD_PARAMETER]),
    }
}

fn get_state(device: &mut Device, kind: u32, offset: u32) -> Vec<u8> {
    let image = match kind {
        PERMANENT => device.image(),
        VOLATILE => {
            eprintln!("control channel: GET_STATEBLOB: volatile state cannot be fetched");
            None
        }
        // What TPM 1.2 had; there is none.
        _ => return words(&[RETRY, 0, 0, 0]),
    };
    let Some(image) = image else {
        return words(&[FAIL, 0, 0, 0]);
    };
    let rest = image.get(offset as usize..).unwrap_or_default();
    let length = rest.len() as u32;
    let mut answer = words(&[SUCCESS, 0, length, length]);
    answer.extend_from_slice(rest);
    answer
}

fn set_state(device: &mut Device, kind: u32, blob: &[u8]) -> u32 {
    if device.powered() {
        return BAD_ORDINAL;
    }
    match (kind, blob) {
        (PERMANENT, blob) => match device.set_image(blob) {
            Ok(()) => SUCCESS,
            Err(error) => {
                eprintln!("control channel: SET_STATEBLOB: the permanent state: {error}");
                FAIL
            }
        },
        (VOLATILE | SAVESTATE, []) => SUCCESS,
        _ => {
            eprintln!("control channel: SET_STATEBLOB: only permanent state can be set");
            FAIL
        }
    }
}

fn info(flags: u64, offset: u32) -> Vec<u8> {
    const PARTS: [&str; 3] = [
        r#""TPMSpecification":{"family":"2.0","level":0,"revision":164}"#,
        r#""TPMAttributes":{"manufacturer":"id:4D43444D","version":"id:00010000","model":"macadamia"}"#,
        r#""TPMFeatures":{"RSAKeySizes":[2048,3072]}"#,
    ];
    let wanted: Vec<&str> = (0..)
        .zip(PARTS)
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, part)| part)
        .collect();
    let text = format!("{{{}}}\0", wanted.join(","));
    match text.as_bytes().get(offset as usize..) {
        None | Some([] | [0]) => words(&[BAD_PARAMETER]),
        Some(rest) => {
            let mut answer = words(&[SUCCESS, text.len() as u32, rest.len() as u32]);
            answer.extend_from_slice(rest);
            answer
        }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
