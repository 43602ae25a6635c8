//! What Linux finds at entry: the boot_params page ("zero page"), a setup_data node, and the confidential-computing
//! blob that the node leads to (Linux `Documentation/arch/x86/boot.rst`, `zero-page.rst`; `asm/sev.h`).

use alloc::vec::Vec;

use snp_abi::PAGE_SIZE;

use crate::bzimage::{HEADER_START, Header};
use crate::e820::{ENTRY_SIZE, Entry, MAX_ENTRIES};
use crate::range::Range;

/// Bytes of the page.
pub const SIZE: usize = 4096;

const ACPI_RSDP_ADDR: usize = 0x070;
const E820_ENTRIES: usize = 0x1E8;
const VID_MODE: usize = 0x1FA;
const TYPE_OF_LOADER: usize = 0x210;
const LOADFLAGS: usize = 0x211;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21C;
const CMD_LINE_PTR: usize = 0x228;
const SETUP_DATA: usize = 0x250;
const E820_TABLE: usize = 0x2D0;

/// A loader without a number of its own. With 0, Linux ignores the initrd.
const LOADER_UNDEFINED: u8 = 0xFF;
const LOADED_HIGH: u8 = 1 << 0;
/// "Ask nothing": the mode that the kernel was started in.
const VID_MODE_NORMAL: u16 = 0xFFFF;

/// What goes into the page. Addresses are 32 bits, so the places are below 4 GiB by type.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct BootParams<'a> {
    /// The image, of which the setup header is copied.
    pub image: &'a [u8],
    pub header: &'a Header,
    /// Of the terminated command line.
    pub cmdline: u32,
    /// Address and bytes; both 0 for none.
    pub initrd: (u32, u32),
    pub rsdp: u64,
    /// Of the first [`cc_setup_data`] node.
    pub setup_data: u64,
    pub e820: &'a [Entry],
}

impl BootParams<'_> {
    /// The page's bytes. On the heap, because a boot stub's stack is small.
    pub fn to_page(&self) -> Vec<u8> {
        let mut page = alloc::vec![0; SIZE];
        // `bzimage::parse` has checked that the header's end is inside of the image and below the page's next field.
        if let (Some(to), Some(from)) = (
            page.get_mut(HEADER_START..self.header.header_end),
            self.image.get(HEADER_START..self.header.header_end),
        ) {
            to.copy_from_slice(from);
        }
        put(&mut page, ACPI_RSDP_ADDR, &self.rsdp.to_le_bytes());
        put(&mut page, VID_MODE, &VID_MODE_NORMAL.to_le_bytes());
        page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
        page[LOADFLAGS] |= LOADED_HIGH;
        put(&mut page, RAMDISK_IMAGE, &self.initrd.0.to_le_bytes());
        put(&mut page, RAMDISK_SIZE, &self.initrd.1.to_le_bytes());
        put(&mut page, CMD_LINE_PTR, &self.cmdline.to_le_bytes());
        put(&mut page, SETUP_DATA, &self.setup_data.to_le_bytes());
        let entries = self.e820.iter().take(MAX_ENTRIES);
        page[E820_ENTRIES] = entries.len() as u8;
        for (index, entry) in entries.enumerate() {
            put(
                &mut page,
                E820_TABLE + index * ENTRY_SIZE,
                &entry.to_bytes(),
            );
        }
        page
    }
}

