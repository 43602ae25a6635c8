//! The profile: every size and count that the specification leaves to the implementation, in one place.

/// Longest command and longest response, in bytes (TPM_PT_MAX_COMMAND_SIZE, TPM_PT_MAX_RESPONSE_SIZE).
pub const MAX_COMMAND_SIZE: usize = 4096;
/// Largest digest: SHA-512.
pub const MAX_DIGEST: usize = 64;
/// Largest Name: an algorithm and a digest.
pub const MAX_NAME: usize = MAX_DIGEST + 2;
/// Largest authorization value.
pub const MAX_AUTH: usize = MAX_DIGEST;
/// Largest RSA modulus: 3072 bits.
pub const MAX_RSA_BYTES: usize = 384;
/// Largest ECC coordinate: P-384.
pub const MAX_ECC_BYTES: usize = 48;
/// Largest AES key.
pub const MAX_SYM_KEY_BYTES: usize = 32;
/// Most data that a sealed object or a MAC key holds.
pub const MAX_SYM_DATA: usize = 128;
/// Largest sensitive value: one prime of an RSA key.
pub const MAX_SENSITIVE: usize = 192;
/// Largest TPM2B_PRIVATE and TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET: integrity, IV, sensitive area.
pub const MAX_PRIVATE: usize = 512;
/// Largest TPM2B_ENCRYPTED_SECRET: an RSA ciphertext or a marshalled point.
pub const MAX_ENCRYPTED_SECRET: usize = MAX_RSA_BYTES;
/// Largest label or context of a derived object.
pub const MAX_LABEL: usize = 32;
/// Largest TPM2B_MAX_BUFFER.
pub const MAX_BUFFER: usize = 1024;
/// Largest TPM2B_DATA: a digest with its algorithm.
pub const MAX_DATA: usize = MAX_DIGEST + 2;
/// Largest TPM2B_EVENT.
pub const MAX_EVENT: usize = 1024;
/// Number of PCRs.
pub const PCR_COUNT: usize = 24;
/// Octets of a PCR selection.
pub const PCR_SELECT: usize = 3;
/// Hash algorithms that can have a PCR bank: SHA-1, SHA-256, SHA-384, SHA-512 can be selected; the last has none.
pub const HASH_COUNT: usize = 4;
/// Digests of a TPML_DIGEST.
pub const MAX_DIGEST_LIST: usize = 8;
/// Objects and sequences that can be loaded at one time.
pub const MAX_LOADED_OBJECTS: usize = 3;
/// Sessions that can be loaded at one time.
pub const MAX_LOADED_SESSIONS: usize = 3;
/// Sessions that can exist, loaded or saved.
pub const MAX_ACTIVE_SESSIONS: usize = 64;
/// Sessions of one command.
pub const MAX_SESSIONS_PER_COMMAND: usize = 3;
/// Handles of one command.
pub const MAX_HANDLES: usize = 3;
/// Persistent objects.
pub const MAX_PERSISTENT: usize = 16;
/// NV indices.
pub const MAX_NV_INDICES: usize = 64;
/// Data of one NV index, in bytes.
pub const MAX_NV_INDEX_SIZE: usize = 2048;
/// Data of one NV read or write, in bytes.
pub const MAX_NV_BUFFER: usize = 1024;
/// Data of all NV indices, in bytes.
pub const MAX_NV_TOTAL: usize = 64 * 1024;
/// Data of all orderly NV indices, in bytes: an orderly shutdown writes them in one commit.
pub const MAX_NV_ORDERLY: usize = 4096;
/// Most entries of a GetCapability response.
pub const MAX_CAP_DATA: usize = 1024;
/// Most command codes of a list: as many as a GetCapability response has room for.
pub const MAX_CAP_CC: usize = (MAX_CAP_DATA - 8) / 4;
/// Milliseconds between two commits of the clock: an unorderly shutdown loses at most this much.
pub const CLOCK_COMMIT_MS: u64 = 1 << 12;
/// Authorization failures before lockout, of a new TPM.
pub const DEFAULT_MAX_TRIES: u32 = 3;
/// Seconds after which one failure is forgotten, of a new TPM.
pub const DEFAULT_RECOVERY_TIME: u32 = 1000;
/// Seconds after a failure of the lockout authorization before it can be used again, of a new TPM.
pub const DEFAULT_LOCKOUT_RECOVERY: u32 = 1000;
/// Most saved session contexts between the oldest and the newest (TPM_PT_CONTEXT_GAP_MAX).
pub const CONTEXT_GAP_MAX: u32 = 0xFFFF;
/// Increments of an orderly counter between two commits (TPM_PT_ORDERLY_COUNT).
pub const ORDERLY_COUNT: u32 = 0xFF;
/// Largest TPM2B_CONTEXT_DATA.
pub const MAX_CONTEXT: usize = 2048;
