//! A TPM with what surrounds it on a board: power, the platform's signals, a log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tpm_engine::Tpm;
use tpm_engine::rc::Rc;

use crate::platform::HostPlatform;
use crate::store::{Records, format};
use crate::trace::Trace;

/// The longest response, in bytes, and the longest command that is executed.
pub const BUFFER: usize = 4096;
/// The highest locality (TPM Part 1 §34: 5 to 31 do not exist; above there are none here).
pub const MAX_LOCALITY: u8 = 4;

const STARTUP: u32 = 0x144;
const SHUTDOWN: u32 = 0x145;

/// The TPM and its board.
pub struct Device {
    tpm: Tpm<HostPlatform>,
    response: Box<[u8; BUFFER]>,
    buffer: usize,
    powered: bool,
    auto_startup: bool,
    auto_shutdown: bool,
    /// The TPM was started and not shut down since.
    awake: bool,
    trace: Option<Trace>,
    largest: Largest,
}

/// The largest command and response since this was asked last (the simulator's GET_COMMAND_RESPONSE_SIZES).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Largest {
    /// Bytes of the largest command.
    pub command_size: u32,
    /// Its command code.
    pub command: u32,
    /// Bytes of the largest response.
    pub response_size: u32,
    /// Its response code.
    pub response: u32,
}

impl Device {
    /// Powers a TPM on.
    pub fn new(platform: HostPlatform) -> Device {
        Device {
            tpm: Tpm::new(platform),
            response: Box::new([0; BUFFER]),
            buffer: BUFFER,
            powered: true,
            auto_startup: false,
            auto_shutdown: false,
            awake: false,
            trace: None,
            largest: Largest::default(),
        }
    }

    /// Logs every command.
    pub fn trace(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// Sends TPM2_Startup(CLEAR) now and after every power-on, so that clients need not.
    pub fn auto_startup(&mut self) {
        self.auto_startup = true;
        self.startup();
    }

    /// Sends TPM2_Shutdown(CLEAR) before power is taken, unless the client did. Without it a TPM takes it for a
    /// failure of power, and may count a try against the dictionary attack limit (TPM Part 1 §17.8.6).
    pub fn auto_shutdown(&mut self) {
        self.auto_shutdown = true;
    }

    /// Executes a command. Without power there is no response.
    pub fn execute(&mut self, locality: u8, command: &[u8]) -> &[u8] {
        let start = Instant::now();
        let length = if !self.powered {
            0
        } else if locality > MAX_LOCALITY {
            self.response[..10].copy_from_slice(&header(Rc::LOCALITY));
            10
        } else if command.len() > self.buffer {
            self.response[..10].copy_from_slice(&header(Rc::COMMAND_SIZE));
            10
        } else {
            self.tpm
                .execute(locality, command, &mut self.response)
                .len()
        };
        let response = &self.response[..length];
        let (code, result) = (code(command), code(response));
        if result == Some(0) {
            match code {
                Some(STARTUP) => self.awake = true,
                Some(SHUTDOWN) => self.awake = false,
                _ => {}
            }
        }
        self.largest.note(command, response);
        if let Some(trace) = &mut self.trace {
            trace.command(locality, command, response, start);
        }
        response
    }

    /// Whether there is power.
    pub fn powered(&self) -> bool {
        self.powered
    }

    /// Power on, where it was off.
    pub fn power_on(&mut self) {
        if !self.powered {
            self.restart();
        }
    }

    /// Power off: what is volatile is lost.
    pub fn power_off(&mut self) {
        if self.powered {
            self.shutdown();
        }
        self.powered = false;
    }

    /// Power off and on.
    pub fn reset(&mut self) {
        self.power_off();
        self.restart();
    }

    fn restart(&mut self) {
        self.tpm.init();
        self.awake = false;
        self.powered = true;
        if self.auto_startup {
            self.startup();
        }
    }

    fn startup(&mut self) {
        let command = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
        let response = self.execute(0, &command);
        if code(response) != Some(0) {
            eprintln!(
                "TPM2_Startup(CLEAR) was answered with {:#x?}",
                code(response)
            );
        }
    }

    fn shutdown(&mut self) {
        if self.auto_shutdown && self.awake {
            self.execute(0, &[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x45, 0, 0]);
        }
    }

    /// Asserts physical presence, or stops to.
    pub fn physical_presence(&mut self, asserted: bool) {
        self.tpm.platform().physical_presence = asserted;
    }

    /// The longest command that is executed, in bytes.
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// Sets it, for an interface with less room than [`BUFFER`].
    pub fn set_buffer(&mut self, size: usize) {
        self.buffer = size.min(BUFFER);
    }

    /// Puts the TPM into failure mode until the next power on.
    pub fn fail(&mut self) {
        self.tpm.fail();
    }

    /// The engine.
    pub fn tpm(&mut self) -> &mut Tpm<HostPlatform> {
        &mut self.tpm
    }

    /// The largest messages since the last call.
    pub fn take_largest(&mut self) -> Largest {
        std::mem::take(&mut self.largest)
    }

    /// The permanent state, as bytes that [`Device::set_image`] takes. They hold seeds and keys.
    pub fn image(&mut self) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let records = self.tpm.platform().store().load().ok()?;
        Some(format::image(&[0; 16], records))
    }

    /// Replaces the permanent state. The device must have no power; it has the new state when it has power again.
    ///
    /// # Errors
    /// What is wrong with the image, or that the store failed.
    pub fn set_image(&mut self, image: &[u8]) -> Result<(), String> {
        let records: Records = format::records(image).map_err(|error| error.to_string())?;
        self.tpm
            .platform()
            .store()
            .replace(records)
            .map_err(|_| "the store failed".to_string())
    }
}

impl Largest {
    fn note(&mut self, command: &[u8], response: &[u8]) {
        if command.len() > self.command_size as usize {
            (self.command_size, self.command) = size_and_code(command);
        }
        if response.len() > self.response_size as usize {
            (self.response_size, self.response) = size_and_code(response);
        }
    }
}

fn size_and_code(message: &[u8]) -> (u32, u32) {
    (message.len() as u32, code(message).unwrap_or(0))
}

/// The command or response code in a message.
pub fn code(message: &[u8]) -> Option<u32> {
    let bytes = message.get(6..10)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

/// A response that is a header with `rc`.
pub fn header(rc: Rc) -> [u8; 10] {
    let mut response = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0];
    response[6..].copy_from_slice(&rc.value().to_be_bytes());
    response
}

/// A device that several connections use, one command at a time.
#[derive(Clone)]
pub struct SharedDevice(Arc<Mutex<Device>>);

impl SharedDevice {
    /// Shares `device`.
    pub fn new(device: Device) -> SharedDevice {
        SharedDevice(Arc::new(Mutex::new(device)))
    }

    /// The device, once it has finished its command.
    pub fn lock(&self) -> MutexGuard<'_, Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
