//! MMIO: device memory that the guest's #VC handler accesses through its hypervisor. The local APIC is filtered, everything
//! else is QEMU's.

use super::page::{Shared, copy_buffer};
use crate::arch::phys;
use crate::memory::{self, Place};
use crate::vcpu::Vcpu;
use crate::{apic, trace};
use snp_abi::ghcb::SHARED_BUFFER_OFFSET;
use snp_model::ghcb::{Malformed, Reply, Scratch};
use snp_model::trace::Topic;

fn invalid(gpa: u64) -> Reply {
    Reply::malformed(Malformed::InvalidInput {
        exit_code: snp_abi::exit::MMIO_READ,
        field: "GPA",
        value: gpa,
    })
}

fn is_device(gpa: u64, size: u8) -> bool {
    let Some(last) = gpa.checked_add(u64::from(size) - 1) else {
        return false;
    };
    let memory = memory::lock();
    memory.place(gpa) == Place::Device && memory.place(last) == Place::Device
}

/// Device accesses are of 1, 2, 4 or 8 bytes; others are done byte by byte.
fn step(gpa: u64, size: u8) -> u8 {
    if size.is_power_of_two() && gpa.is_multiple_of(size.into()) {
        size
    } else {
        1
    }
}

/// Reads `size` bytes at `gpa` into the scratch area.
pub fn read(vcpu: &mut Vcpu, page: Shared, gpa: u64, size: u8, scratch: Scratch) -> Reply {
    if size == 0 {
        return Reply::OK;
    }
    let mut bytes = [0; 8];
    if let Some(register) = apic::register_at(vcpu, gpa) {
        bytes[..4].copy_from_slice(&apic::read_xapic(vcpu, register).to_le_bytes());
    } else if is_device(gpa, size) {
        let step = step(gpa, size);
        for i in (0..size).step_by(step.into()) {
            let Some(value) = phys::mmio_read(gpa + u64::from(i), step) else {
                return invalid(gpa);
            };
            let at = usize::from(i);
            bytes[at..at + usize::from(step)].copy_from_slice(&value.to_le_bytes()[..step.into()]);
        }
    } else {
        return invalid(gpa);
    }
    trace!(
        vcpu,
        Topic::Mmio,
        "read {gpa:#x} {size}: {:#x}",
        u64::from_le_bytes(bytes)
    );
    page.write(scratch.offset.into(), &bytes[..size.into()]);
    Reply::OK
}

/// Writes `size` bytes from the scratch area to `gpa`.
pub fn write(vcpu: &mut Vcpu, page: Shared, gpa: u64, size: u8, scratch: Scratch) -> Reply {
    if size == 0 {
        return Reply::OK;
    }
    copy_buffer(vcpu, page);
    let start = usize::from(scratch.offset) - SHARED_BUFFER_OFFSET as usize;
    let mut bytes = [0; 8];
    let Some(data) = vcpu
        .ghcb
        .shared_buffer
        .get(start..start + usize::from(size))
    else {
        return invalid(gpa);
    };
    bytes[..size.into()].copy_from_slice(data);
    let value = u64::from_le_bytes(bytes);
    trace!(vcpu, Topic::Mmio, "write {gpa:#x} {size}: {value:#x}");
    if let Some(register) = apic::register_at(vcpu, gpa) {
        apic::write_xapic(vcpu, register, value as u32);
        return Reply::OK;
    }
    if !is_device(gpa, size) {
        return invalid(gpa);
    }
    let step = step(gpa, size);
    for i in (0..size).step_by(step.into()) {
        let part = value >> (8 * i);
        if crate::arch::device::write(gpa + u64::from(i), step, part).is_none() {
            return invalid(gpa);
        }
    }
    Reply::OK
}
