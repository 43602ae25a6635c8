//! The GHCB page: making one, and filling, sending and reading a request field by field.
//!
//! The page is shared with the hypervisor, so it is never referenced, only copied by volatile reads and writes.
//! [`crate::nae`] has the events as functions; this module also lets tests send what is malformed.

use crate::context::Context;
use crate::{cpu, memory, msr_protocol, paging, pool, snp};
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use snp_abi::ghcb as abi;
use snp_abi::msr;

/// Quadword fields of the page, by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Field {
    Cpl = offset_of!(abi::Ghcb, cpl) & !7,
    Xss = offset_of!(abi::Ghcb, xss),
    Dr7 = offset_of!(abi::Ghcb, dr7),
    Rip = offset_of!(abi::Ghcb, rip),
    Rsp = offset_of!(abi::Ghcb, rsp),
    Rax = offset_of!(abi::Ghcb, rax),
    Rcx = offset_of!(abi::Ghcb, rcx),
    Rdx = offset_of!(abi::Ghcb, rdx),
    Rbx = offset_of!(abi::Ghcb, rbx),
    Rbp = offset_of!(abi::Ghcb, rbp),
    Rsi = offset_of!(abi::Ghcb, rsi),
    Rdi = offset_of!(abi::Ghcb, rdi),
    ExitCode = offset_of!(abi::Ghcb, sw_exit_code),
    ExitInfo1 = offset_of!(abi::Ghcb, sw_exit_info_1),
    ExitInfo2 = offset_of!(abi::Ghcb, sw_exit_info_2),
    Scratch = offset_of!(abi::Ghcb, sw_scratch),
    Xcr0 = offset_of!(abi::Ghcb, xcr0),
}

/// A request that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhcbError {
    /// The hypervisor asks for this exception (EVENTINJ format) to be raised: #GP for an unknown MSR, say.
    Exception(u64),
    /// The request was malformed: one of [`abi::malformed`].
    Malformed(u64),
    /// Something else: SW_EXITINFO1 and SW_EXITINFO2.
    Other(u64, u64),
}

/// The EVENTINJ value of #GP with error code 0, and without an error code, as KVM writes it.
pub const EVENT_GP: u64 = 0x8000_030D;

/// A GHCB page that is shared, mapped identity with C=0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ghcb {
    gpa: u64,
}

impl Ghcb {
    /// The running context's GHCB.
    pub fn current() -> Ghcb {
        Ghcb {
            gpa: Context::current().ghcb.load(Ordering::Relaxed),
        }
    }

    /// Whether the running context has a GHCB.
    pub fn ready() -> bool {
        Context::current().ghcb.load(Ordering::Relaxed) != 0
    }

    /// The GHCB at `gpa`, a page that [`Ghcb::new`] made.
    pub(crate) fn at(gpa: u64) -> Ghcb {
        Ghcb { gpa }
    }

    /// Its address.
    pub fn gpa(self) -> u64 {
        self.gpa
    }

    /// Makes a page of the pool shared and treats it as a GHCB. It is not registered yet.
    pub fn new() -> Result<Ghcb, memory::MemoryError> {
        let gpa = pool::pages(1);
        memory::share_page(gpa)?;
        let ghcb = Ghcb { gpa };
        ghcb.wipe();
        Ok(ghcb)
    }

