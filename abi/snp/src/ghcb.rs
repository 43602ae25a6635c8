//! The GHCB page (56421 §2.6 and Linux `struct ghcb`).
//!
//! The page is shared: it is never referenced as this structure, only copied field by field; the structure gives
//! the offsets.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The page's layout.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Ghcb {
    pub reserved_0: [u8; 0xCB],
    pub cpl: u8,
    pub reserved_cc: [u8; 0x140 - 0xCC],
    pub xss: U64,
    pub reserved_148: [u8; 0x160 - 0x148],
    pub dr7: U64,
    pub reserved_168: [u8; 0x178 - 0x168],
    pub rip: U64,
    pub reserved_180: [u8; 0x1D8 - 0x180],
    pub rsp: U64,
    pub reserved_1e0: [u8; 0x1F8 - 0x1E0],
    pub rax: U64,
    pub reserved_200: [u8; 0x308 - 0x200],
    pub rcx: U64,
    pub rdx: U64,
    pub rbx: U64,
    pub reserved_320: U64,
    pub rbp: U64,
    pub rsi: U64,
    pub rdi: U64,
    pub r8_to_r15: [U64; 8],
    pub reserved_380: [u8; 0x390 - 0x380],
    pub sw_exit_code: U64,
    pub sw_exit_info_1: U64,
    pub sw_exit_info_2: U64,
    pub sw_scratch: U64,
    pub reserved_3b0: [u8; 0x3E8 - 0x3B0],
    pub xcr0: U64,
    /// Bit n says that the quadword at offset 8 n is valid.
    pub valid_bitmap: [u8; 16],
    pub x87_state_gpa: U64,
    pub reserved_408: [u8; 0x800 - 0x408],
    pub shared_buffer: [u8; SHARED_BUFFER_SIZE],
    pub reserved_ff0: [u8; 10],
    pub protocol_version: U16,
    pub ghcb_usage: U32,
}

/// Bytes of the shared buffer at offset 0x800.
pub const SHARED_BUFFER_SIZE: usize = 2032;
/// Offset of the shared buffer.
pub const SHARED_BUFFER_OFFSET: u64 = 0x800;
/// The usage value of a page in the layout above.
pub const USAGE_STANDARD: u32 = 0;
/// Highest protocol version that this project speaks.
pub const PROTOCOL_VERSION: u16 = 2;

crate::assert_layout!(Ghcb, size 4096, cpl @ 0xCB, xss @ 0x140, dr7 @ 0x160, rip @ 0x178, rsp @ 0x1D8, rax @ 0x1F8,
    rcx @ 0x308, rdx @ 0x310, rbx @ 0x318, rsi @ 0x330, rdi @ 0x338, sw_exit_code @ 0x390, sw_exit_info_1 @ 0x398,
    sw_exit_info_2 @ 0x3A0, sw_scratch @ 0x3A8, xcr0 @ 0x3E8, valid_bitmap @ 0x3F0, shared_buffer @ 0x800,
    protocol_version @ 0xFFA, ghcb_usage @ 0xFFC);

/// The bit of the valid bitmap for the field at this offset.
pub const fn valid_bit(offset: usize) -> usize {
    offset / 8
}

/// Low half of SW_EXITINFO1 on return (56421 §2.3.2): done.
pub const RESULT_OK: u64 = 0;
/// As above: raise the exception in SW_EXITINFO2, which is in EVENTINJ's format.
pub const RESULT_EXCEPTION: u64 = 1;
/// As above: the request was malformed; SW_EXITINFO2 says how.
pub const RESULT_MALFORMED: u64 = 2;

/// SW_EXITINFO2 with [`RESULT_MALFORMED`].
pub mod malformed {
    /// The GHCB is not the registered one.
    pub const NOT_REGISTERED: u64 = 1;
    /// Unknown usage value.
    pub const USAGE: u64 = 2;
    /// The scratch area is not where it must be.
    pub const SCRATCH: u64 = 3;
    /// A field that the event needs is not marked valid.
    pub const MISSING_INPUT: u64 = 4;
    /// A field has a value that the event does not take.
    pub const INVALID_INPUT: u64 = 5;
    /// Unknown event.
    pub const INVALID_EVENT: u64 = 6;
}

/// Header of a page state change request in the shared buffer (56421 §4.1.6).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[allow(missing_docs)]
pub struct PscHeader {
    pub cur_entry: U16,
    pub end_entry: U16,
    pub reserved: U32,
}

/// Entries that fit the shared buffer.
pub const PSC_MAX_ENTRIES: usize = (SHARED_BUFFER_SIZE - 8) / 8;
const _: () = assert!(PSC_MAX_ENTRIES == 253);

/// One entry of a page state change: cur_page 11:0, page number 51:12, operation 55:52, 2 MiB 56.
pub const fn psc_entry(gpa: u64, operation: u64, size: crate::PageSize) -> u64 {
    (gpa & 0x000F_FFFF_FFFF_F000) | operation << 52 | (size as u64) << 56
}
