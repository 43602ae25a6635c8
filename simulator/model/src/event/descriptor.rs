//! What event delivery reads from memory: IDT gates, code descriptors, stack pointers in the TSS.

use super::{DeliveryError, Event, EventKind, Interruption};
use crate::Geometry;
use crate::walk::{
    AccessedDirty, GuestMemory, LinearAccess, Paging, WalkFault, is_canonical, read_linear,
    translate,
};
use snp_abi::vmsa::{Segment, Vmsa};

/// Error code bit: the fault came up while something outside the program was delivered.
const EXT: u32 = 1 << 0;
/// Error code bit: the selector index is one of the IDT.
const IDT: u32 = 1 << 1;

/// Access to one vCPU's memory on behalf of one event.
pub(super) struct Context<'a, M: ?Sized> {
    pub cpu: &'a Vmsa,
    pub memory: &'a mut M,
    pub paging: Paging,
    pub event: Event,
}

/// An IDT gate.
pub(super) struct Gate {
    pub selector: u16,
    pub offset: u64,
    /// Interrupt stack table index, 0 for none.
    pub ist: u8,
    /// Interrupt gates clear RFLAGS.IF, trap gates do not.
    pub clears_if: bool,
    /// 16-bit gate (legacy modes).
    pub is_16_bit: bool,
}

/// A code segment descriptor.
pub(super) struct Code {
    pub segment: Segment,
    pub dpl: u8,
    pub conforming: bool,
}

impl<'a, M: GuestMemory + ?Sized> Context<'a, M> {
    pub fn new(cpu: &'a Vmsa, memory: &'a mut M, geometry: Geometry, event: Event) -> Self {
        Context {
            cpu,
            memory,
            paging: Paging::of(cpu, geometry),
            event,
        }
    }

    /// #GP, #NP, #TS or #SS with this selector or vector in the error code, EXT added.
    pub fn fault(&self, vector: u8, error_code: u32) -> Interruption {
        let ext = if self.event.kind == EventKind::SoftwareInterrupt {
            0
        } else {
            EXT
        };
        Interruption::Exception(Event::exception(vector, Some(error_code | ext)))
    }

    fn gate_fault(&self, vector: u8) -> Interruption {
        self.fault(vector, u32::from(self.event.vector) << 3 | IDT)
    }

    /// A page-walk failure as what it becomes during delivery; `stack` accesses fault with #SS.
    pub fn walk_fault(&self, fault: WalkFault, stack: bool) -> Interruption {
        match fault {
            WalkFault::PageFault { va, error_code } => {
                Interruption::Exception(Event::pf(va, error_code))
            }
            WalkFault::NonCanonical { .. } => self.fault(if stack { 12 } else { 13 }, 0),
            WalkFault::Memory(violation) => Interruption::Memory(violation),
            WalkFault::FiveLevel => Interruption::NotModelled(DeliveryError::FiveLevel),
        }
    }

    /// Reads a system structure (IDT, GDT, TSS): supervisor whatever the CPL.
    pub fn read<const N: usize>(&mut self, va: u64) -> Result<[u8; N], Interruption> {
        let mut bytes = [0; N];
        read_linear(
            self.memory,
            &self.paging,
            va,
            LinearAccess::SYSTEM_READ,
            &mut bytes,
        )
        .map_err(|fault| self.walk_fault(fault, false))?;
        Ok(bytes)
    }

