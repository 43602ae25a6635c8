//! IOIO: port instructions that the guest's #VC handler passes on. All but the machine's own ports are QEMU's.

use super::page::{Shared, copy_buffer};
use crate::arch::cpu;
use crate::vcpu::Vcpu;
use snp_abi::ghcb::SHARED_BUFFER_OFFSET;
use snp_model::ghcb::{IoRequest, Malformed, Reply};

/// Debug console.
const DEBUG_CONSOLE: u16 = 0xE9;
/// isa-debug-exit: four ports.
const DEBUG_EXIT: core::ops::RangeInclusive<u16> = 0xF4..=0xF7;
/// ACPI's SMI command port. SeaBIOS's handler is gone from memory, so the machine does what the command asks for.
const SMI_COMMAND: u16 = 0xB2;
const ACPI_ENABLE: u32 = 2;
const ACPI_DISABLE: u32 = 3;
const PM1_CONTROL: u16 = 0x604;
const SCI_ENABLE: u16 = 1;
const SLEEP_ENABLE: u16 = 1 << 13;
/// q35's reset control register; bit 2 resets.
const RESET_CONTROL: u16 = 0xCF9;
const RESET: u32 = 1 << 2;
/// Keyboard controller's command port, and its command that resets.
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u32 = 0xFE;

fn machine_owned(port: u16, size: u8) -> bool {
    (port..=port.saturating_add(u16::from(size) - 1))
        .any(|p| p == DEBUG_CONSOLE || DEBUG_EXIT.contains(&p))
}

fn input(port: u16, size: u8) -> u32 {
    let ones = u32::MAX >> (32 - 8 * u32::from(size));
    if machine_owned(port, size) {
        return ones;
    }
    match size {
        1 => cpu::in8(port).into(),
        2 => cpu::in16(port).into(),
        _ => cpu::in32(port),
    }
}

fn output(port: u16, size: u8, value: u32) {
    if machine_owned(port, size) {
        return;
    }
    if port == SMI_COMMAND && matches!(value & 0xFF, ACPI_ENABLE | ACPI_DISABLE) {
        let control = cpu::in16(PM1_CONTROL);
        let control = if value & 0xFF == ACPI_ENABLE {
            control | SCI_ENABLE
        } else {
            control & !SCI_ENABLE
        };
        cpu::out16(PM1_CONTROL, control);
        return;
    }
    if port == PM1_CONTROL && value as u16 & SLEEP_ENABLE != 0 {
        print_figures();
        crate::watch::check();
    }
    // QEMU is started with -no-reboot: it ends here.
    if (port == RESET_CONTROL && value & RESET != 0)
        || (port == KEYBOARD_COMMAND && value & 0xFF == PULSE_RESET)
    {
        print_figures();
    }
    match size {
        1 => cpu::out8(port, value as u8),
        2 => cpu::out16(port, value as u16),
        _ => cpu::out32(port, value),
    }
}

/// The run is about to end.
fn print_figures() {
    crate::trace::print_counts();
    crate::calls::print();
}

/// Handles the request.
pub fn handle(vcpu: &mut Vcpu, page: Shared, request: IoRequest) -> Reply {
    let IoRequest {
        port,
        input: is_input,
        size,
        ..
    } = request;
    if crate::trace::wants_port(port) {
        crate::say!("[{}] io {port:#x} {request:x?}", vcpu.index());
    }
    let Some((scratch, count)) = request.string else {
        if !is_input {
            output(port, size, request.rax as u32);
            return Reply::OK;
        }
        let value = u64::from(input(port, size));
        let kept = match size {
            1 => !0xFF,
            2 => !0xFFFF,
            _ => 0,
        };
        return Reply::rax(request.rax & kept | value);
    };
    let start = usize::from(scratch.offset) - SHARED_BUFFER_OFFSET as usize;
    let length = count as usize * usize::from(size);
    copy_buffer(vcpu, page);
    let Some(buffer) = vcpu.ghcb.shared_buffer.get_mut(start..start + length) else {
        return Reply::malformed(Malformed::Scratch {
            gpa: 0,
            scratch: scratch.offset.into(),
            length: length as u64,
        });
    };
    for element in buffer.chunks_exact_mut(size.into()) {
        let mut word = [0; 4];
        if is_input {
            word = input(port, size).to_le_bytes();
            element.copy_from_slice(&word[..size.into()]);
        } else {
            word[..size.into()].copy_from_slice(element);
            output(port, size, u32::from_le_bytes(word));
        }
    }
    if is_input {
        page.write(scratch.offset.into(), buffer);
    }
    Reply::OK
}
