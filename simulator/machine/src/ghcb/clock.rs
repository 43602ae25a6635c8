//! kvmclock, as far as it tells the guest how fast its TSC runs (see `snp_model::kvmclock`).

use super::page::Shared;
use crate::arch::{cpu, time};
use snp_model::kvmclock::{self, WallClock};
use zerocopy::IntoBytes;

const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
/// Any even number: the structures are written once.
const VERSION: u32 = 2;

/// The MSR for this vCPU's time information; `false`: #GP.
pub fn write_system_time(value: u64) -> bool {
    if value & kvmclock::SYSTEM_TIME_ENABLE == 0 {
        return true;
    }
    let hz = time::tsc_khz() * 1000;
    let Some(info) = kvmclock::time_info(hz, VERSION) else {
        return false;
    };
    put(value & !kvmclock::SYSTEM_TIME_ENABLE, info.as_bytes())
}

/// The MSR for the wall clock.
pub fn write_wall_clock(value: u64) -> bool {
    let uptime = cpu::rdtsc() / (time::tsc_khz() * 1000);
    let clock = WallClock {
        version: VERSION.into(),
        sec: (real_time().saturating_sub(uptime) as u32).into(),
        nsec: 0.into(),
    };
    put(value, clock.as_bytes())
}

fn put(gpa: u64, bytes: &[u8]) -> bool {
    let Some(page) = Shared::at(gpa) else {
        return false;
    };
    page.write((gpa & 0xFFF) as usize, bytes);
    true
}

fn rtc(register: u8) -> u64 {
    cpu::out8(RTC_INDEX, register);
    let bcd = u64::from(cpu::in8(RTC_DATA));
    (bcd >> 4) * 10 + (bcd & 0xF)
}

/// Seconds since 1970, from the RTC (which QEMU keeps in UTC and BCD).
fn real_time() -> u64 {
    let mut last = (0, 0);
    // Twice the same: no update in between.
    for _ in 0..10 {
        let (second, minute, hour) = (rtc(0), rtc(2), rtc(4));
        let (day, month, year) = (rtc(7), rtc(8), 2000 + rtc(9));
        let days = days_since_1970(year, month, day);
        let now = ((days * 24 + hour) * 60 + minute) * 60 + second;
        if last == (now, 1) {
            break;
        }
        last = (now, 1);
    }
    last.0
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years that start in March put the leap day last.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let day_of_year = (153 * m + 2) / 5 + day.saturating_sub(1);
    365 * y + y / 4 - y / 100 + y / 400 + day_of_year - 719_468
}
