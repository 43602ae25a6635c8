//! Kernel, initrd and command line against the SHA-256 digests of the measured parameter page.
//!
//! The digests are public, so they are compared plainly.

use core::fmt;

use sha2::{Digest, Sha256};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Kernel,
    Initrd,
    CommandLine,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Kernel => "kernel",
            Part::Initrd => "initrd",
            Part::CommandLine => "command line",
        })
    }
}

/// A part is not the one that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {part} ({length} bytes) is not the measured one: SHA-256 {}…, expected {}…", Prefix(.actual), Prefix(.expected))]
#[allow(missing_docs)]
pub struct Mismatch {
    pub part: Part,
    pub length: u64,
    pub expected: [u8; 32],
    pub actual: [u8; 32],
}

/// The first bytes of a digest, enough to tell which file it was.
struct Prefix<'a>(&'a [u8; 32]);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(8)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The running digest of one part.
#[derive(Clone)]
pub struct Verifier {
    part: Part,
    length: u64,
    state: Sha256,
}

impl Verifier {
    /// Starts with no bytes.
    pub fn new(part: Part) -> Verifier {
        Verifier {
            part,
            length: 0,
            state: Sha256::new(),
        }
    }

    /// Adds bytes. They must be the guest's own copy: what is shared could change after it was looked at.
    pub fn update(&mut self, private: &[u8]) {
        self.length += private.len() as u64;
        self.state.update(private);
    }

    /// Whether these were the measured bytes.
    pub fn finish(self, expected: &[u8; 32]) -> Result<(), Mismatch> {
        let actual: [u8; 32] = self.state.finalize().into();
        if actual == *expected {
            return Ok(());
        }
        Err(Mismatch {
            part: self.part,
            length: self.length,
            expected: *expected,
            actual,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// FIPS 180-2 appendix B.1: SHA-256("abc").
    const ABC: [u8; 32] = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
        0x15, 0xad,
    ];

    fn check(part: Part, pieces: &[&[u8]]) -> Result<(), Mismatch> {
        let mut verifier = Verifier::new(part);
        pieces.iter().for_each(|piece| verifier.update(piece));
        verifier.finish(&ABC)
    }

    #[test]
    fn the_measured_bytes_are_accepted_in_any_pieces() {
        assert_eq!(check(Part::Kernel, &[b"abc"]), Ok(()));
        assert_eq!(check(Part::Kernel, &[b"a", b"", b"bc"]), Ok(()));
    }

    #[test]
    fn one_flipped_bit_is_refused_by_the_part_s_name() {
        let error = check(Part::CommandLine, &[b"abb"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the command line (3 bytes) is not the measured one: SHA-256 715edf8ba8729420…, expected ba7816bf8f01cfea…"
        );
        let error = check(Part::Initrd, &[]).unwrap_err().to_string();
        assert!(error.starts_with(
            "the initrd (0 bytes) is not the measured one: SHA-256 e3b0c44298fc1c14…"
        ));
        assert!(
            check(Part::Kernel, &[b"abd"])
                .unwrap_err()
                .to_string()
                .starts_with("the kernel (3 bytes)")
        );
    }
}
