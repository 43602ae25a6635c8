//! The vTPM protocol's own part (58019 §8): what is answered without the TPM, and the header of a command.
//!
//! 58019 leaves open which code answers which bad header. The choices, all of which are those of COCONUT-SVSM, so that a guest
//! sees no difference:
//!
//! - a platform command other than TPM_SEND_COMMAND: INVALID_PARAMETER. UNSUPPORTED_CALL speaks of the call's number in RAX,
//!   which is known; the command is a parameter of it. VTPM_QUERY says beforehand which commands there are;
//! - a locality other than 0: INVALID_PARAMETER. Localities 3 and 4 would let a guest start a dynamic launch and extend the
//!   PCRs that only trusted hardware may; for the others nobody has said who in a guest has them;
//! - a command that is longer than the rest of the page: INVALID_PARAMETER. One that is shorter than a command's header (10
//!   bytes, TPM Part 1 §18) too: a TPM would answer TPM_RC_COMMAND_SIZE, but would be woken for it, and no client sends one.

use svsm_abi::{TPM_SEND_COMMAND, VTPM_BUFFER, VtpmRequest, result};
use zerocopy::FromBytes;

use crate::request::{CallResult, Registers};

/// Bytes of the header of a request.
pub const HEADER_BYTES: usize = size_of::<VtpmRequest>();
/// Fewest bytes of a command: tag, size and command code.
pub const MIN_COMMAND: u32 = 10;
/// Most bytes of a command: the buffer is a page, wherever it starts.
pub const MAX_COMMAND: u32 = VTPM_BUFFER as u32 - HEADER_BYTES as u32;
/// Bytes before a response: its size.
pub const RESPONSE_HEADER_BYTES: usize = 4;
/// Most bytes of a response.
pub const MAX_RESPONSE: u32 = VTPM_BUFFER as u32 - RESPONSE_HEADER_BYTES as u32;

/// The header of a request.
pub struct Header;

impl Header {
    /// The number of bytes of the command that follows, or the code for RAX.
    ///
    /// # Errors
    /// INVALID_PARAMETER: see above.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<u32, u64> {
        let header = VtpmRequest::read_from_bytes(bytes).map_err(|_| result::INVALID_PARAMETER)?;
        let size = header.size.get();
        let good = header.command.get() == TPM_SEND_COMMAND
            && header.locality == 0
            && (MIN_COMMAND..=MAX_COMMAND).contains(&size);
        if good {
            Ok(size)
        } else {
            Err(result::INVALID_PARAMETER)
        }
    }
}

/// The platform commands that VTPM_QUERY names: bit n is command n.
pub const fn platform_commands() -> u64 {
    1 << TPM_SEND_COMMAND
}

/// VTPM_QUERY: the platform commands in RCX, no features in RDX.
pub fn query(registers: &mut Registers) -> CallResult {
    registers.rcx = platform_commands();
    registers.rdx = 0;
    Ok(())
}

/// What goes before a response of `bytes` bytes.
pub const fn response_header(bytes: u32) -> [u8; RESPONSE_HEADER_BYTES] {
    bytes.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u32, locality: u8, size: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&command.to_le_bytes());
        bytes[4] = locality;
        bytes[5..].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    #[test]
    fn a_command_may_fill_the_page() {
        for size in [10, 11, 12, 4086, 4087] {
            assert_eq!(Header::parse(&header(8, 0, size)), Ok(size));
        }
        assert_eq!(Header::parse(b"\x08\0\0\0\0\x0c\0\0\0"), Ok(12));
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for size in [0, 1, 9, 4088, 4096, 0x1_000A, 0x8000_0000, u32::MAX] {
            assert_eq!(
                Header::parse(&header(8, 0, size)),
                Err(result::INVALID_PARAMETER),
                "{size}"
            );
        }
    }

    #[test]
    fn only_command_8_of_locality_0_is_known() {
        for command in (0..300).chain([0x0800_0000, u32::MAX]) {
            let answer = Header::parse(&header(command, 0, 12));
            assert_eq!(answer.is_ok(), command == 8, "{command}");
        }
        for locality in 1..=255 {
            assert_eq!(
                Header::parse(&header(8, locality, 12)),
                Err(result::INVALID_PARAMETER)
            );
        }
    }

    #[test]
    fn the_query_names_one_command_and_no_feature() {
        let mut registers = Registers {
            rcx: 7,
            rdx: u64::MAX,
            r8: 5,
            ..Default::default()
        };
        query(&mut registers).unwrap();
        assert_eq!((registers.rcx, registers.rdx, registers.r8), (0x100, 0, 5));
    }

    #[test]
    fn a_response_starts_with_its_size() {
        assert_eq!(response_header(0x0A0B), [0x0B, 0x0A, 0, 0]);
        assert_eq!(MAX_RESPONSE, 4092);
    }
}