fn put(page: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(field) = page.get_mut(offset..offset + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

const SETUP_CC_BLOB: u32 = 7;

/// Bytes of the node of [`cc_setup_data`].
pub const CC_SETUP_DATA_SIZE: usize = 20;

/// The only node of the setup_data list: no next one, type, bytes that follow, the blob's address.
pub fn cc_setup_data(cc_blob: u32) -> [u8; CC_SETUP_DATA_SIZE] {
    let mut node = [0; CC_SETUP_DATA_SIZE];
    node[8..12].copy_from_slice(&SETUP_CC_BLOB.to_le_bytes());
    node[12..16].copy_from_slice(&4u32.to_le_bytes());
    node[16..20].copy_from_slice(&cc_blob.to_le_bytes());
    node
}

/// Bytes of a confidential-computing blob.
pub const CC_BLOB_SIZE: usize = 40;

/// The blob (Linux `struct cc_blob_sev_info`): where the secrets page and the CPUID page are.
pub fn cc_blob(secrets: u64, cpuid: u64) -> [u8; CC_BLOB_SIZE] {
    let mut blob = [0; CC_BLOB_SIZE];
    blob[0..4].copy_from_slice(b"AMDE");
    blob[4..6].copy_from_slice(&1u16.to_le_bytes());
    blob[8..16].copy_from_slice(&secrets.to_le_bytes());
    blob[16..20].copy_from_slice(&(PAGE_SIZE as u32).to_le_bytes());
    blob[24..32].copy_from_slice(&cpuid.to_le_bytes());
    blob[32..36].copy_from_slice(&(PAGE_SIZE as u32).to_le_bytes());
    blob
}

/// A command line that Linux cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CmdlineError {
    #[error("command line: {length} bytes, the kernel takes {limit}")]
    Length { length: usize, limit: usize },
    #[error("command line: byte {0} is NUL, which would end it")]
    Nul(usize),
}

/// Checks a command line that has no terminator yet.
pub fn check_cmdline(cmdline: &[u8], header: &Header) -> Result<(), CmdlineError> {
    let (length, limit) = (cmdline.len(), header.cmdline_size);
    if length > limit {
        return Err(CmdlineError::Length { length, limit });
    }
    match cmdline.iter().position(|byte| *byte == 0) {
        Some(at) => Err(CmdlineError::Nul(at)),
        None => Ok(()),
    }
}

/// The 32-bit start and size of a range that was placed below 4 GiB; zeros for an empty one.
pub fn low_range(range: Range) -> Option<(u32, u32)> {
    Some((range.start.try_into().ok()?, range.size().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bzimage::{parse, tests::synthetic};
    use crate::e820::Kind;
    use crate::field::{u16_at, u32_at, u64_at};

    fn page(entries: &[Entry]) -> Vec<u8> {
        let image = synthetic();
        let header = parse(&image).unwrap();
        let params = BootParams {
            image: &image,
            header: &header,
            cmdline: 0x1FFF_E000,
            initrd: (0x1F00_0000, 0x12_3456),
            rsdp: 0x1FFF_D010,
            setup_data: 0x1FFF_C000,
            e820: entries,
        };
        params.to_page()
    }

    #[test]
    fn the_page_has_the_fields_of_the_boot_protocol() {
        let ram = Entry {
            range: Range::new(0x10_0000, 0x80_0000),
            kind: Kind::Ram,
        };
        let page = page(&[ram, ram]);
        // Numbers of Linux's zero-page.rst and boot.rst, not of our constants.
        assert_eq!(u64_at(&page, 0x70), Some(0x1FFF_D010));
        assert_eq!(page[0x1E8], 2);
        assert_eq!(page[0x1EF], 0, "a sentinel makes Linux wipe fields");
        assert_eq!(page[0x1F1], 0x27);
        assert_eq!(&page[0x202..0x206], b"HdrS");
        assert_eq!(page[0x210], 0xFF);
        assert_eq!(page[0x211] & 1, 1);
        assert_eq!(u32_at(&page, 0x218), Some(0x1F00_0000));
        assert_eq!(u32_at(&page, 0x21C), Some(0x12_3456));
        assert_eq!(u32_at(&page, 0x228), Some(0x1FFF_E000));
        assert_eq!(u64_at(&page, 0x250), Some(0x1FFF_C000));
        assert_eq!(u32_at(&page, 0x260), Some(0x3C3_9000));
        assert_eq!(u16_at(&page, 0x1FA), Some(0xFFFF));
        assert_eq!(u64_at(&page, 0x2D0 + 20), Some(0x10_0000));
        assert_eq!(u64_at(&page, 0x2D0 + 28), Some(0x70_0000));
        assert_eq!(u32_at(&page, 0x2D0 + 36), Some(1));
    }

    #[test]
    fn all_that_is_not_set_is_zero() {
        let page = page(&[]);
        assert!(
            page[..0x70]
                .iter()
                .chain(&page[0x78..0x1F1])
                .all(|byte| *byte == 0)
        );
        assert!(
            page[0x26C..].iter().all(|byte| *byte == 0),
            "nothing behind the header's end"
        );
    }

    #[test]
    fn the_blob_is_found_through_the_node() {
        let node = cc_setup_data(0x81_0000);
        assert_eq!(u64_at(&node, 0), Some(0));
        assert_eq!(u32_at(&node, 8), Some(7));
        assert_eq!(u32_at(&node, 12), Some(4));
        assert_eq!(u32_at(&node, 16), Some(0x81_0000));
        let blob = cc_blob(0x80_D000, 0x80_E000);
        assert_eq!(u32_at(&blob, 0), Some(0x4544_4D41));
        assert_eq!(u64_at(&blob, 8), Some(0x80_D000));
        assert_eq!(u32_at(&blob, 16), Some(0x1000));
        assert_eq!(u64_at(&blob, 24), Some(0x80_E000));
        assert_eq!(u32_at(&blob, 32), Some(0x1000));
        assert_eq!(
            [u16_at(&blob, 6), u16_at(&blob, 20), u16_at(&blob, 36)],
            [Some(0); 3]
        );
    }

    #[test]
    fn command_lines_that_linux_would_cut_are_refused() {
        let header = parse(&synthetic()).unwrap();
        assert_eq!(check_cmdline(&[b'a'; 0x7FF], &header), Ok(()));
        let error = CmdlineError::Length {
            length: 0x800,
            limit: 0x7FF,
        };
        assert_eq!(check_cmdline(&[b'a'; 0x800], &header), Err(error));
        assert_eq!(
            check_cmdline(b"quiet\0x", &header),
            Err(CmdlineError::Nul(5))
        );
    }

    #[test]
    fn only_ranges_below_4_gib_have_32_bit_addresses() {
        assert_eq!(
            low_range(Range::new(0x1000, 0x3000)),
            Some((0x1000, 0x2000))
        );
        assert_eq!(low_range(Range::new(1 << 32, (1 << 32) + 1)), None);
    }
}
