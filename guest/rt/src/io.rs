//! Port I/O. Under SEV-ES every IN and OUT is a #VC anyway, so these go to the hypervisor straight through the GHCB. An
//! error of the hypervisor ends the payload: without ports there is no console to report it on.

use crate::{nae, power};

fn or_stop<T>(result: Result<T, crate::ghcb::GhcbError>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => power::terminate(power::REASON_SET, power::REASON_PORT_IO),
    }
}

/// IN of a byte.
pub fn inb(port: u16) -> u8 {
    or_stop(nae::port_in(port, 1)) as u8
}

/// IN of two bytes.
pub fn inw(port: u16) -> u16 {
    or_stop(nae::port_in(port, 2)) as u16
}

/// IN of four bytes.
pub fn inl(port: u16) -> u32 {
    or_stop(nae::port_in(port, 4))
}

/// OUT of a byte.
pub fn outb(port: u16, value: u8) {
    or_stop(nae::port_out(port, 1, value as u32));
}

/// OUT of two bytes.
pub fn outw(port: u16, value: u16) {
    or_stop(nae::port_out(port, 2, value as u32));
}

/// OUT of four bytes.
pub fn outl(port: u16, value: u32) {
    or_stop(nae::port_out(port, 4, value));
}

/// REP OUTSB.
pub fn out_string(port: u16, bytes: &[u8]) {
    or_stop(nae::port_out_string(port, bytes));
}

/// REP INSB.
pub fn in_string(port: u16, bytes: &mut [u8]) {
    or_stop(nae::port_in_string(port, bytes));
}
