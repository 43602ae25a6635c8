//! The real local APIC, in xAPIC mode. Its registers are the guest's but for the timer; the machine uses the command register
//! for kicks and for starting processors.

use super::phys;

/// Where it is (also for the guest).
pub const BASE: u64 = 0xFEE0_0000;
const ID: u16 = 0x20;
const SPURIOUS: u16 = 0xF0;
const COMMAND_LOW: u16 = 0x300;
const COMMAND_HIGH: u16 = 0x310;
const LVT_TIMER: u16 = 0x320;
const PERIODIC: u32 = 1 << 17;
const TIMER_INITIAL: u16 = 0x380;
const TIMER_DIVIDE: u16 = 0x3E0;
const DIVIDE_BY_1: u32 = 0xB;
const DELIVERY_PENDING: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;
const MODE_NMI: u32 = 4 << 8;
const MODE_INIT: u32 = 5 << 8;
const MODE_STARTUP: u32 = 6 << 8;

/// Reads a register.
pub fn read(offset: u16) -> u32 {
    // SAFETY: the page is the local APIC's, mapped by the direct map from the start.
    unsafe { (phys::virt(BASE + u64::from(offset)) as *const u32).read_volatile() }
}

/// Writes a register.
pub fn write(offset: u16, value: u32) {
    // SAFETY: as for `read`; a register write touches no Rust value.
    unsafe { (phys::virt(BASE + u64::from(offset)) as *mut u32).write_volatile(value) }
}

/// This processor's ID.
pub fn id() -> u32 {
    read(ID) >> 24
}

/// Turns it on, so that it takes NMIs and interrupts; the guest programs the rest.
pub fn enable() {
    write(SPURIOUS, 0x1FF);
}

/// Starts the timer: an NMI to this processor every `count` ticks of its clock, which has 1 GHz.
pub fn start_timer(count: u32) {
    write(LVT_TIMER, PERIODIC | MODE_NMI);
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(TIMER_INITIAL, count);
}

/// Stops it.
pub fn stop_timer() {
    write(TIMER_INITIAL, 0);
}

/// Writes the command register as a whole.
pub fn send(destination: u32, command: u32) {
    // The guest may have been between its own two writes on this processor: keep its half.
    let saved = read(COMMAND_HIGH);
    write(COMMAND_HIGH, destination << 24);
    write(COMMAND_LOW, command);
    while read(COMMAND_LOW) & DELIVERY_PENDING != 0 {
        super::cpu::relax();
    }
    write(COMMAND_HIGH, saved);
}

/// Sends an NMI: the machine's kick.
pub fn send_nmi(apic_id: u32) {
    send(apic_id, MODE_NMI | ASSERT);
}

/// INIT for a processor.
pub fn send_init(apic_id: u32) {
    send(apic_id, MODE_INIT | ASSERT);
}

/// Start-up for a processor at `page` * 4 KiB.
pub fn send_startup(apic_id: u32, page: u8) {
    send(apic_id, MODE_STARTUP | ASSERT | u32::from(page));
}
