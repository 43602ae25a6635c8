//! Platform Configuration Registers (Part 1 §14; TCG PC Client Platform TPM Profile).

use crate::crypto::hash::{Digest, HashAlg};
use crate::limits::PCR_COUNT;

/// How many algorithms can have a bank.
pub const BANKS: usize = 3;

/// The algorithms that can have a bank.
pub const BANK_ALGS: [HashAlg; BANKS] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384];

/// Where an algorithm's bank is.
pub fn bank_of(hash: HashAlg) -> Option<usize> {
    BANK_ALGS.iter().position(|alg| *alg == hash)
}

/// All PCRs.
#[derive(Clone)]
pub struct Pcrs {
    /// Values; of a PCR without a bank, empty.
    pub values: [[Digest; PCR_COUNT]; BANKS],
    /// Which PCRs each bank has since the last TPM Reset.
    pub allocated: [u32; BANKS],
}
