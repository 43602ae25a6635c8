//! Why the shim does not start Linux.

use alloc::string::String;

use boot_abi::termination as reason;
use guest_rt::fw_cfg::FwCfgError;
use guest_rt::memory::MemoryError;
use guest_rt::nae::PscError;
use guest_rt::svsm::NoAnswer;
use shim_core::acpi::{loader::LoadError, tables::TableError};
use shim_core::boot_params::CmdlineError;
use shim_core::bzimage::ImageError;
use shim_core::chipset::UnknownChipset;
use shim_core::digest::{Mismatch, Part};
use shim_core::e820::TooMany;
use shim_core::fw_cfg::DirectoryError;
use shim_core::memory_map::MapError;
use shim_core::placement::NoRoom;

/// Why. The text is what the console gets.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("the parameter page at {0:#x} is none, or of another version")]
    Parameters(u64),
    #[error(
        "the parameter page says that its {what} is at {gpa:#x}, outside of the launched part of its region"
    )]
    Outside { what: &'static str, gpa: u64 },
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("page state change of {count} pages from {gpa:#x} on: {error:?}")]
    PageState {
        gpa: u64,
        count: usize,
        error: PscError,
    },
    #[error("the SVSM did not answer PVALIDATE: {0:?}")]
    NoAnswer(NoAnswer),
    #[error("the SVSM refused to validate {gpa:#x} ({bytes:#x} bytes): result {code:#x}")]
    Validation { gpa: u64, bytes: u64, code: u64 },
    #[error(transparent)]
    Chipset(#[from] UnknownChipset),
    #[error("fw_cfg: no device with DMA")]
    NoFwCfg,
    #[error("fw_cfg: cannot share a buffer: {0:?}")]
    Buffer(FwCfgError),
    #[error("fw_cfg: {file}: {error:?}")]
    Read { file: String, error: FwCfgError },
    #[error("fw_cfg: no file {0}")]
    NoFile(&'static str),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Acpi(#[from] LoadError),
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error(transparent)]
    Digest(#[from] Mismatch),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    E820(#[from] TooMany),
    #[error("cannot make shared pages private again: {0:?}")]
    HandOver(MemoryError),
}

impl Refusal {
    /// The reason code for the hypervisor.
    pub fn code(&self) -> u8 {
        match self {
            Refusal::Parameters(_) | Refusal::Outside { .. } => reason::PARAMETERS,
            Refusal::Map(_) | Refusal::E820(_) => reason::MEMORY_MAP,
            Refusal::PageState { .. } | Refusal::NoAnswer(_) | Refusal::Validation { .. } => {
                reason::VALIDATION
            }
            Refusal::Chipset(_) => reason::CHIPSET,
            Refusal::NoFwCfg
            | Refusal::Buffer(_)
            | Refusal::Read { .. }
            | Refusal::NoFile(_)
            | Refusal::Directory(_) => reason::FW_CFG,
            Refusal::Acpi(_) | Refusal::Tables(_) => reason::ACPI,
            Refusal::Digest(mismatch) => match mismatch.part {
                Part::Kernel => reason::KERNEL_DIGEST,
                Part::Initrd => reason::INITRD_DIGEST,
                Part::CommandLine => reason::CMDLINE_DIGEST,
            },
            Refusal::Image(_) | Refusal::Cmdline(_) => reason::UNBOOTABLE,
            Refusal::NoRoom(_) => reason::NO_ROOM,
            Refusal::HandOver(_) => reason::HAND_OVER,
        }
    }
}
