//! The SVSM's own #VC exceptions: which instruction it was (APM vol. 2 §15.35.5: the hypervisor gives no decoding, and
//! the SVSM would not believe one).
//!
//! Only instructions that a 64-bit kernel may meet: CPUID, port input and output of a register, RDMSR and WRMSR.

use snp_abi::exit;

/// Longest instruction decoded here: an operand-size prefix, opcode, immediate.
pub const MAX_LENGTH: usize = 3;

/// An instruction that raised #VC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub operation: Operation,
    /// Its length in bytes.
    pub length: u64,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Cpuid,
    Rdmsr,
    Wrmsr,
    /// IN to AL, AX or EAX. `port` is `None` for DX.
    In {
        bytes: u8,
        port: Option<u8>,
    },
    /// OUT from AL, AX or EAX.
    Out {
        bytes: u8,
        port: Option<u8>,
    },
}

/// Decodes `code`, the bytes at RIP, for this exit code. `None` when the two do not fit: the exception is not one that
/// the SVSM's own code can have caused.
pub fn decode(exit_code: u64, code: &[u8; MAX_LENGTH]) -> Option<Instruction> {
    let found = |operation, length| Some(Instruction { operation, length });
    match (exit_code, *code) {
        (exit::CPUID, [0x0F, 0xA2, _]) => found(Operation::Cpuid, 2),
        (exit::MSR, [0x0F, 0x32, _]) => found(Operation::Rdmsr, 2),
        (exit::MSR, [0x0F, 0x30, _]) => found(Operation::Wrmsr, 2),
        (exit::IOIO, [0x66, opcode, immediate]) => port(opcode, immediate, 2, 1),
        (exit::IOIO, [opcode, immediate, _]) => port(opcode, immediate, 4, 0),
        _ => None,
    }
}

/// IN or OUT; `wide` is the size of those that are not of one byte.
fn port(opcode: u8, immediate: u8, wide: u8, prefix: u64) -> Option<Instruction> {
    let bytes = if opcode & 1 == 0 { 1 } else { wide };
    let (operation, length) = match opcode {
        0xE4 | 0xE5 => (
            Operation::In {
                bytes,
                port: Some(immediate),
            },
            2,
        ),
        0xE6 | 0xE7 => (
            Operation::Out {
                bytes,
                port: Some(immediate),
            },
            2,
        ),
        0xEC | 0xED => (Operation::In { bytes, port: None }, 1),
        0xEE | 0xEF => (Operation::Out { bytes, port: None }, 1),
        _ => return None,
    };
    Some(Instruction {
        operation,
        length: length + prefix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_apart_by_their_bytes() {
        let cases = [
            (0x72, [0x0F, 0xA2, 0], Operation::Cpuid, 2),
            (0x7C, [0x0F, 0x32, 0], Operation::Rdmsr, 2),
            (0x7C, [0x0F, 0x30, 0], Operation::Wrmsr, 2),
            (
                0x7B,
                [0xEC, 0, 0],
                Operation::In {
                    bytes: 1,
                    port: None,
                },
                1,
            ),
            (
                0x7B,
                [0xED, 0, 0],
                Operation::In {
                    bytes: 4,
                    port: None,
                },
                1,
            ),
            (
                0x7B,
                [0x66, 0xED, 0],
                Operation::In {
                    bytes: 2,
                    port: None,
                },
                2,
            ),
            (
                0x7B,
                [0xEE, 0, 0],
                Operation::Out {
                    bytes: 1,
                    port: None,
                },
                1,
            ),
            (
                0x7B,
                [0xEF, 0, 0],
                Operation::Out {
                    bytes: 4,
                    port: None,
                },
                1,
            ),
            (
                0x7B,
                [0xE4, 0x71, 0],
                Operation::In {
                    bytes: 1,
                    port: Some(0x71),
                },
                2,
            ),
            (
                0x7B,
                [0x66, 0xE7, 0x80],
                Operation::Out {
                    bytes: 2,
                    port: Some(0x80),
                },
                3,
            ),
        ];
        for (exit_code, bytes, operation, length) in cases {
            assert_eq!(
                decode(exit_code, &bytes),
                Some(Instruction { operation, length }),
                "{bytes:x?}"
            );
        }
    }

    #[test]
    fn bytes_that_do_not_fit_the_exit_code_are_refused() {
        for (exit_code, bytes) in [
            (0x72, [0x0F, 0x32, 0]),
            (0x7C, [0x0F, 0xA2, 0]),
            (0x7B, [0x6E, 0, 0]), // OUTS
            (0x7B, [0x66, 0x0F, 0xA2]),
            (0x404, [0x0F, 0xA2, 0]),
            (0x6E, [0x0F, 0x31, 0]),
        ] {
            assert_eq!(decode(exit_code, &bytes), None, "{bytes:x?}");
        }
    }
}
