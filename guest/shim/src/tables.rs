//! Installs the ACPI tables.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use shim_core::acpi::command::Zone;
use shim_core::acpi::loader::{self, Host, Loaded};
use shim_core::acpi::{SCRIPT_FILE, tables};
use shim_core::placement::FOUR_GIB;
use shim_core::range::RangeSet;

use crate::files::Files;
use crate::ram::{Claim, Ram};
use crate::refusal::Refusal;

/// Largest script that is read.
const MAX_SCRIPT: u32 = 256 * 1024;

/// What Linux is told of the tables.
pub struct Installed {
    /// The pages they are in.
    pub pages: RangeSet,
    /// The RSDP's address.
    pub rsdp: u64,
    /// How many tables it leads to.
    pub count: usize,
}

/// Loads, patches, checks and places the tables.
pub fn install(files: &Files, ram: &mut Ram) -> Result<Installed, Refusal> {
    let file = files
        .find(SCRIPT_FILE)
        .filter(|file| file.size <= MAX_SCRIPT)
        .ok_or(Refusal::NoFile(SCRIPT_FILE))?;
    let mut script = alloc::vec![0; file.size as usize];
    files.read(file, 0, &mut script)?;
    let mut host = FwCfgHost {
        files,
        ram,
        claims: Vec::new(),
    };
    let loaded = loader::load(&script, &mut host)?;
    let mut claims = host.claims;
    let rsdp = tables::find_rsdp(&loaded)?;
    let count = tables::walk(&loaded, rsdp)?.len();
    write_back(files, &loaded)?;
    let mut pages = RangeSet::new();
    for (blob, claim) in loaded.blobs.iter().zip(&mut claims) {
        pages.insert(claim.range());
        // The claim was made for this blob, of at least its size.
        if let Some(to) = claim.bytes_mut().get_mut(..blob.data.len()) {
            to.copy_from_slice(&blob.data);
        }
    }
    Ok(Installed { pages, rsdp, count })
}

fn write_back(files: &Files, loaded: &Loaded) -> Result<(), Refusal> {
    for write in &loaded.write_backs {
        match files.find(&write.file) {
            Some(file) => files.write(file, write.offset, &write.bytes)?,
            None => {
                return Err(Refusal::Acpi(loader::LoadError::Read {
                    file: write.file.clone(),
                    reason: "no such file".into(),
                }));
            }
        }
    }
    Ok(())
}

struct FwCfgHost<'a> {
    files: &'a Files,
    ram: &'a mut Ram,
    /// In the order of the script's blobs.
    claims: Vec<Claim>,
}

impl Host for FwCfgHost<'_> {
    fn read(&mut self, name: &str, limit: usize) -> Result<Vec<u8>, String> {
        let file = self.files.find(name).ok_or("no such file")?;
        if file.size as usize > limit {
            return Err(format!("{} bytes, at most {limit} are read", file.size));
        }
        let mut data = alloc::vec![0; file.size as usize];
        match self.files.read(file, 0, &mut data) {
            Ok(()) => Ok(data),
            Err(error) => Err(format!("{error}")),
        }
    }

    /// Both zones get pages of their own below 4 GiB: the RSDP need not be in the F segment, because boot_params says
    /// where it is, and pages of their own can be ACPI memory in Linux's map.
    fn allocate(&mut self, size: u64, align: u64, _: Zone) -> Option<u64> {
        let claim = self
            .ram
            .take_high("ACPI tables", size, align, FOUR_GIB)
            .ok()?;
        let start = claim.range().start;
        self.claims.push(claim);
        Some(start)
    }
}
