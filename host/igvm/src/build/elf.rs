//! As much of ELF as a statically linked bare-metal program needs: its entry point and its PT_LOAD segments.

use anyhow::{Result, ensure};
use svsm_core::service::elf::{
    EM_X86_64, ET_EXEC, FileHeader, IDENT, PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader,
};
use zerocopy::FromBytes;

/// A program as it is to be loaded.
pub struct Elf<'a> {
    /// Address of the first instruction.
    pub entry: u64,
    /// What goes where; none is empty.
    pub segments: Vec<Segment<'a>>,
}

/// A PT_LOAD segment.
pub struct Segment<'a> {
    /// Physical address (p_paddr).
    pub address: u64,
    /// First bytes of it.
    pub data: &'a [u8],
    /// All of it; what `data` lacks is zero.
    pub size: u64,
}

impl Segment<'_> {
    /// One past its last byte; [`Elf::parse`] has checked that there is one.
    pub fn end(&self) -> u64 {
        self.address + self.size
    }
}

impl<'a> Elf<'a> {
    /// Reads an executable's headers.
    pub fn parse(bytes: &'a [u8]) -> Result<Elf<'a>> {
        let header = FileHeader::read_from_prefix(bytes);
        let Ok((header, _)) = header else {
            anyhow::bail!("{} bytes are too short for an ELF file", bytes.len());
        };
        ensure!(
            header.ident[..7] == IDENT,
            "not a little-endian 64-bit ELF file"
        );
        let (kind, machine) = (header.kind.get(), header.machine.get());
        ensure!(
            machine == EM_X86_64,
            "ELF machine is {machine}, expected {EM_X86_64} (x86-64)"
        );
        ensure!(
            kind == ET_EXEC,
            "ELF type is {kind}, expected {ET_EXEC} (statically linked to fixed addresses)"
        );
        let size = usize::from(header.program_header_size.get());
        ensure!(
            size == size_of::<ProgramHeader>(),
            "ELF program headers have {size} bytes, expected {}",
            size_of::<ProgramHeader>()
        );
        let count = usize::from(header.program_header_count.get());
        let table = slice(bytes, header.program_headers.get(), (count * size) as u64);
        let Some(table) = table else {
            anyhow::bail!("the {count} ELF program headers are not within the file");
        };
        let mut segments = Vec::new();
        for (index, entry) in table.chunks_exact(size).enumerate() {
            let Ok(entry) = ProgramHeader::read_from_bytes(entry) else {
                continue;
            };
            ensure!(
                !matches!(entry.kind.get(), PT_DYNAMIC | PT_INTERP),
                "ELF segment {index} asks for a dynamic linker"
            );
            if entry.kind.get() == PT_LOAD && entry.memory_size.get() != 0 {
                segments.push(segment(bytes, index, &entry)?);
            }
        }
        ensure!(!segments.is_empty(), "the ELF file has no PT_LOAD segment");
        Ok(Elf {
            entry: header.entry.get(),
            segments,
        })
    }
}

fn segment<'a>(bytes: &'a [u8], index: usize, entry: &ProgramHeader) -> Result<Segment<'a>> {
    let (file_size, size) = (entry.file_size.get(), entry.memory_size.get());
    let (offset, address) = (entry.offset.get(), entry.physical_address.get());
    ensure!(
        file_size <= size,
        "ELF segment {index} has {file_size:#x} bytes in the file, but only {size:#x} in memory"
    );
    ensure!(
        address.checked_add(size).is_some(),
        "ELF segment {index} at {address:#x} with {size:#x} bytes reaches past the address space"
    );
    let Some(data) = slice(bytes, offset, file_size) else {
        anyhow::bail!(
            "ELF segment {index}, {file_size:#x} bytes at offset {offset:#x}, is not within the file"
        );
    };
    Ok(Segment {
        address,
        data,
        size,
    })
}

fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let end = offset.checked_add(size)?;
    bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
}
