//! Events through the GHCB page (56421 §2.6, §4). The page is written and read field by field; what comes back is
//! checked in `svsm_core::host_answer`.

use super::super::{Detail, PlatformError, PlatformResult};
use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::mm::SharedPage;
use core::mem::offset_of;
use snp_abi::ghcb::{
    Ghcb, PROTOCOL_VERSION, PSC_MAX_ENTRIES, SHARED_BUFFER_OFFSET, SHARED_BUFFER_SIZE,
    USAGE_STANDARD, psc_entry, valid_bit,
};
use snp_abi::{PageSize, exit, ghcb_msr};
use svsm_abi::termination::Reason;
use svsm_core::boot_params::SERIAL_PORT;
use svsm_core::host_answer::{self, HostError};

/// Fields, by their offsets.
pub const RAX: usize = offset_of!(Ghcb, rax);
/// As above.
pub const RCX: usize = offset_of!(Ghcb, rcx);
/// As above.
pub const RDX: usize = offset_of!(Ghcb, rdx);
const EXIT_CODE: usize = offset_of!(Ghcb, sw_exit_code);
const INFO_1: usize = offset_of!(Ghcb, sw_exit_info_1);
const INFO_2: usize = offset_of!(Ghcb, sw_exit_info_2);
const SCRATCH: usize = offset_of!(Ghcb, sw_scratch);
const VALID: usize = offset_of!(Ghcb, valid_bitmap);
/// The quadword that ends the page: version in bits 31:16, usage in 63:32.
const VERSION_AND_USAGE: usize = 0xFF8;
const _: () = assert!(offset_of!(Ghcb, protocol_version) == VERSION_AND_USAGE + 2);
const _: () = assert!(offset_of!(Ghcb, ghcb_usage) == VERSION_AND_USAGE + 4);

const BUFFER: usize = SHARED_BUFFER_OFFSET as usize;

/// This CPU's GHCB.
pub fn current() -> PlatformResult<SharedPage> {
    this_cpu().ghcb.get().ok_or(PlatformError {
        reason: Reason::HostAnswer,
        detail: Detail::Value("no GHCB on vCPU", this_cpu().index.get() as u64),
    })
}

/// An event to be issued.
pub struct Event {
    code: u64,
    info1: u64,
    info2: u64,
    /// Further fields, by offset.
    fields: [(usize, u64); 3],
    count: usize,
}

impl Event {
    /// An event with its exit information.
    pub const fn new(code: u64, info1: u64, info2: u64) -> Event {
        Event {
            code,
            info1,
            info2,
            fields: [(0, 0); 3],
            count: 0,
        }
    }

    /// Adds a field.
    pub fn with(mut self, offset: usize, value: u64) -> Event {
        self.fields[self.count] = (offset, value);
        self.count += 1;
        self
    }

    /// Issues the event and checks that the host did it.
    pub fn issue(self, page: SharedPage) -> Result<(), HostError> {
        let mut valid = 0u128;
        let common = [
            (EXIT_CODE, self.code),
            (INFO_1, self.info1),
            (INFO_2, self.info2),
        ];
        for &(offset, value) in common.iter().chain(&self.fields[..self.count]) {
            page.write(offset, value);
            valid |= 1 << valid_bit(offset);
        }
        page.write(VALID, valid as u64);
        page.write(VALID + 8, (valid >> 64) as u64);
        page.write(
            VERSION_AND_USAGE,
            (PROTOCOL_VERSION as u64) << 16 | (USAGE_STANDARD as u64) << 32,
        );
        cpu::vmgexit(page.gpa());
        host_answer::event(self.code, page.read(INFO_1), page.read(INFO_2))
    }
}

/// Writes a string to the serial port, as much of it as one exit takes. There is nobody to tell of a failure.
pub fn output_string(page: SharedPage, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(SHARED_BUFFER_SIZE)];
    page.write_bytes(BUFFER, bytes);
    // REP OUTSB from DS with 64-bit addresses.
    let info1 = (SERIAL_PORT as u64) << exit::ioio::PORT_SHIFT
        | exit::ioio::STRING
        | exit::ioio::REP
        | exit::ioio::SIZE_8
        | exit::ioio::ADDRESS_64
        | 3 << exit::ioio::SEGMENT_SHIFT;
    let _ = Event::new(exit::IOIO, info1, bytes.len() as u64)
        .with(SCRATCH, page.gpa() + SHARED_BUFFER_OFFSET)
        .issue(page);
}

/// Has the host make pages private, by as few exits as possible.
pub fn make_private(
    page: SharedPage,
    mut pages: impl Iterator<Item = (u64, PageSize)>,
) -> Result<(), HostError> {
    loop {
        let mut count = 0;
        for (gpa, size) in pages.by_ref().take(PSC_MAX_ENTRIES) {
            let entry = psc_entry(gpa, ghcb_msr::PSC_PRIVATE, size);
            count += 1;
            page.write(BUFFER + count * 8, entry);
        }
        if count == 0 {
            return Ok(());
        }
        page_state_change(page, count as u16 - 1)?;
    }
}

/// Issues the list in the shared buffer until the host is through with it.
fn page_state_change(page: SharedPage, end: u16) -> Result<(), HostError> {
    // Header: current entry in 15:0, last one in 31:16.
    page.write(BUFFER, (end as u64) << 16);
    let mut current = 0;
    loop {
        let scratch = page.gpa() + SHARED_BUFFER_OFFSET;
        Event::new(exit::PAGE_STATE_CHANGE, 0, 0)
            .with(SCRATCH, scratch)
            .issue(page)?;
        let info2 = page.read(INFO_2);
        if info2 != 0 {
            return Err(HostError::Event {
                event: exit::PAGE_STATE_CHANGE,
                info1: 0,
                info2,
            });
        }
        let next = page.read(BUFFER) as u16;
        if host_answer::page_state_progress(current, next, end)? {
            return Ok(());
        }
        current = next;
    }
}
