//! Non-automatic exits as functions: each fills the GHCB as 56421 §4 asks for and reads the result.

use crate::cpu::{self, Cpuid};
use crate::ghcb::{Field, Ghcb, GhcbError};
use snp_abi::exit::{self, ioio};
use snp_abi::ghcb::{PSC_MAX_ENTRIES, PscHeader, SHARED_BUFFER_SIZE};
use zerocopy::IntoBytes;

fn begin() -> Ghcb {
    let ghcb = Ghcb::current();
    ghcb.begin();
    ghcb
}

/// CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> Result<Cpuid, GhcbError> {
    let ghcb = begin();
    ghcb.set(Field::Rax, leaf as u64);
    ghcb.set(Field::Rcx, subleaf as u64);
    if leaf == 0xD {
        let xcr0 = if cpu::cr4() & 1 << 18 != 0 {
            cpu::xgetbv()
        } else {
            1
        };
        ghcb.set(Field::Xcr0, xcr0);
    }
    ghcb.exit(exit::CPUID, 0, 0)?;
    Ok(Cpuid {
        eax: ghcb.get(Field::Rax) as u32,
        ebx: ghcb.get(Field::Rbx) as u32,
        ecx: ghcb.get(Field::Rcx) as u32,
        edx: ghcb.get(Field::Rdx) as u32,
    })
}

/// RDMSR.
pub fn rdmsr(msr: u32) -> Result<u64, GhcbError> {
    let ghcb = begin();
    ghcb.set(Field::Rcx, msr as u64);
    ghcb.exit(exit::MSR, 0, 0)?;
    Ok(ghcb.get(Field::Rdx) << 32 | ghcb.get(Field::Rax) & 0xFFFF_FFFF)
}

/// WRMSR.
pub fn wrmsr(msr: u32, value: u64) -> Result<(), GhcbError> {
    let ghcb = begin();
    ghcb.set(Field::Rcx, msr as u64);
    ghcb.set(Field::Rax, value & 0xFFFF_FFFF);
    ghcb.set(Field::Rdx, value >> 32);
    ghcb.exit(exit::MSR, 1, 0)?;
    Ok(())
}

/// RDTSC.
pub fn rdtsc() -> Result<u64, GhcbError> {
    let ghcb = begin();
    ghcb.exit(exit::RDTSC, 0, 0)?;
    Ok(ghcb.get(Field::Rdx) << 32 | ghcb.get(Field::Rax) & 0xFFFF_FFFF)
}

/// WBINVD.
pub fn wbinvd() -> Result<(), GhcbError> {
    begin().exit(exit::WBINVD, 0, 0)?;
    Ok(())
}

/// Says that the NMI handler is done (56421 §4.1.2).
pub fn nmi_complete() -> Result<(), GhcbError> {
    begin().exit(exit::NMI_COMPLETE, 0, 0)?;
    Ok(())
}

/// Waits in the hypervisor until this vCPU is started anew (56421 §4.1.3); SW_EXITINFO2 is not 0 when a start-up IPI
/// ended it.
pub fn ap_reset_hold() -> Result<u64, GhcbError> {
    begin().exit(exit::AP_RESET_HOLD, 0, 0)
}

fn port_flags(port: u16, size: u64) -> u64 {
    (port as u64) << ioio::PORT_SHIFT | size << 4
}

/// IN of 1, 2 or 4 bytes.
pub fn port_in(port: u16, size: u64) -> Result<u32, GhcbError> {
    let ghcb = begin();
    ghcb.set(Field::Rax, 0);
    ghcb.exit(
        exit::IOIO,
        port_flags(port, size) | ioio::ADDRESS_64 | ioio::IN,
        0,
    )?;
    let mask = if size == 4 {
        u32::MAX
    } else {
        (1 << (size * 8)) - 1
    };
    Ok(ghcb.get(Field::Rax) as u32 & mask)
}

/// OUT of 1, 2 or 4 bytes.
pub fn port_out(port: u16, size: u64, value: u32) -> Result<(), GhcbError> {
    let ghcb = begin();
    let mask = if size == 4 {
        u32::MAX
    } else {
        (1 << (size * 8)) - 1
    };
    ghcb.set(Field::Rax, (value & mask) as u64);
    ghcb.exit(exit::IOIO, port_flags(port, size) | ioio::ADDRESS_64, 0)?;
    Ok(())
}

/// REP OUTSB: writes all bytes to the port.
pub fn port_out_string(port: u16, bytes: &[u8]) -> Result<(), GhcbError> {
    for chunk in bytes.chunks(SHARED_BUFFER_SIZE) {
        let ghcb = begin();
        ghcb.write_buffer(chunk);
        ghcb.set(Field::Scratch, ghcb.buffer_gpa());
        // Segment DS, as OUTS has it.
        let flags = ioio::STRING | ioio::REP | ioio::ADDRESS_64 | 3 << ioio::SEGMENT_SHIFT;
        ghcb.exit(exit::IOIO, port_flags(port, 1) | flags, chunk.len() as u64)?;
    }
    Ok(())
}

