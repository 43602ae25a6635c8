//! Symmetric encryption: AES-128 and AES-256 in the modes of TPM Part 1 Table 7, and XOR obfuscation.

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes256};

use super::hash::HashAlg;
use super::{CryptoError, Result, kdf};
use crate::buf::Secret;

/// Bytes of a block.
pub const BLOCK: usize = 16;

/// How blocks are chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// TPM_ALG_CTR
    Ctr,
    /// TPM_ALG_OFB
    Ofb,
    /// TPM_ALG_CBC
    Cbc,
    /// TPM_ALG_CFB
    Cfb,
    /// TPM_ALG_ECB
    Ecb,
}

impl Mode {
    /// The mode whose TPM_ALG_ID this is.
    pub const fn from_id(id: u16) -> Option<Mode> {
        match id {
            0x0040 => Some(Mode::Ctr),
            0x0041 => Some(Mode::Ofb),
            0x0042 => Some(Mode::Cbc),
            0x0043 => Some(Mode::Cfb),
            0x0044 => Some(Mode::Ecb),
            _ => None,
        }
    }

    /// The TPM_ALG_ID.
    pub const fn id(self) -> u16 {
        match self {
            Mode::Ctr => 0x0040,
            Mode::Ofb => 0x0041,
            Mode::Cbc => 0x0042,
            Mode::Cfb => 0x0043,
            Mode::Ecb => 0x0044,
        }
    }

    /// Whether only whole blocks can be encrypted: TPM Part 3 §15.2.1 wants padded input then.
    pub const fn needs_whole_blocks(self) -> bool {
        matches!(self, Mode::Cbc | Mode::Ecb)
    }
}

/// Encrypts or decrypts `data` in place and leaves in `iv` what continues the chain with the next data. Where CFB ends
/// inside a block, that is the last ciphertext with the rest of the key stream behind it, as libtpms has it. ECB leaves
/// `iv` alone.
///
/// # Errors
/// `Key`: not 16 or 32 bytes. `Size`: the mode needs whole blocks.
pub fn crypt(
    mode: Mode,
    encrypt: bool,
    key: &[u8],
    iv: &mut [u8; BLOCK],
    data: &mut [u8],
) -> Result<()> {
    if mode.needs_whole_blocks() && !data.len().is_multiple_of(BLOCK) {
        return Err(CryptoError::Size);
    }
    if let Ok(key) = <&[u8; 16]>::try_from(key) {
        chain(&Aes128::new(key.into()), mode, encrypt, iv, data);
    } else if let Ok(key) = <&[u8; 32]>::try_from(key) {
        chain(&Aes256::new(key.into()), mode, encrypt, iv, data);
    } else {
        return Err(CryptoError::Key);
    }
    Ok(())
}

/// Encrypts in CFB mode from `iv`.
///
/// # Errors
/// `Key`: not 16 or 32 bytes.
pub fn cfb_encrypt(key: &[u8], iv: &[u8; BLOCK], data: &mut [u8]) -> Result<()> {
    crypt(Mode::Cfb, true, key, &mut { *iv }, data)
}

/// Decrypts in CFB mode from `iv`.
///
/// # Errors
/// `Key`: not 16 or 32 bytes.
pub fn cfb_decrypt(key: &[u8], iv: &[u8; BLOCK], data: &mut [u8]) -> Result<()> {
    crypt(Mode::Cfb, false, key, &mut { *iv }, data)
}

/// XOR obfuscation of a parameter (TPM Part 1 §8.4.7.3): doing it twice undoes it.
pub fn xor_obfuscate(
    alg: HashAlg,
    key: &[u8],
    nonce_newer: &[u8],
    nonce_older: &[u8],
    data: &mut [u8],
) {
    // The whole mask is one call of KDFa, whose blocks depend on the total length: it cannot be made in pieces.
    let mut mask = Secret::<{ crate::tpm::MAX_COMMAND_SIZE }>::zeroed(data.len());
    let bits = (data.len() as u32).wrapping_mul(8);
    kdf::kdfa(
        alg,
        key,
        b"XOR",
        nonce_newer,
        nonce_older,
        bits,
        mask.as_mut_slice(),
    );
    xor(data, &mask);
}

fn chain<C>(cipher: &C, mode: Mode, encrypt: bool, iv: &mut [u8; BLOCK], data: &mut [u8])
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    let forward = |block: &mut [u8; BLOCK]| cipher.encrypt_block(block.into());
    let backward = |block: &mut [u8; BLOCK]| cipher.decrypt_block(block.into());
    for chunk in data.chunks_mut(BLOCK) {
        match (mode, encrypt) {
            (Mode::Ctr, _) => {
                let mut stream = *iv;
                forward(&mut stream);
                xor(chunk, &stream);
                *iv = u128::from_be_bytes(*iv).wrapping_add(1).to_be_bytes();
            }
            (Mode::Ofb, _) => {
                forward(iv);
                xor(chunk, iv);
            }
            (Mode::Cfb, _) => {
                let before = padded(chunk);
                forward(iv);
                xor(chunk, iv);
                let ciphertext = if encrypt { &*chunk } else { &before };
                for (to, from) in iv.iter_mut().zip(ciphertext.iter().take(chunk.len())) {
                    *to = *from;
                }
            }
            (Mode::Cbc, true) => {
                xor(iv, chunk);
                forward(iv);
                chunk.copy_from_slice(iv);
            }
            (Mode::Cbc, false) => {
                let next = padded(chunk);
                let mut block = next;
                backward(&mut block);
                xor(&mut block, iv);
                chunk.copy_from_slice(&block);
                *iv = next;
            }
            (Mode::Ecb, _) => {
                let mut block = padded(chunk);
                if encrypt {
                    forward(&mut block);
                } else {
                    backward(&mut block);
                }
                chunk.copy_from_slice(&block);
            }
        }
    }
}

fn padded(bytes: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = *from;
    }
    block
}

fn xor(data: &mut [u8], mask: &[u8]) {
    for (byte, mask) in data.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}