    /// The IDT's gate for the event, checked (APM vol. 2 §8.7.2, §8.9.3).
    pub fn gate(&mut self, long: bool) -> Result<Gate, Interruption> {
        let size: u64 = if long { 16 } else { 8 };
        let offset = u64::from(self.event.vector) * size;
        if offset + size - 1 > u64::from(self.cpu.idtr.limit.get()) {
            return Err(self.gate_fault(13));
        }
        let at = self.cpu.idtr.base.get().wrapping_add(offset);
        let (low, high) = if long {
            let bytes: [u8; 16] = self.read(at)?;
            let value = u128::from_le_bytes(bytes);
            (value as u64, (value >> 64) as u64)
        } else {
            (u64::from_le_bytes(self.read(at)?), 0)
        };
        let kind = (low >> 40 & 0x1F) as u8; // The S bit must be 0.
        let (clears_if, is_16_bit) = match kind {
            0xE => (true, false),
            0xF => (false, false),
            0x6 if !long => (true, true),
            0x7 if !long => (false, true),
            0x5 if !long => {
                return Err(Interruption::NotModelled(DeliveryError::TaskGate {
                    vector: self.event.vector,
                }));
            }
            _ => return Err(self.gate_fault(13)),
        };
        let dpl = (low >> 45 & 3) as u8;
        if self.event.kind == EventKind::SoftwareInterrupt && dpl < self.cpu.cpl {
            return Err(self.gate_fault(13));
        }
        if low >> 47 & 1 == 0 {
            return Err(self.gate_fault(11));
        }
        let mut offset = (low & 0xFFFF) | (low >> 48) << 16;
        if is_16_bit {
            offset &= 0xFFFF;
        }
        Ok(Gate {
            selector: (low >> 16) as u16,
            offset: offset | (high & 0xFFFF_FFFF) << 32,
            ist: if long { (low >> 32 & 7) as u8 } else { 0 },
            clears_if,
            is_16_bit,
        })
    }

    /// The handler's code segment (APM vol. 2 §8.9.3), its accessed bit set in memory as well.
    pub fn code(&mut self, selector: u16, long: bool) -> Result<Code, Interruption> {
        let index = u32::from(selector & !7);
        if selector & !3 == 0 {
            return Err(self.fault(13, 0));
        }
        let table = if selector & 4 == 0 {
            self.cpu.gdtr
        } else {
            self.cpu.ldtr
        };
        let error_code = u32::from(selector & !3);
        if index + 7 > table.limit.get() {
            return Err(self.fault(13, error_code));
        }
        let at = table.base.get().wrapping_add(u64::from(index));
        let raw = u64::from_le_bytes(self.read(at)?);
        let attributes = ((raw >> 40 & 0xFF) | (raw >> 52 & 0xF) << 8) as u16;
        // S and the code bit; 64-bit mode wants L without D.
        let is_code = attributes & 0x18 == 0x18;
        let dpl = (attributes >> 5 & 3) as u8;
        let is_64_bit = attributes & 0x600 == 0x200;
        if !is_code || dpl > self.cpu.cpl || (long && !is_64_bit) {
            return Err(self.fault(13, error_code));
        }
        if attributes & 0x80 == 0 {
            return Err(self.fault(11, error_code));
        }
        if attributes & 1 == 0 {
            self.set_accessed(at.wrapping_add(5))?;
        }
        let mut limit = ((raw & 0xFFFF) | (raw >> 48 & 0xF) << 16) as u32;
        if attributes & 0x800 != 0 {
            limit = limit << 12 | 0xFFF;
        }
        let base = (raw >> 16 & 0xFF_FFFF) | (raw >> 56) << 24;
        Ok(Code {
            segment: Segment::new(selector, attributes | 1, limit, base),
            dpl,
            conforming: attributes & 4 != 0,
        })
    }

    fn set_accessed(&mut self, va: u64) -> Result<(), Interruption> {
        let access = LinearAccess {
            write: true,
            ..LinearAccess::SYSTEM_READ
        };
        let to = translate(self.memory, &self.paging, va, access, AccessedDirty::Set)
            .map_err(|fault| self.walk_fault(fault, false))?;
        self.memory
            .set_bits(to.gpa, to.private, access.physical(), 1)
            .map_err(Interruption::Memory)
    }

    /// A stack pointer of the 64-bit TSS: at `offset` (RSP0 4, ..., IST1 0x24, ...).
    pub fn tss_stack(&mut self, offset: u32) -> Result<u64, Interruption> {
        let tr = self.cpu.tr;
        if offset + 7 > tr.limit.get() {
            return Err(self.fault(10, u32::from(tr.selector.get() & !3)));
        }
        let pointer = u64::from_le_bytes(self.read(tr.base.get().wrapping_add(u64::from(offset)))?);
        if !is_canonical(pointer) {
            return Err(self.fault(12, 0));
        }
        Ok(pointer)
    }
}
