//! Entering a handler: the stack frame and the new register values, for each mode.

use super::descriptor::{Code, Context};
use super::{DeliveryError, Event, EventKind, Interruption};
use crate::Geometry;
use crate::walk::{CR0_PE, GuestMemory, LinearAccess, is_canonical, write_linear};
use snp_abi::msr::EFER_LMA;
use snp_abi::vmsa::{Segment, Vmsa};

const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const NT: u64 = 1 << 14;
const RF: u64 = 1 << 16;
const VM: u64 = 1 << 17;
const AC: u64 = 1 << 18;
/// Segment attribute D/B.
const ATTRIBUTE_DB: u16 = 1 << 10;

/// Registers at the handler's first instruction.
pub(super) struct Entry {
    cs: Segment,
    ss: Option<Segment>,
    cpl: u8,
    rip: u64,
    rsp: u64,
    rflags: u64,
}

impl Entry {
    pub fn apply(self, cpu: &mut Vmsa) {
        cpu.cs = self.cs;
        if let Some(ss) = self.ss {
            cpu.ss = ss;
        }
        cpu.cpl = self.cpl;
        cpu.rip.set(self.rip);
        cpu.rsp.set(self.rsp);
        cpu.rflags.set(self.rflags);
    }
}

/// Pushes the frame of `event` and says what the registers become.
pub(super) fn enter<M: GuestMemory + ?Sized>(
    cpu: &Vmsa,
    memory: &mut M,
    geometry: Geometry,
    event: Event,
) -> Result<Entry, Interruption> {
    let context = Context::new(cpu, memory, geometry, event);
    if cpu.efer.get() & EFER_LMA != 0 {
        enter_64(context)
    } else if cpu.cr0.get() & CR0_PE == 0 {
        enter_real(context)
    } else if cpu.rflags.get() & VM != 0 {
        Err(Interruption::NotModelled(DeliveryError::Virtual8086 {
            vector: event.vector,
        }))
    } else {
        enter_32(context)
    }
}

/// RFLAGS as pushed: faults set RF, so that an instruction breakpoint does not hit again after the return (APM vol. 2
/// §8.2); #DB, #BP and #OF are traps, #DF is an abort.
fn pushed_rflags(cpu: &Vmsa, event: Event) -> u64 {
    let is_fault = event.kind == EventKind::Exception && !matches!(event.vector, 1 | 3 | 4 | 8);
    cpu.rflags.get() | if is_fault { RF } else { 0 }
}

fn handler_rflags(cpu: &Vmsa, clears_if: bool) -> u64 {
    let cleared = TF | NT | RF | VM | if clears_if { IF } else { 0 };
    cpu.rflags.get() & !cleared
}

/// Long mode, from 64-bit or compatibility mode (APM vol. 2 §8.9).
fn enter_64<M: GuestMemory + ?Sized>(mut at: Context<'_, M>) -> Result<Entry, Interruption> {
    let gate = at.gate(true)?;
    let code = at.code(gate.selector, true)?;
    if !is_canonical(gate.offset) {
        return Err(at.fault(13, 0));
    }
    let cpl = handler_cpl(at.cpu, &code);
    let changes_level = cpl != at.cpu.cpl;
    let top = if gate.ist != 0 {
        at.tss_stack(0x24 + 8 * (u32::from(gate.ist) - 1))?
    } else if changes_level {
        at.tss_stack(4 + 8 * u32::from(cpl))?
    } else {
        at.cpu.rsp.get()
    } & !0xF;

    let words = [
        u64::from(at.event.error_code.unwrap_or(0)),
        at.cpu.rip.get(),
        u64::from(at.cpu.cs.selector.get()),
        pushed_rflags(at.cpu, at.event),
        at.cpu.rsp.get(),
        u64::from(at.cpu.ss.selector.get()),
    ];
    let skip = usize::from(at.event.error_code.is_none());
    let pushed = words.get(skip..).unwrap_or_default();
    let rsp = top.wrapping_sub(8 * pushed.len() as u64);
    let mut bytes = [0u8; 48];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(pushed) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    let bytes = bytes.get(..8 * pushed.len()).unwrap_or_default();
    push(&mut at, rsp, cpl, bytes)?;

    // A null selector whose hidden part keeps the level, which QEMU takes CPL from.
    let ss = changes_level.then(|| Segment::new(u16::from(cpl), u16::from(cpl) << 5, 0, 0));
    Ok(Entry {
        cs: with_rpl(code.segment, cpl),
        ss,
        cpl,
        rip: gate.offset,
        rsp,
        rflags: handler_rflags(at.cpu, gate.clears_if),
    })
}

