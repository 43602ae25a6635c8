//! The services of the image: the table in the first page of their region, and where each one's file is.
//!
//! The region is measured, so a bad table means that the image was put together wrongly; it is refused all the same, before
//! anything is made of it. The image builder asks the same question.

use boot_abi::{MAX_SERVICES, PARAMS_VERSION, SERVICE_TABLE_MAGIC, ServiceEntry, ServiceTable};
use service_abi::limit;
use snp_abi::PAGE_SIZE;
use zerocopy::{FromBytes, FromZeros};

use crate::request::SERVICE_PROTOCOLS;

/// Why the table was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TableError {
    #[error("service table: the region has {bytes:#x} bytes, too few for the table's page")]
    Short { bytes: usize },
    #[error("service table: magic is {found:02x?}, not {SERVICE_TABLE_MAGIC:02x?}")]
    Magic { found: [u8; 8] },
    #[error("service table: version {found}; this SVSM knows {PARAMS_VERSION}")]
    Version { found: u32 },
    #[error("service table: {count} services; at most {MAX_SERVICES} are possible")]
    Count { count: u32 },
    #[error("service table: entry {index} is not used, but not zero")]
    Unused { index: usize },
    #[error(
        "service {index}: the name {found:02x?} is not printable ASCII without spaces, padded with zeros"
    )]
    Name { index: usize, found: [u8; 16] },
    #[error("service {index} has the {what} of service {other}")]
    Twice {
        index: usize,
        other: usize,
        what: &'static str,
    },
    #[error("service {index}: protocol {protocol}; a service can have {} to {}", SERVICE_PROTOCOLS.start, SERVICE_PROTOCOLS.end - 1)]
    Protocol { index: usize, protocol: u32 },
    #[error(
        "service {index}: a heap of {pages} pages; at most {} are possible",
        limit::HEAP_PAGES
    )]
    Heap { index: usize, pages: u32 },
    #[error(
        "service {index}: {seconds} seconds for a request; 1 to {} are possible",
        limit::REQUEST_SECONDS
    )]
    Seconds { index: usize, seconds: u32 },
    #[error(
        "service {index}: {size:#x} bytes at {offset:#x} are not in whole pages of their own after table and previous service, within the {region:#x} bytes of the region"
    )]
    Place {
        index: usize,
        offset: u32,
        size: u32,
        region: usize,
    },
}

/// A service of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service<'a> {
    /// For people; printable, not empty, no other service's.
    pub name: &'a str,
    /// The SVSM protocol that it serves; one of [`SERVICE_PROTOCOLS`], and no other service's.
    pub protocol: u32,
    /// Most pages of its heap; at most [`limit::HEAP_PAGES`].
    pub heap_pages: u32,
    /// Most seconds that it may run for one request; 1 to [`limit::REQUEST_SECONDS`].
    pub request_seconds: u32,
    /// Its ELF file, unread.
    pub image: &'a [u8],
}

/// The services of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceList<'a> {
    services: [Service<'a>; MAX_SERVICES],
    count: usize,
}

impl<'a> ServiceList<'a> {
    /// The services, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = Service<'a>> + use<'a> {
        self.services.into_iter().take(self.count)
    }
}

/// Reads the table of a region. A region of no bytes has no services.
///
/// # Errors
/// The first value that is not as it must be.
pub fn parse(region: &[u8]) -> Result<ServiceList<'_>, TableError> {
    let mut list = ServiceList::default();
    if region.is_empty() {
        return Ok(list);
    }
    let short = TableError::Short {
        bytes: region.len(),
    };
    let page = region.get(..PAGE_SIZE as usize).ok_or(short)?;
    let (table, _) = ServiceTable::ref_from_prefix(page).map_err(|_| short)?;
    if table.magic != SERVICE_TABLE_MAGIC {
        return Err(TableError::Magic { found: table.magic });
    }
    if table.version.get() != PARAMS_VERSION {
        return Err(TableError::Version {
            found: table.version.get(),
        });
    }
    let count = table.count.get();
    list.count = usize::try_from(count).unwrap_or(usize::MAX);
    if list.count > MAX_SERVICES {
        return Err(TableError::Count { count });
    }
    let mut end = PAGE_SIZE;
    for (index, entry) in table.services.iter().enumerate() {
        if index < list.count {
            list.services[index] = service(region, index, entry, &mut end)?;
            refuse_twice(&list.services[..=index])?;
        } else if *entry != ServiceEntry::new_zeroed() {
            return Err(TableError::Unused { index });
        }
    }
    Ok(list)
}

/// An entry by itself. Its file must lie after `end`, which then is where the next one may start.
fn service<'a>(
    region: &'a [u8],
    index: usize,
    entry: &'a ServiceEntry,
    end: &mut u64,
) -> Result<Service<'a>, TableError> {
    let length = entry.name.iter().position(|&byte| byte == 0);
    let (name, padding) = entry.name.split_at(length.unwrap_or(entry.name.len()));
    let padded = padding.iter().all(|&byte| byte == 0);
    let name = match core::str::from_utf8(name) {
        Ok(text) if padded && !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic()) => {
            text
        }
        _ => {
            return Err(TableError::Name {
                index,
                found: entry.name,
            });
        }
    };
    let protocol = entry.protocol.get();
    if !SERVICE_PROTOCOLS.contains(&protocol) {
        return Err(TableError::Protocol { index, protocol });
    }
    let pages = entry.heap_pages.get();
    if u64::from(pages) > limit::HEAP_PAGES {
        return Err(TableError::Heap { index, pages });
    }
    let seconds = entry.request_seconds.get();
    if !(1..=limit::REQUEST_SECONDS).contains(&u64::from(seconds)) {
        return Err(TableError::Seconds { index, seconds });
    }
    let (offset, size) = (entry.offset.get(), entry.size.get());
    let start = u64::from(offset);
    let bytes = start..start + u64::from(size);
    let holds = start.is_multiple_of(PAGE_SIZE) && start >= *end && size != 0;
    let image = region.get(bytes.start as usize..bytes.end as usize);
    let Some(image) = image.filter(|_| holds) else {
        return Err(TableError::Place {
            index,
            offset,
            size,
            region: region.len(),
        });
    };
    *end = bytes.end.next_multiple_of(PAGE_SIZE);
    Ok(Service {
        name,
        protocol,
        heap_pages: pages,
        request_seconds: seconds,
        image,
    })
}

/// Checks that the last service shares neither name nor protocol with one before it.
fn refuse_twice(services: &[Service<'_>]) -> Result<(), TableError> {
    let Some((last, before)) = services.split_last() else {
        return Ok(());
    };
    for (other, service) in before.iter().enumerate() {
        let what = if service.protocol == last.protocol {
            "protocol"
        } else if service.name == last.name {
            "name"
        } else {
            continue;
        };
        return Err(TableError::Twice {
            index: before.len(),
            other,
            what,
        });
    }
    Ok(())
}
