//! The services in an image, read back as the SVSM reads them: what `inspect` lists and `inspect --check` judges.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use boot_abi::{BOOT_PARAMS_MAGIC, BootParams, GpaRange, PARAMS_VERSION, layout};
use igvm_loader::{Body, Header, PAGE_SIZE, Page, PageKind};
use svsm_core::service::elf::{Access, Image};
use svsm_core::service::table;
use zerocopy::FromBytes;

/// A service of an image.
pub struct Service {
    name: String,
    protocol: u32,
    heap_pages: u32,
    request_seconds: u32,
    bytes: usize,
    entry: u64,
    /// First address, pages, rights.
    segments: Vec<(u64, u64, Access)>,
}

/// The services of an image; none if it is no image of this SVSM's.
///
/// # Errors
/// Why the SVSM would refuse them.
pub fn list<'a>(headers: impl Iterator<Item = Header<'a>>) -> Result<Vec<Service>> {
    let region = region(headers)?;
    table::parse(&region)?.iter().map(read).collect()
}

fn read(service: table::Service<'_>) -> Result<Service> {
    let image = Image::parse(service.image).with_context(|| format!("service {}", service.name))?;
    Ok(Service {
        name: service.name.to_owned(),
        protocol: service.protocol,
        heap_pages: service.heap_pages,
        request_seconds: service.request_seconds,
        bytes: service.image.len(),
        entry: image.entry(),
        segments: image
            .segments()
            .map(|segment| (segment.va, segment.pages, segment.access))
            .collect(),
    })
}

/// The measured pages with services, as BootParams tells them.
fn region<'a>(headers: impl Iterator<Item = Header<'a>>) -> Result<Vec<u8>> {
    let mut pages: BTreeMap<u64, Option<&'a Page>> = BTreeMap::new();
    for header in headers {
        if let Body::PageData {
            gpa,
            kind: PageKind::Normal | PageKind::Zero,
            contents,
        } = header.body
        {
            pages.insert(gpa, contents);
        }
    }
    let params = pages.get(&layout::BOOT_PARAMS_GPA).copied().flatten();
    let params = params.and_then(|page| BootParams::read_from_prefix(page).ok());
    let Some((params, _)) = params else {
        return Ok(Vec::new());
    };
    if params.magic != BOOT_PARAMS_MAGIC || params.version.get() != PARAMS_VERSION {
        return Ok(Vec::new());
    }
    let GpaRange { base, size } = params.services;
    let (base, size) = (base.get(), size.get());
    ensure!(
        base == layout::SERVICES_GPA
            && size <= layout::SERVICES_SIZE
            && size.is_multiple_of(PAGE_SIZE as u64),
        "they have {size:#x} bytes at {base:#x}; expected pages at {:#x}",
        layout::SERVICES_GPA
    );
    let mut region = Vec::new();
    for gpa in (base..base + size).step_by(PAGE_SIZE) {
        let page = pages.get(&gpa);
        let page = page.with_context(|| format!("page {gpa:#x} of them is not measured"))?;
        region.extend_from_slice(page.unwrap_or(&[0; PAGE_SIZE]));
    }
    Ok(region)
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "service {}: protocol {}, at most {} KiB of heap and {} s for a request, {} bytes of ELF file, entry {:#x}",
            self.name,
            self.protocol,
            self.heap_pages as usize * PAGE_SIZE / 1024,
            self.request_seconds,
            self.bytes,
            self.entry
        )?;
        for &(va, pages, access) in &self.segments {
            let rights = match access {
                Access::ReadOnly => "read",
                Access::ReadWrite => "read, write",
                Access::ReadExecute => "read, execute",
            };
            let last = va + (pages * PAGE_SIZE as u64 - 1);
            write!(f, "\n  {va:#x} to {last:#x}: {rights}")?;
        }
        Ok(())
    }
}