    /// Registers this page for the running vCPU and VMPL and makes it the running context's.
    pub fn register(self) -> Result<(), msr_protocol::BadResponse> {
        msr_protocol::register_ghcb(self.gpa)?;
        Context::current().ghcb.store(self.gpa, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the running context's page private again and leaves the GHCB MSR zero. From here on there are no ports and
    /// no console; SVSM calls go by the MSR protocol.
    pub fn retire(self) -> Result<(), memory::MemoryError> {
        Context::current().ghcb.store(0, Ordering::Relaxed);
        memory::unshare_page(self.gpa)?;
        // SAFETY: the GHCB MSR only says where the hypervisor finds the page.
        unsafe { cpu::wrmsr(msr::GHCB, 0) };
        Ok(())
    }

    /// Fills the whole page with zeros.
    pub fn wipe(self) {
        for offset in (0..4096).step_by(8) {
            self.write(offset, 0);
        }
    }

    /// Writes a quadword at an offset.
    pub fn write(self, offset: usize, value: u64) {
        // SAFETY: the page is mapped and ours to share with the hypervisor; offsets are within it.
        unsafe { ((self.gpa + (offset & 0xFF8) as u64) as *mut u64).write_volatile(value) };
    }

    /// Reads a quadword at an offset.
    pub fn read(self, offset: usize) -> u64 {
        // SAFETY: as in `write`.
        unsafe { ((self.gpa + (offset & 0xFF8) as u64) as *const u64).read_volatile() }
    }

    /// Clears the valid bitmap, sets version and usage: how a request begins.
    pub fn begin(self) {
        let bitmap = offset_of!(abi::Ghcb, valid_bitmap);
        self.write(bitmap, 0);
        self.write(bitmap + 8, 0);
        let tail = self.read(0xFF8) & 0xFFFF;
        self.write(
            0xFF8,
            tail | (abi::PROTOCOL_VERSION as u64) << 16 | (abi::USAGE_STANDARD as u64) << 32,
        );
    }

    /// Sets the usage field.
    pub fn set_usage(self, usage: u32) {
        let tail = self.read(0xFF8) & 0xFFFF_FFFF;
        self.write(0xFF8, tail | (usage as u64) << 32);
    }

    /// Writes a field and marks it valid.
    pub fn set(self, field: Field, value: u64) {
        let value = match field {
            Field::Cpl => self.read(field as usize) & !(0xFF << 24) | (value & 0xFF) << 24,
            _ => value,
        };
        self.write(field as usize, value);
        let bit = abi::valid_bit(field as usize);
        let word = offset_of!(abi::Ghcb, valid_bitmap) + bit / 64 * 8;
        self.write(word, self.read(word) | 1 << (bit % 64));
    }

    /// Marks a field not valid.
    pub fn clear_valid(self, field: Field) {
        let bit = abi::valid_bit(field as usize);
        let word = offset_of!(abi::Ghcb, valid_bitmap) + bit / 64 * 8;
        self.write(word, self.read(word) & !(1 << (bit % 64)));
    }

    /// Reads a field.
    pub fn get(self, field: Field) -> u64 {
        self.read(field as usize)
    }

    /// Whether a field is marked valid.
    pub fn valid(self, field: Field) -> bool {
        let bit = abi::valid_bit(field as usize);
        self.read(offset_of!(abi::Ghcb, valid_bitmap) + bit / 64 * 8) >> (bit % 64) & 1 != 0
    }

    /// GPA of the shared buffer.
    pub fn buffer_gpa(self) -> u64 {
        self.gpa + abi::SHARED_BUFFER_OFFSET
    }

    /// Copies bytes into the shared buffer; returns how many fitted.
    pub fn write_buffer(self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(abi::SHARED_BUFFER_SIZE);
        for (i, byte) in bytes[..count].iter().enumerate() {
            // SAFETY: within the shared buffer, which is mapped.
            unsafe { ((self.buffer_gpa() + i as u64) as *mut u8).write_volatile(*byte) };
        }
        count
    }

    /// Copies bytes out of the shared buffer; returns how many.
    pub fn read_buffer(self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(abi::SHARED_BUFFER_SIZE);
        for (i, byte) in bytes[..count].iter_mut().enumerate() {
            // SAFETY: within the shared buffer, which is mapped.
            *byte = unsafe { ((self.buffer_gpa() + i as u64) as *const u8).read_volatile() };
        }
        count
    }

    /// Sets exit code and infos.
    pub fn set_exit(self, code: u64, info1: u64, info2: u64) {
        self.set(Field::ExitCode, code);
        self.set(Field::ExitInfo1, info1);
        self.set(Field::ExitInfo2, info2);
    }

    /// Exits to the hypervisor with the page as it is, and returns SW_EXITINFO1 and SW_EXITINFO2.
    pub fn exit_raw(self) -> (u64, u64) {
        // SAFETY: the GHCB MSR only says where the hypervisor finds the page.
        unsafe { cpu::wrmsr(msr::GHCB, self.gpa) };
        snp::vmgexit();
        (self.get(Field::ExitInfo1), self.get(Field::ExitInfo2))
    }

    /// Completes a request that [`Ghcb::begin`] began, sends it, and returns SW_EXITINFO2.
    pub fn exit(self, code: u64, info1: u64, info2: u64) -> Result<u64, GhcbError> {
        self.set_exit(code, info1, info2);
        let (info1, info2) = self.exit_raw();
        match info1 & 0xFFFF_FFFF {
            abi::RESULT_OK => Ok(info2),
            abi::RESULT_EXCEPTION => Err(GhcbError::Exception(info2)),
            abi::RESULT_MALFORMED => Err(GhcbError::Malformed(info2)),
            _ => Err(GhcbError::Other(info1, info2)),
        }
    }
}

/// Makes and registers the boot processor's GHCB.
pub(crate) fn init_boot() -> Result<(), memory::MemoryError> {
    let ghcb = Ghcb::new()?;
    ghcb.register()?;
    Ok(())
}

/// Whether `va` is mapped with C=1.
pub fn is_private_mapping(va: u64) -> bool {
    paging::entry(va).is_ok_and(|entry| entry & paging::c_bit() != 0)
}
