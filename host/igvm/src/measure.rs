//! The launch digest of a file.

use anyhow::Result;
use igvm_loader::{Image, Platform};
use launch_digest::LaunchDigest;

/// The SEV-SNP launch digest, as QEMU and KVM make it: page data without file data are ZERO pages.
///
/// # Errors
/// What is wrong with the file.
pub fn measure(bytes: &[u8]) -> Result<LaunchDigest> {
    Ok(Image::parse(bytes)?
        .select(Platform::SevSnp)?
        .launch_digest()?)
}