/// Protected mode without paging or with legacy paging (APM vol. 2 §8.7), same privilege level only.
fn enter_32<M: GuestMemory + ?Sized>(mut at: Context<'_, M>) -> Result<Entry, Interruption> {
    let gate = at.gate(false)?;
    let code = at.code(gate.selector, false)?;
    let cpl = handler_cpl(at.cpu, &code);
    if cpl != at.cpu.cpl {
        return Err(Interruption::NotModelled(
            DeliveryError::LegacyPrivilegeChange {
                vector: at.event.vector,
            },
        ));
    }
    if gate.offset > u64::from(code.segment.limit.get()) {
        return Err(at.fault(13, 0));
    }
    let words = [
        at.event.error_code.unwrap_or(0),
        at.cpu.rip.get() as u32,
        u32::from(at.cpu.cs.selector.get()),
        pushed_rflags(at.cpu, at.event) as u32,
    ];
    let skip = usize::from(at.event.error_code.is_none());
    let rsp = push_legacy(
        &mut at,
        cpl,
        words.get(skip..).unwrap_or_default(),
        gate.is_16_bit,
    )?;
    Ok(Entry {
        cs: with_rpl(code.segment, cpl),
        ss: None,
        cpl,
        rip: gate.offset,
        rsp,
        rflags: handler_rflags(at.cpu, gate.clears_if),
    })
}

/// Real mode: the interrupt vector table; error codes are not pushed (APM vol. 2 §8.6).
fn enter_real<M: GuestMemory + ?Sized>(mut at: Context<'_, M>) -> Result<Entry, Interruption> {
    let offset = u32::from(at.event.vector) * 4;
    if offset + 3 > at.cpu.idtr.limit.get() {
        return Err(at.fault(13, 0));
    }
    let base = at.cpu.idtr.base.get();
    let vector: [u8; 4] = at.read(base.wrapping_add(u64::from(offset)))?;
    let [ip_low, ip_high, cs_low, cs_high] = vector;
    let words = [
        at.cpu.rip.get() as u32,
        u32::from(at.cpu.cs.selector.get()),
        at.cpu.rflags.get() as u32,
    ];
    let rsp = push_legacy(&mut at, 0, &words, true)?;
    let selector = u16::from_le_bytes([cs_low, cs_high]);
    let mut cs = at.cpu.cs;
    cs.selector.set(selector);
    cs.base.set(u64::from(selector) << 4);
    Ok(Entry {
        cs,
        ss: None,
        cpl: at.cpu.cpl,
        rip: u64::from(u16::from_le_bytes([ip_low, ip_high])),
        rsp,
        rflags: handler_rflags(at.cpu, true) & !AC,
    })
}

/// Conforming segments keep the level, others run at their own.
fn handler_cpl(cpu: &Vmsa, code: &Code) -> u8 {
    if code.conforming { cpu.cpl } else { code.dpl }
}

fn with_rpl(mut segment: Segment, cpl: u8) -> Segment {
    let selector = segment.selector.get() & !3 | u16::from(cpl);
    segment.selector.set(selector);
    segment
}

/// Writes a frame, lowest word first, at the handler's privilege level.
fn push<M: GuestMemory + ?Sized>(
    at: &mut Context<'_, M>,
    linear: u64,
    cpl: u8,
    bytes: &[u8],
) -> Result<(), Interruption> {
    let access = LinearAccess {
        write: true,
        user: cpl == 3,
        implicit: true,
        fetch: false,
    };
    write_linear(at.memory, &at.paging, linear, access, bytes)
        .map_err(|fault| at.walk_fault(fault, true))
}

/// Pushes on SS:ESP (or SS:SP), lowest word first, with SS's limit checked. Returns the new RSP.
fn push_legacy<M: GuestMemory + ?Sized>(
    at: &mut Context<'_, M>,
    cpl: u8,
    words: &[u32],
    is_16_bit: bool,
) -> Result<u64, Interruption> {
    let word_size = if is_16_bit { 2 } else { 4 };
    let mut bytes = [0u8; 16];
    for (slot, word) in bytes.chunks_exact_mut(word_size).zip(words) {
        slot.copy_from_slice(word.to_le_bytes().get(..word_size).unwrap_or_default());
    }
    let length = words.len() * word_size;
    let ss = at.cpu.ss;
    let mask = if ss.attributes.get() & ATTRIBUTE_DB != 0 {
        0xFFFF_FFFF
    } else {
        0xFFFF
    };
    let old = at.cpu.rsp.get() as u32;
    let new = old.wrapping_sub(length as u32) & mask;
    if !in_stack_segment(ss, mask, new, length as u32) {
        return Err(at.fault(12, 0));
    }
    let linear = ss.base.get().wrapping_add(u64::from(new)) & 0xFFFF_FFFF;
    push(at, linear, cpl, bytes.get(..length).unwrap_or_default())?;
    Ok(u64::from(new | old & !mask))
}

fn in_stack_segment(ss: Segment, mask: u32, offset: u32, length: u32) -> bool {
    let Some(last) = offset.checked_add(length - 1) else {
        return false;
    };
    let limit = ss.limit.get();
    let expands_down = ss.attributes.get() & 0x1C == 0x14;
    if expands_down {
        offset > limit && last <= mask
    } else {
        last <= limit
    }
}