/// REP INSB: fills the bytes from the port.
pub fn port_in_string(port: u16, bytes: &mut [u8]) -> Result<(), GhcbError> {
    for chunk in bytes.chunks_mut(SHARED_BUFFER_SIZE) {
        let ghcb = begin();
        ghcb.set(Field::Scratch, ghcb.buffer_gpa());
        let flags = ioio::STRING | ioio::REP | ioio::ADDRESS_64 | ioio::IN;
        ghcb.exit(exit::IOIO, port_flags(port, 1) | flags, chunk.len() as u64)?;
        ghcb.read_buffer(chunk);
    }
    Ok(())
}

/// MMIO read of 1, 2, 4 or 8 bytes.
pub fn mmio_read(gpa: u64, size: u64) -> Result<u64, GhcbError> {
    let ghcb = begin();
    ghcb.write_buffer(&[0; 8]);
    ghcb.set(Field::Scratch, ghcb.buffer_gpa());
    ghcb.exit(exit::MMIO_READ, gpa, size)?;
    let mut bytes = [0; 8];
    ghcb.read_buffer(&mut bytes[..size.min(8) as usize]);
    Ok(u64::from_le_bytes(bytes))
}

/// MMIO write of 1, 2, 4 or 8 bytes.
pub fn mmio_write(gpa: u64, size: u64, value: u64) -> Result<(), GhcbError> {
    let ghcb = begin();
    ghcb.write_buffer(&value.to_le_bytes());
    ghcb.set(Field::Scratch, ghcb.buffer_gpa());
    ghcb.exit(exit::MMIO_WRITE, gpa, size)?;
    Ok(())
}

/// A page state change that did not go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PscError {
    /// The request itself was refused.
    Ghcb(GhcbError),
    /// SW_EXITINFO2 of the page state change.
    Info2(u64),
    /// The hypervisor did not work through the list: `cur_entry`, `end_entry`.
    Stuck(u16, u16),
}

/// Page state changes for up to [`PSC_MAX_ENTRIES`] entries, made by [`snp_abi::ghcb::psc_entry`].
pub fn page_state_change(entries: &[u64]) -> Result<(), PscError> {
    for chunk in entries.chunks(PSC_MAX_ENTRIES) {
        let ghcb = begin();
        let end = chunk.len() as u16 - 1;
        let mut header = PscHeader::default();
        header.end_entry.set(end);
        let mut word = [0; 8];
        word.copy_from_slice(header.as_bytes());
        ghcb.write(0x800, u64::from_le_bytes(word));
        for (i, entry) in chunk.iter().enumerate() {
            ghcb.write(0x808 + i * 8, *entry);
        }
        let mut before = 0;
        loop {
            ghcb.begin();
            ghcb.set(Field::Scratch, ghcb.buffer_gpa());
            let info2 = ghcb
                .exit(exit::PAGE_STATE_CHANGE, 0, 0)
                .map_err(PscError::Ghcb)?;
            if info2 != 0 {
                return Err(PscError::Info2(info2));
            }
            let header = ghcb.read(0x800);
            let (current, now_end) = (header as u16, (header >> 16) as u16);
            if now_end != end || header >> 32 != 0 {
                return Err(PscError::Stuck(current, now_end));
            }
            if current > end {
                break;
            }
            // An entry of 2 MiB may take several exits: its cur_page moves then.
            let progress = (current as u64) << 12 | ghcb.read(0x808 + current as usize * 8) & 0xFFF;
            if progress <= before {
                return Err(PscError::Stuck(current, now_end));
            }
            before = progress;
        }
    }
    Ok(())
}

/// Creates (at INIT, or now) or destroys the vCPU's VMPL: `operation` is one of `exit::AP_*`.
pub fn ap_creation(
    operation: u64,
    apic_id: u32,
    vmpl: u8,
    vmsa_gpa: u64,
    features: u64,
) -> Result<(), GhcbError> {
    let ghcb = begin();
    if operation != exit::AP_DESTROY {
        ghcb.set(Field::Rax, features);
    }
    let info1 = (apic_id as u64) << 32 | (vmpl as u64) << 16 | operation;
    ghcb.exit(exit::AP_CREATION, info1, vmsa_gpa)?;
    Ok(())
}

/// Runs another VMPL of this vCPU; returns when this one runs again.
pub fn run_vmpl(vmpl: u64) -> Result<(), GhcbError> {
    begin().exit(exit::RUN_VMPL, vmpl, 0)?;
    Ok(())
}

/// The hypervisor's features.
pub fn hv_features() -> Result<u64, GhcbError> {
    begin().exit(exit::HV_FEATURES, 0, 0)
}

/// Hypervisor requested APIC ID list: RAX pages at `gpa` in, RAX out (56421 §4.1.15).
pub fn apic_ids(pages: u64, gpa: u64) -> Result<u64, GhcbError> {
    let ghcb = begin();
    ghcb.set(Field::Rax, pages);
    ghcb.exit(exit::GET_APIC_IDS, gpa, 0)?;
    Ok(ghcb.get(Field::Rax))
}

/// Message to the firmware: request and response pages are shared.
pub fn guest_request(request: u64, response: u64) -> Result<u64, GhcbError> {
    begin().exit(exit::GUEST_REQUEST, request, response)
}

/// #HV doorbell page (56421 §4.1.10): `operation` is one of `exit::DOORBELL_*`; SW_EXITINFO2.
pub fn hv_doorbell(operation: u64, gpa: u64) -> Result<u64, GhcbError> {
    begin().exit(exit::HV_DOORBELL, operation, gpa)
}
