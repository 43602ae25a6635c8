//! QEMU's fw_cfg device: files by name, read by port for small ones and by DMA through a shared bounce buffer for
//! large ones (QEMU `docs/specs/fw_cfg.rst`). What it gives comes from the host: unmeasured, untrusted.

use crate::{io, memory};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;

const KEY_SIGNATURE: u16 = 0;
const KEY_ID: u16 = 1;
const KEY_DIRECTORY: u16 = 0x19;
const ID_DMA: u8 = 1 << 1;

const DMA_ERROR: u32 = 1 << 0;
const DMA_READ: u32 = 1 << 1;
const DMA_SKIP: u32 = 1 << 2;
const DMA_SELECT: u32 = 1 << 3;
const DMA_WRITE: u32 = 1 << 4;

/// Bytes that one DMA transfer moves.
pub const BOUNCE_SIZE: usize = 16 * 4096;

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Selector key.
    pub key: u16,
    /// Bytes.
    pub size: u32,
}

/// Why reading failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FwCfgError {
    /// The device reports an error.
    Dma,
    /// The bounce buffer could not be shared.
    Memory(memory::MemoryError),
    /// The range is not within the file.
    Range,
}

/// Whether the device is there.
pub fn present() -> bool {
    let mut signature = [0; 4];
    io::outw(SELECTOR, KEY_SIGNATURE);
    io::in_string(DATA, &mut signature);
    signature == *b"QEMU"
}

/// Whether it does DMA.
pub fn has_dma() -> bool {
    io::outw(SELECTOR, KEY_ID);
    io::inb(DATA) & ID_DMA != 0
}

/// Looks a file up by name.
pub fn find(name: &str) -> Option<File> {
    if !present() {
        return None;
    }
    io::outw(SELECTOR, KEY_DIRECTORY);
    let mut count = [0; 4];
    io::in_string(DATA, &mut count);
    // The device takes 16-bit keys, so there are no more files than that.
    for _ in 0..u32::from_be_bytes(count).min(0xFFFF) {
        let mut entry = [0u8; 64];
        io::in_string(DATA, &mut entry);
        let length = entry[8..].iter().position(|byte| *byte == 0).unwrap_or(56);
        if &entry[8..8 + length] == name.as_bytes() {
            return Some(File {
                size: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
                key: u16::from_be_bytes([entry[4], entry[5]]),
            });
        }
    }
    None
}

impl File {
    /// Reads the file's first bytes by port I/O; returns how many there were.
    pub fn read_start(self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.size as usize);
        io::outw(SELECTOR, self.key);
        io::in_string(DATA, &mut bytes[..count]);
        count
    }

    /// Reads the file's start as text, if it is UTF-8, without surrounding white space.
    pub fn read_text(self, bytes: &mut [u8]) -> Option<&str> {
        let count = self.read_start(bytes);
        core::str::from_utf8(&bytes[..count]).ok().map(str::trim)
    }
}

/// The bounce buffer for DMA: [`BOUNCE_SIZE`] bytes and a page for the command, shared.
pub struct Dma {
    command: u64,
    buffer: u64,
}

impl Dma {
    /// Shares the buffer's pages.
    pub fn new() -> Result<Dma, FwCfgError> {
        let command = memory::shared_pages(1 + BOUNCE_SIZE / 4096).map_err(FwCfgError::Memory)?;
        Ok(Dma {
            command,
            buffer: command + 4096,
        })
    }

    fn run(&self, control: u32, length: u32, address: u64) -> Result<(), FwCfgError> {
        let words = [
            control.to_be() as u64 | (length.to_be() as u64) << 32,
            address.to_be(),
        ];
        for (i, word) in words.iter().enumerate() {
            // SAFETY: the command page is mapped, and shared with the device.
            unsafe { ((self.command + i as u64 * 8) as *mut u64).write_volatile(*word) };
        }
        io::outl(DMA_HIGH, ((self.command >> 32) as u32).to_be());
        io::outl(DMA_LOW, (self.command as u32).to_be());
        // The device is done when the write returns; the loop allows for one that is not.
        for _ in 0..1_000_000 {
            // SAFETY: as above.
            let control = unsafe { (self.command as *const u32).read_volatile() };
            match u32::from_be(control) {
                0 => return Ok(()),
                status if status & DMA_ERROR != 0 => return Err(FwCfgError::Dma),
                _ => core::hint::spin_loop(),
            }
        }
        Err(FwCfgError::Dma)
    }

    /// Writes up to [`BOUNCE_SIZE`] bytes into the file, from `offset` on. QEMU lets few files be written.
    pub fn write(&self, file: File, offset: u32, bytes: &[u8]) -> Result<(), FwCfgError> {
        if offset as u64 + bytes.len() as u64 > file.size as u64 || bytes.len() > BOUNCE_SIZE {
            return Err(FwCfgError::Range);
        }
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: the buffer is mapped, ours to share with the device, and not shorter than `bytes`.
            unsafe { ((self.buffer + i as u64) as *mut u8).write_volatile(*byte) };
        }
        self.run(DMA_SELECT | DMA_SKIP | (file.key as u32) << 16, offset, 0)?;
        self.run(DMA_WRITE, bytes.len() as u32, self.buffer)
    }

    /// Makes the buffer's pages private again.
    pub fn release(self) -> Result<(), memory::MemoryError> {
        for page in 0..=(BOUNCE_SIZE / 4096) as u64 {
            memory::unshare_page(self.command + page * 4096)?;
        }
        crate::pool::free(self.command, 1 + BOUNCE_SIZE / 4096);
        Ok(())
    }

    /// Fills `bytes` from the file, from `offset` on. `bytes` is private memory: the host cannot change it afterwards.
    pub fn read(&self, file: File, offset: u32, bytes: &mut [u8]) -> Result<(), FwCfgError> {
        if offset as u64 + bytes.len() as u64 > file.size as u64 {
            return Err(FwCfgError::Range);
        }
        self.run(DMA_SELECT | DMA_SKIP | (file.key as u32) << 16, offset, 0)?;
        for chunk in bytes.chunks_mut(BOUNCE_SIZE) {
            self.run(DMA_READ, chunk.len() as u32, self.buffer)?;
            // Eight bytes at a time, as the chunks are large.
            let words = chunk.len() / 8;
            for i in 0..words {
                let address = (self.buffer + i as u64 * 8) as *const u64;
                // SAFETY: the buffer is mapped and at least as long as the chunk; volatile as the host can write it.
                let word = unsafe { address.read_volatile() };
                chunk[i * 8..i * 8 + 8].copy_from_slice(&word.to_le_bytes());
            }
            for (i, byte) in chunk.iter_mut().enumerate().skip(words * 8) {
                // SAFETY: as above.
                *byte = unsafe { ((self.buffer + i as u64) as *const u8).read_volatile() };
            }
        }
        Ok(())
    }
}
