//! The SEV-SNP launch digest: what the firmware measures of a guest before its first instruction, and what an
//! attestation report later shows as MEASUREMENT (56860 §8.17).
//!
//! The digest starts as 48 zero bytes. Every launched page replaces it with the SHA-384 of a PAGE_INFO structure that
//! holds the digest so far, the SHA-384 of the page's contents (for [`PageType::Normal`] and [`PageType::Vmsa`], zeros
//! for the other types), the type and the guest-physical address. So order counts, and so do pages that carry no
//! measured contents.
//!
//! ```
//! use launch_digest::{LaunchDigest, PageType};
//!
//! let mut digest = LaunchDigest::new();
//! digest.update(PageType::Normal, 0x1_0000, &[0x90; 4096]);
//! digest.update(PageType::Cpuid, 0x1_e000, &[0; 4096]); // the contents do not count
//! assert_eq!(format!("{digest}").len(), 96);
//! ```
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

use sha2::{Digest, Sha384};
use snp_abi::report::{PageInfo, page_type};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

/// Bytes of a digest (SHA-384).
pub const DIGEST_SIZE: usize = 48;
/// Bytes of a page. Launch pages are always measured as small ones: that is how KVM launches them.
pub const PAGE_SIZE: usize = 4096;

/// How a page is launched: PAGE_TYPE of SNP_LAUNCH_UPDATE (56860 §8.17, table 67).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageType {
    /// Given contents, measured.
    Normal = page_type::NORMAL,
    /// A VMSA, measured as it is given.
    Vmsa = page_type::VMSA,
    /// Zeros, made by the firmware.
    Zero = page_type::ZERO,
    /// Given contents of which only the address is measured.
    Unmeasured = page_type::UNMEASURED,
    /// The secrets page, filled by the firmware.
    Secrets = page_type::SECRETS,
    /// The CPUID page, checked by the firmware.
    Cpuid = page_type::CPUID,
}

impl PageType {
    /// Whether the page's contents enter the digest.
    pub const fn measures_contents(self) -> bool {
        matches!(self, PageType::Normal | PageType::Vmsa)
    }
}

/// A launch digest in the making. 48 bytes; cheap to copy, so that a state can be kept for comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LaunchDigest([u8; DIGEST_SIZE]);

impl LaunchDigest {
    /// The digest of a guest into which nothing was launched: zeros.
    pub const fn new() -> LaunchDigest {
        LaunchDigest([0; DIGEST_SIZE])
    }

    /// Adds one page at guest-physical address `gpa`, with no permissions for VMPL1 to VMPL3 (KVM gives none).
    ///
    /// `contents` counts only where [`PageType::measures_contents`] says so; a VMSA counts exactly as given.
    pub fn update(&mut self, page_type: PageType, gpa: u64, contents: &[u8; PAGE_SIZE]) {
        let contents = if page_type.measures_contents() {
            Sha384::digest(contents).into()
        } else {
            [0; DIGEST_SIZE]
        };
        let info = PageInfo {
            digest_current: self.0,
            contents,
            length: U16::new(size_of::<PageInfo>() as u16),
            page_type: page_type as u8,
            imi_page: 0,
            reserved: 0,
            vmpl1_permissions: 0,
            vmpl2_permissions: 0,
            vmpl3_permissions: 0,
            gpa: U64::new(gpa),
        };
        self.0 = Sha384::digest(info.as_bytes()).into();
    }

    /// The digest so far, as an attestation report would show it.
    pub const fn as_bytes(&self) -> &[u8; DIGEST_SIZE] {
        &self.0
    }
}

impl Default for LaunchDigest {
    fn default() -> LaunchDigest {
        LaunchDigest::new()
    }
}

impl fmt::Display for LaunchDigest {
    /// 96 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LaunchDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaunchDigest({self})")
    }
}
