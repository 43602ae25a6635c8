//! fw_cfg's files, read by DMA into private memory.

use alloc::string::String;
use alloc::vec::Vec;

use guest_rt::fw_cfg::{Dma, File as Key};
use shim_core::fw_cfg::{self, File};

use crate::refusal::Refusal;

/// The device, its directory, and the shared buffer.
pub struct Files {
    dma: Dma,
    directory: Vec<File>,
}

impl Files {
    /// Shares a buffer and reads the directory.
    pub fn open() -> Result<Files, Refusal> {
        if !guest_rt::fw_cfg::present() || !guest_rt::fw_cfg::has_dma() {
            return Err(Refusal::NoFwCfg);
        }
        let mut files = Files {
            dma: Dma::new().map_err(Refusal::Buffer)?,
            directory: Vec::new(),
        };
        let mut header = [0; fw_cfg::DIRECTORY_HEADER];
        files.read_directory(0, &mut header)?;
        let count = fw_cfg::file_count(header)?;
        let mut entries = alloc::vec![0; count * fw_cfg::DIRECTORY_ENTRY];
        files.read_directory(header.len() as u32, &mut entries)?;
        files.directory = fw_cfg::files(count, &entries)?;
        Ok(files)
    }

    fn read_directory(&self, offset: u32, to: &mut [u8]) -> Result<(), Refusal> {
        let directory = File {
            name: "directory".into(),
            key: fw_cfg::KEY_DIRECTORY,
            size: u32::MAX,
        };
        self.read(&directory, offset, to)
    }

    /// The file of this name.
    pub fn find(&self, name: &str) -> Option<&File> {
        fw_cfg::find(&self.directory, name)
    }

    /// Fills `to` from the file, from `offset` on.
    pub fn read(&self, file: &File, offset: u32, to: &mut [u8]) -> Result<(), Refusal> {
        self.dma
            .read(key(file), offset, to)
            .map_err(|error| refusal(file, error))
    }

    /// Writes bytes into the file.
    pub fn write(&self, file: &File, offset: u32, bytes: &[u8]) -> Result<(), Refusal> {
        self.dma
            .write(key(file), offset, bytes)
            .map_err(|error| refusal(file, error))
    }

    /// Makes the buffer private again.
    pub fn close(self) -> Result<(), Refusal> {
        self.dma.release().map_err(Refusal::HandOver)
    }
}

fn key(file: &File) -> Key {
    Key {
        key: file.key,
        size: file.size,
    }
}

fn refusal(file: &File, error: guest_rt::fw_cfg::FwCfgError) -> Refusal {
    Refusal::Read {
        file: String::from(file.name.as_str()),
        error,
    }
}
