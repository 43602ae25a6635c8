//! The state file: a header, a transaction with all records, then one transaction for each commit since.
//!
//! ```text
//! header       magic "MCDM-TPM" · version u32 · length of the header u32 · id of the file, 16 random bytes
//! transaction  length of the payload u32 · number u64 · check of these, 4 bytes · digest of all, 16 bytes · payload
//! payload      for each change: key u32 · length u32 (2^32-1: the record is removed) · value
//! ```
//!
//! Integers are little-endian. Check and digest are the first bytes of a SHA-256 over the file's id and what they
//! cover, so that a transaction of another file, which a file system may leave behind in a block, is none here.
//! Numbers count from 0, the transaction with all records.
//!
//! What a crash may leave is an unfinished transaction at the end: [`scan`] reports it and the journal cuts it. Damage
//! anywhere else (a transaction number 0 that is not intact, or an intact transaction behind one that is not) is an
//! error: the state is then not known, and a TPM with another state must not come out of it.

use sha2::{Digest, Sha256};
use tpm_engine::platform::{Change, apply};
use zeroize::Zeroizing;

use super::Records;

/// The file's first bytes.
pub const MAGIC: [u8; 8] = *b"MCDM-TPM";
/// The version that this code writes and reads.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER: usize = 32;
/// Bytes of a transaction in front of its payload.
pub const PREFIX: usize = 32;
/// The longest state file, in bytes: an engine's state is a hundredth of it.
pub const MAX_FILE: usize = 64 << 20;

const REMOVED: u32 = u32::MAX;

/// What distinguishes a file from every other.
pub type FileId = [u8; 16];

/// Why bytes are not a state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Another kind of file.
    #[error("it begins with {found:?}, not with {:?}: it is not a state file of this program", MAGIC.escape_ascii().to_string())]
    Foreign {
        /// Its first bytes, escaped.
        found: String,
    },
    /// Of another version of this program.
    #[error("its format has version {found}; this program reads version {VERSION}")]
    Version {
        /// The version.
        found: u32,
    },
    /// Too short for what every state file has.
    #[error("it has {found} bytes, fewer than the {} of the smallest state file: it was cut", HEADER + PREFIX)]
    Short {
        /// Its length.
        found: usize,
    },
    /// Not the work of an interrupted write.
    #[error("the transaction at byte {at} is damaged ({what})")]
    Damaged {
        /// Where it starts.
        at: usize,
        /// How one can tell.
        what: &'static str,
    },
    /// More than a state can be.
    #[error("it has {found} bytes, more than the {MAX_FILE} that a state file can have")]
    Long {
        /// Its length.
        found: usize,
    },
}

/// A file, read.
#[derive(Debug)]
pub struct Scan {
    /// The records after the last transaction.
    pub records: Records,
    /// The file's id.
    pub id: FileId,
    /// Where the last transaction ends. What is behind was never finished.
    pub end: usize,
    /// The number of the next transaction.
    pub next: u64,
}

/// A file with `records` in transaction 0.
pub fn image(id: &FileId, records: &Records) -> Zeroizing<Vec<u8>> {
    let changes: Vec<Change<'_>> = records
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            value: Some(value),
        })
        .collect();
    let mut bytes = Zeroizing::new(Vec::new());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(HEADER as u32).to_le_bytes());
    bytes.extend_from_slice(id);
    bytes.extend_from_slice(&transaction(id, 0, &changes));
    bytes
}

/// Bytes of transaction `number` that makes `changes`.
pub fn transaction(id: &FileId, number: u64, changes: &[Change<'_>]) -> Zeroizing<Vec<u8>> {
    let size = |change: &Change<'_>| 8 + change.value.map_or(0, <[u8]>::len);
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        PREFIX + changes.iter().map(size).sum::<usize>(),
    ));
    bytes.resize(PREFIX, 0);
    for change in changes {
        let length = change.value.map_or(REMOVED, |value| value.len() as u32);
        bytes.extend_from_slice(&change.key.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(change.value.unwrap_or_default());
    }
    let length = (bytes.len() - PREFIX) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..12].copy_from_slice(&number.to_le_bytes());
    let check = hash(id, &[&bytes[..12]]);
    bytes[12..16].copy_from_slice(&check[..4]);
    let digest = hash(id, &[&bytes[..16], &bytes[PREFIX..]]);
    bytes[16..PREFIX].copy_from_slice(&digest[..16]);
    bytes
}

