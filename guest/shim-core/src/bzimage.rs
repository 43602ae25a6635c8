//! The header of a Linux x86 boot image (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").

use crate::field::{bytes, u16_at, u32_at, u64_at};
use crate::range::LARGE_PAGE;

/// Where the setup header starts, in the image and in boot_params.
pub const HEADER_START: usize = 0x1F1;
/// Where boot_params has room for the header up to.
pub const HEADER_LIMIT: usize = 0x290;
/// Bytes that must be there before anything is read: up to `init_size`.
pub const HEADER_MINIMUM: usize = 0x264;
/// The 64-bit entry point's offset from where the protected-mode part is loaded.
pub const ENTRY_64: u64 = 0x200;
/// Lowest place that is used: Linux itself stays above this (`LOAD_PHYSICAL_ADDR` of distribution kernels).
pub const LOWEST_LOAD: u64 = 0x100_0000;
/// Protocol 2.12 brought `xloadflags`.
pub const MINIMUM_PROTOCOL: u16 = 0x020C;

const MAGIC: [u8; 4] = *b"HdrS";
const BOOT_FLAG: u16 = 0xAA55;
const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;
const SECTOR: usize = 512;

/// What an image says of itself, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Boot protocol version, such as 0x20F.
    pub protocol: u16,
    /// Where the header ends, in the image and in boot_params.
    pub header_end: usize,
    /// Where the protected-mode part starts in the image.
    pub protected_start: usize,
    /// Bytes of it: up to the image's end.
    pub protected_size: usize,
    /// Bytes of memory that the kernel uses from its load address on until it reads the memory map.
    pub init_size: u64,
    /// Where it must be aligned to, at least [`LARGE_PAGE`].
    pub alignment: u64,
    /// Lowest load address that is used.
    pub lowest: u64,
    /// First address that no byte of the initrd may have.
    pub initrd_limit: u64,
    /// Most bytes of a command line, without its terminator.
    pub cmdline_size: usize,
}

/// Why an image cannot be booted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImageError {
    #[error("kernel: {0:#x} bytes are too few for a setup header")]
    Short(usize),
    #[error(
        "kernel: no bzImage (boot flag {flag:#x}, magic {magic:02x?}; 0xaa55 and \"HdrS\" expected)"
    )]
    Magic { flag: u16, magic: [u8; 4] },
    #[error("kernel: boot protocol {0:#x}, at least {MINIMUM_PROTOCOL:#x} expected")]
    Protocol(u16),
    #[error(
        "kernel: setup header ends at {0:#x}; {HEADER_MINIMUM:#x} to {HEADER_LIMIT:#x} expected"
    )]
    HeaderEnd(usize),
    #[error(
        "kernel: not a 64-bit bzImage (loadflags {loadflags:#x}, xloadflags {xloadflags:#x}; bit 0 of both expected)"
    )]
    NotLong { loadflags: u8, xloadflags: u16 },
    #[error("kernel: not relocatable")]
    Fixed,
    #[error("kernel: alignment {0:#x} is no power of two")]
    Alignment(u32),
    #[error(
        "kernel: {setup:#x} bytes of setup and {system:#x} of system do not fit the image's {image:#x}"
    )]
    Truncated {
        setup: usize,
        system: usize,
        image: usize,
    },
    #[error("kernel: init_size {init_size:#x} is less than the {protected:#x} bytes to be loaded")]
    InitSize { init_size: u32, protected: usize },
    #[error("kernel: preferred address {0:#x} is not below 4 GiB")]
    Preferred(u64),
}

/// Reads and checks the header of a whole image.
pub fn parse(image: &[u8]) -> Result<Header, ImageError> {
    // After this check the defaults below never come up.
    if image.len() < HEADER_MINIMUM {
        return Err(ImageError::Short(image.len()));
    }
    let u8_at = |offset: usize| image.get(offset).copied().unwrap_or_default();
    let u16_at = |offset| u16_at(image, offset).unwrap_or_default();
    let u32_at = |offset| u32_at(image, offset).unwrap_or_default();

    let (flag, magic) = (u16_at(0x1FE), bytes(image, 0x202).unwrap_or_default());
    if flag != BOOT_FLAG || magic != MAGIC {
        return Err(ImageError::Magic { flag, magic });
    }
    let protocol = u16_at(0x206);
    if protocol < MINIMUM_PROTOCOL {
        return Err(ImageError::Protocol(protocol));
    }
    let header_end = 0x202 + usize::from(u8_at(0x201));
    if !(HEADER_MINIMUM..=HEADER_LIMIT).contains(&header_end) {
        return Err(ImageError::HeaderEnd(header_end));
    }
    let (loadflags, xloadflags) = (u8_at(0x211), u16_at(0x236));
    if loadflags & LOADED_HIGH == 0 || xloadflags & XLF_KERNEL_64 == 0 {
        return Err(ImageError::NotLong {
            loadflags,
            xloadflags,
        });
    }
    if u8_at(0x234) == 0 {
        return Err(ImageError::Fixed);
    }
    let alignment = u32_at(0x230);
    if !alignment.is_power_of_two() {
        return Err(ImageError::Alignment(alignment));
    }
    let (protected_start, protected_size) =
        protected_part(image.len(), u8_at(0x1F1), u32_at(0x1F4))?;
    let init_size = u32_at(0x260);
    if (init_size as usize) < protected_size {
        return Err(ImageError::InitSize {
            init_size,
            protected: protected_size,
        });
    }
    let preferred = u64_at(image, 0x258).unwrap_or_default();
    if preferred > u64::from(u32::MAX) {
        return Err(ImageError::Preferred(preferred));
    }
    Ok(Header {
        protocol,
        header_end,
        protected_start,
        protected_size,
        init_size: init_size.into(),
        alignment: u64::from(alignment).max(LARGE_PAGE),
        lowest: preferred.max(LOWEST_LOAD),
        initrd_limit: u64::from(u32_at(0x22C)) + 1,
        cmdline_size: u32_at(0x238) as usize,
    })
}

