//! The SVSM specification (AMD 58019) as wire formats: calling area, protocols, calls, result codes.
//!
//! A call: RAX holds `protocol << 32 | call`, RCX, RDX, R8 and R9 its arguments; the guest sets
//! [`CallingArea::call_pending`] to 1 and asks the hypervisor to run VMPL0; RAX comes back with a result code,
//! RCX, RDX and R8 with results (58019 §5, §6).
#![no_std]
#![forbid(unsafe_code)]

pub mod termination;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of the calling area page; the rest of the page is free for the guest's arguments.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CallingArea {
    /// Set to 1 by the guest, cleared by the SVSM when it takes the call.
    pub call_pending: u8,
    /// Set by the SVSM when it has memory to give back.
    pub mem_available: u8,
    /// Alternate injection: no EOI is required.
    pub no_eoi_required: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = assert!(core::mem::size_of::<CallingArea>() == 8);

/// The only version of the calling convention.
pub const MAX_VERSION: u32 = 1;

/// RAX of a call.
pub const fn call_id(protocol: u32, call: u32) -> u64 {
    (protocol as u64) << 32 | call as u64
}

/// Protocol numbers (58019 §6).
pub mod protocol {
    /// Core.
    pub const CORE: u32 = 0;
    /// Attestation.
    pub const ATTESTATION: u32 = 1;
    /// vTPM.
    pub const VTPM: u32 = 2;
    /// APIC emulation.
    pub const APIC: u32 = 3;
}

/// Calls of the core protocol (58019 §7).
pub mod core_call {
    /// Move the calling area: RCX its new GPA.
    pub const REMAP_CA: u32 = 0;
    /// Validate or rescind pages: RCX the GPA of a list.
    pub const PVALIDATE: u32 = 1;
    /// Create a vCPU: RCX VMSA, RDX calling area, R8 APIC ID.
    pub const CREATE_VCPU: u32 = 2;
    /// Delete a vCPU: RCX VMSA.
    pub const DELETE_VCPU: u32 = 3;
    /// Give memory to the SVSM.
    pub const DEPOSIT_MEM: u32 = 4;
    /// Take memory back.
    pub const WITHDRAW_MEM: u32 = 5;
    /// Ask for a protocol: RCX `protocol << 32 | version`.
    pub const QUERY_PROTOCOL: u32 = 6;
    /// Set the virtual top of memory.
    pub const CONFIGURE_VTOM: u32 = 7;
}

/// Calls of the vTPM protocol (58019 §8).
pub mod vtpm_call {
    /// What is there: RCX returns the platform commands as a bit map, RDX features (none).
    pub const QUERY: u32 = 0;
    /// A platform command: RCX the GPA of a [`super::VtpmRequest`].
    pub const CMD: u32 = 1;
}

/// Platform command: execute a TPM command. The numbers are those of the TPM reference's simulator interface.
pub const TPM_SEND_COMMAND: u32 = 8;

/// What TPM_SEND_COMMAND starts with; the command follows at once (58019 §8.2). Not aligned.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, packed)]
pub struct VtpmRequest {
    /// [`TPM_SEND_COMMAND`].
    pub command: U32,
    /// Locality of the command.
    pub locality: u8,
    /// Bytes of the command.
    pub size: U32,
}

const _: () = assert!(core::mem::size_of::<VtpmRequest>() == 9);

/// Most bytes of a buffer of the vTPM protocol: one page, wherever it starts.
pub const VTPM_BUFFER: u64 = 4096;

/// Result codes in RAX (58019 §5.1).
pub mod result {
    /// Done.
    pub const SUCCESS: u64 = 0;
    /// Not finished; call again with the same registers.
    pub const INCOMPLETE: u64 = 0x8000_0000;
    /// Unknown protocol.
    pub const UNSUPPORTED_PROTOCOL: u64 = 0x8000_0001;
    /// Unknown call.
    pub const UNSUPPORTED_CALL: u64 = 0x8000_0002;
    /// An address is misaligned, out of range, or not the guest's.
    pub const INVALID_ADDRESS: u64 = 0x8000_0003;
    /// A structure in memory is malformed.
    pub const INVALID_FORMAT: u64 = 0x8000_0004;
    /// A parameter is malformed.
    pub const INVALID_PARAMETER: u64 = 0x8000_0005;
    /// The call does not fit the present state.
    pub const INVALID_REQUEST: u64 = 0x8000_0006;
    /// Another call is being served; try again.
    pub const BUSY: u64 = 0x8000_0007;
    /// First of the protocol-specific codes.
    pub const PROTOCOL_BASE: u64 = 0x8000_1000;
    /// PVALIDATE: failed with this code of the instruction, added to it.
    pub const PVALIDATE_BASE: u64 = PROTOCOL_BASE;
    /// PVALIDATE: 2 MiB asked for, 4 KiB in the RMP.
    pub const PVALIDATE_SIZE_MISMATCH: u64 = PROTOCOL_BASE + 6;
    /// PVALIDATE: the page already was in the state asked for (carry flag).
    pub const PVALIDATE_NO_CHANGE: u64 = PROTOCOL_BASE + 0x10;
}

/// Header of the list that PVALIDATE takes (58019 §7.1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PvalidateHeader {
    /// How many entries follow.
    pub entries: U16,
    /// The next to be done; advanced by the SVSM as it goes.
    pub next: U16,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(core::mem::size_of::<PvalidateHeader>() == 8);

/// An entry of that list.
pub mod pvalidate_entry {
    /// Page size: 0 is 4 KiB, 1 is 2 MiB, others are reserved.
    pub const SIZE_MASK: u64 = 0b11;
    /// Validate rather than rescind.
    pub const VALIDATE: u64 = 1 << 2;
    /// Do not report that nothing changed.
    pub const IGNORE_CF: u64 = 1 << 3;
    /// Reserved bits.
    pub const RESERVED: u64 = 0xFF0;
    /// The page number's bits, in place.
    pub const GPA_MASK: u64 = !0xFFF;
}
