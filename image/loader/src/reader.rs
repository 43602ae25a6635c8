//! Little-endian fields out of untrusted bytes.

use zerocopy::FromBytes;

use crate::error::{FileError, Problem};

/// Reads a `T` from the start of `bytes`, which are at `offset` of the file. `what` names it in the error.
pub(crate) fn read<T: FromBytes>(
    bytes: &[u8],
    offset: u64,
    what: &'static str,
) -> Result<T, FileError> {
    T::read_from_prefix(bytes)
        .map(|(value, _)| value)
        .map_err(|_| {
            Problem::TooShort {
                what,
                size: size_of::<T>() as u64,
                available: bytes.len() as u64,
            }
            .at(offset)
        })
}

/// Checks that a field has the value it must have.
pub(crate) fn expect(
    what: &'static str,
    value: impl Into<u64>,
    expected: impl Into<u64>,
    offset: u64,
) -> Result<(), FileError> {
    let (value, expected) = (value.into(), expected.into());
    if value == expected {
        Ok(())
    } else {
        Err(Problem::Differs {
            what,
            value,
            expected,
        }
        .at(offset))
    }
}

/// Checks that a value is a multiple of `alignment`.
pub(crate) fn aligned(
    what: &'static str,
    value: u64,
    alignment: u64,
    offset: u64,
) -> Result<(), FileError> {
    if value.is_multiple_of(alignment) {
        Ok(())
    } else {
        Err(Problem::Misaligned {
            what,
            value,
            alignment,
        }
        .at(offset))
    }
}