/// Where the protected-mode part is. It goes on to the end of the file: a signature may follow what the header counts.
fn protected_part(
    image: usize,
    sectors: u8,
    paragraphs: u32,
) -> Result<(usize, usize), ImageError> {
    // boot.rst: for backwards compatibility 0 means 4; the boot sector comes on top.
    let sectors = if sectors == 0 { 4 } else { sectors };
    let setup = (usize::from(sectors) + 1) * SECTOR;
    let system = paragraphs as usize * 16;
    match image.checked_sub(setup) {
        Some(rest) if rest > ENTRY_64 as usize && rest >= system => Ok((setup, rest)),
        _ => Err(ImageError::Truncated {
            setup,
            system,
            image,
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// An image with the numbers of Debian's 7.3.4 cloud kernel, but small.
    pub(crate) fn synthetic() -> Vec<u8> {
        let mut image = vec![0xCC; 0x5000 + 0x8000];
        image[0x1F1] = 0x27;
        let mut put = |offset: usize, bytes: &[u8]| {
            image[offset..offset + bytes.len()].copy_from_slice(bytes)
        };
        put(0x1F4, &0x700u32.to_le_bytes());
        put(0x1FE, &[0x55, 0xAA, 0xEB, 0x6A]);
        put(0x202, b"HdrS");
        put(0x206, &0x20Fu16.to_le_bytes());
        put(0x211, &[0x01]);
        put(0x22C, &0x7FFF_FFFFu32.to_le_bytes());
        put(0x230, &0x20_0000u32.to_le_bytes());
        put(0x234, &[1, 0x15, 0x7F, 0x00]);
        put(0x238, &0x7FFu32.to_le_bytes());
        put(0x258, &0x100_0000u64.to_le_bytes());
        put(0x260, &0x3C3_9000u32.to_le_bytes());
        image
    }

    fn with(offset: usize, bytes: &[u8]) -> Result<Header, ImageError> {
        let mut image = synthetic();
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
        parse(&image)
    }

    #[test]
    fn a_debian_header_is_read() {
        let header = parse(&synthetic()).unwrap();
        let expected = Header {
            protocol: 0x20F,
            header_end: 0x26C,
            protected_start: 0x5000,
            protected_size: 0x8000,
            init_size: 0x3C3_9000,
            alignment: 0x20_0000,
            lowest: 0x100_0000,
            initrd_limit: 0x8000_0000,
            cmdline_size: 0x7FF,
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn what_cannot_be_booted_is_refused_with_its_value() {
        let text = |offset: usize, bytes: &[u8]| with(offset, bytes).unwrap_err().to_string();
        assert_eq!(
            text(0x202, b"\x7fELF"),
            "kernel: no bzImage (boot flag 0xaa55, magic [7f, 45, 4c, 46]; 0xaa55 and \"HdrS\" expected)"
        );
        assert_eq!(
            text(0x206, &[0x0B, 0x02]),
            "kernel: boot protocol 0x20b, at least 0x20c expected"
        );
        assert_eq!(
            text(0x201, &[0x20]),
            "kernel: setup header ends at 0x222; 0x264 to 0x290 expected"
        );
        assert_eq!(
            text(0x201, &[0xFF]),
            "kernel: setup header ends at 0x301; 0x264 to 0x290 expected"
        );
        assert_eq!(
            text(0x236, &[0x7E]),
            "kernel: not a 64-bit bzImage (loadflags 0x1, xloadflags 0x7e; bit 0 of both expected)"
        );
        assert_eq!(text(0x234, &[0]), "kernel: not relocatable");
        assert_eq!(
            text(0x230, &[1]),
            "kernel: alignment 0x200001 is no power of two"
        );
        assert_eq!(
            text(0x1F4, &[0xFF, 0xFF, 0xFF, 0xFF]),
            "kernel: 0x5000 bytes of setup and 0xffffffff0 of system do not fit the image's 0xd000"
        );
        assert_eq!(
            text(0x260, &[0, 0x10, 0, 0]),
            "kernel: init_size 0x1000 is less than the 0x8000 bytes to be loaded"
        );
        assert_eq!(
            text(0x258, &[0, 0, 0, 0, 1]),
            "kernel: preferred address 0x100000000 is not below 4 GiB"
        );
        let short = parse(&synthetic()[..0x263]).unwrap_err().to_string();
        assert_eq!(short, "kernel: 0x263 bytes are too few for a setup header");
    }

    #[test]
    fn no_setup_sectors_means_four() {
        let header = with(0x1F1, &[0]).unwrap();
        assert_eq!(header.protected_start, 5 * 512);
    }

    proptest! {
        #[test]
        fn a_flipped_header_never_panics_and_stays_inside_the_image(offset in 0x1F1usize..0x26C, value in any::<u8>()) {
            if let Ok(header) = with(offset, &[value]) {
                prop_assert_eq!(header.protected_start + header.protected_size, synthetic().len());
                prop_assert!(header.init_size >= header.protected_size as u64);
            }
        }
    }

    /// Reads a real kernel where one is at hand: set MACADAMIA_TEST_KERNEL to a bzImage.
    #[test]
    fn a_real_kernel_is_accepted() {
        let Some(path) = std::env::var_os("MACADAMIA_TEST_KERNEL") else {
            std::eprintln!("skipped: MACADAMIA_TEST_KERNEL names no kernel");
            return;
        };
        let header = parse(&std::fs::read(path).unwrap()).unwrap();
        assert!(header.init_size > header.protected_size as u64);
    }
}