fn hash(id: &FileId, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(id);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Reads a file.
///
/// # Errors
/// It is not a state file, or damaged in a way that an interrupted write cannot explain.
pub fn scan(bytes: &[u8]) -> Result<Scan, FormatError> {
    if bytes.len() > MAX_FILE {
        return Err(FormatError::Long { found: bytes.len() });
    }
    let shown = &bytes[..bytes.len().min(MAGIC.len())];
    if !bytes.is_empty() && !MAGIC.starts_with(shown) {
        return Err(FormatError::Foreign {
            found: shown.escape_ascii().to_string(),
        });
    }
    if bytes.len() < HEADER + PREFIX {
        return Err(FormatError::Short { found: bytes.len() });
    }
    let version = u32_at(bytes, 8);
    if version != VERSION {
        return Err(FormatError::Version { found: version });
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..HEADER]);
    let mut scan = Scan {
        records: Records::new(),
        id,
        end: HEADER,
        next: 0,
    };
    if u32_at(bytes, 12) != HEADER as u32 {
        return Err(FormatError::Damaged {
            at: 0,
            what: "the header's length is another",
        });
    }
    while let Some(payload) = intact(&id, bytes, scan.end, scan.next) {
        let changes = changes(payload).ok_or(FormatError::Damaged {
            at: scan.end,
            what: "its changes do not fill it",
        })?;
        apply(&mut scan.records, &changes);
        scan.end += PREFIX + payload.len();
        scan.next += 1;
    }
    if scan.next == 0 {
        return Err(FormatError::Damaged {
            at: HEADER,
            what: "it is the one with all records",
        });
    }
    let behind = scan.end + 1..bytes.len();
    if behind
        .into_iter()
        .any(|at| intact_number(&id, bytes, at).is_some_and(|number| number >= scan.next))
    {
        return Err(FormatError::Damaged {
            at: scan.end,
            what: "an intact one follows it",
        });
    }
    Ok(scan)
}

/// The records of an [`image`], which has one transaction and nothing behind it.
///
/// # Errors
/// [`scan`]'s, and bytes behind the transaction.
pub fn records(image: &[u8]) -> Result<Records, FormatError> {
    let scan = scan(image)?;
    if scan.end != image.len() {
        return Err(FormatError::Damaged {
            at: scan.end,
            what: "it is not complete",
        });
    }
    Ok(scan.records)
}

/// The payload of transaction `number` at `at`, if it is whole.
fn intact<'a>(id: &FileId, bytes: &'a [u8], at: usize, number: u64) -> Option<&'a [u8]> {
    let prefix = bytes.get(at..at + PREFIX)?;
    if prefix[4..12] != number.to_le_bytes() || hash(id, &[&prefix[..12]])[..4] != prefix[12..16] {
        return None;
    }
    let payload = bytes
        .get(at + PREFIX..)?
        .get(..u32_at(prefix, 0) as usize)?;
    (hash(id, &[&prefix[..16], payload])[..16] == prefix[16..]).then_some(payload)
}

/// The number of the transaction at `at`, if there is one and it is whole.
fn intact_number(id: &FileId, bytes: &[u8], at: usize) -> Option<u64> {
    let number = bytes.get(at + 4..at + 12)?;
    let number = u64::from_le_bytes(number.try_into().ok()?);
    intact(id, bytes, at, number).map(|_| number)
}

fn changes(mut payload: &[u8]) -> Option<Vec<Change<'_>>> {
    let mut changes = Vec::new();
    while !payload.is_empty() {
        let (prefix, rest) = payload.split_at_checked(8)?;
        let length = u32_at(prefix, 4);
        let (value, rest) = match length {
            REMOVED => (None, rest),
            _ => {
                let (value, rest) = rest.split_at_checked(length as usize)?;
                (Some(value), rest)
            }
        };
        changes.push(Change {
            key: u32_at(prefix, 0),
            value,
        });
        payload = rest;
    }
    Some(changes)
}

/// The caller has seen that the four bytes are there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
