//! The region of ring-3 services: the table's page, then the files, each from a page of its own.

use anyhow::{Context, Result, ensure};
use boot_abi::{
    MAX_SERVICES, PARAMS_VERSION, SERVICE_TABLE_MAGIC, ServiceEntry, ServiceTable, layout,
};
use igvm_loader::PAGE_SIZE;
use svsm_core::service::elf::{
    EM_X86_64, ET_EXEC, FileHeader, IDENT, Image, PT_LOAD, ProgramHeader,
};
use svsm_core::service::table;
use zerocopy::{FromZeros, IntoBytes};

/// A service to be put into an image.
#[derive(Clone, Copy)]
pub struct Service<'a> {
    /// Its name for people.
    pub name: &'a str,
    /// The SVSM protocol that it serves.
    pub protocol: u32,
    /// Most pages of its heap.
    pub heap_pages: u32,
    /// Most seconds that it may run for one request.
    pub request_seconds: u32,
    /// Its ELF file.
    pub elf: &'a [u8],
}

/// The region, in whole pages; nothing when there is no service. What the SVSM's own parsers refuse is refused here.
pub fn region(services: &[Service<'_>]) -> Result<Vec<u8>> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    ensure!(
        services.len() <= MAX_SERVICES,
        "{} services; at most {MAX_SERVICES} are possible",
        services.len()
    );
    let mut table = ServiceTable::new_zeroed();
    table.magic = SERVICE_TABLE_MAGIC;
    table.version = PARAMS_VERSION.into();
    table.count = (services.len() as u32).into();
    let mut region = vec![0; PAGE_SIZE];
    for (entry, service) in table.services.iter_mut().zip(services) {
        let named = || format!("service {}", service.name);
        let file = loaded_part(&Image::parse(service.elf).with_context(named)?);
        Image::parse(&file).with_context(named)?;
        *entry = ServiceEntry {
            name: name(service.name)?,
            protocol: service.protocol.into(),
            heap_pages: service.heap_pages.into(),
            request_seconds: service.request_seconds.into(),
            offset: (region.len() as u32).into(),
            size: (file.len() as u32).into(),
        };
        region.extend(file);
        region.resize(region.len().next_multiple_of(PAGE_SIZE), 0);
        ensure!(
            region.len() as u64 <= layout::SERVICES_SIZE,
            "service {}: the services have {} KiB up to here, of {} KiB that there are",
            service.name,
            region.len() / 1024,
            layout::SERVICES_SIZE / 1024
        );
    }
    region[..size_of::<ServiceTable>()].copy_from_slice(table.as_bytes());
    table::parse(&region)?;
    Ok(region)
}

fn name(text: &str) -> Result<[u8; 16]> {
    let mut name = [0; 16];
    let place = name.get_mut(..text.len());
    let place =
        place.with_context(|| format!("service {text}: the name has more than 16 bytes"))?;
    place.copy_from_slice(text.as_bytes());
    Ok(name)
}

/// An ELF file of nothing but what is loaded: no sections, symbols or debugging information.
fn loaded_part(image: &Image<'_>) -> Vec<u8> {
    let count = image.segments().count();
    let header = FileHeader {
        ident: std::array::from_fn(|at| IDENT.get(at).copied().unwrap_or(0)),
        kind: ET_EXEC.into(),
        machine: EM_X86_64.into(),
        version: 1.into(),
        entry: image.entry().into(),
        program_headers: (size_of::<FileHeader>() as u64).into(),
        section_headers: 0.into(),
        flags: 0.into(),
        header_size: (size_of::<FileHeader>() as u16).into(),
        program_header_size: (size_of::<ProgramHeader>() as u16).into(),
        program_header_count: (count as u16).into(),
        section_header_size: 0.into(),
        section_header_count: 0.into(),
        section_names: 0.into(),
    };
    let mut file = header.as_bytes().to_vec();
    let mut offset = size_of::<FileHeader>() + count * size_of::<ProgramHeader>();
    for segment in image.segments() {
        let bytes = segment.file;
        let header = ProgramHeader {
            kind: PT_LOAD.into(),
            flags: segment.access.flags().into(),
            offset: (offset as u64).into(),
            virtual_address: segment.va.into(),
            physical_address: segment.va.into(),
            file_size: (bytes.len() as u64).into(),
            memory_size: (segment.pages * PAGE_SIZE as u64).into(),
            // Loaded by copying, so the file need not be aligned as memory is.
            alignment: 1.into(),
        };
        file.extend_from_slice(header.as_bytes());
        offset += bytes.len();
    }
    for segment in image.segments() {
        file.extend_from_slice(segment.file);
    }
    file
}
