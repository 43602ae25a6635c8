//! KVM's paravirtual clock (Linux `Documentation/virt/kvm/x86/msr.rst`, `pvclock-abi.h`), as far as it tells a guest
//! the frequency of its TSC.
//!
//! A confidential guest cannot calibrate its TSC well: every read of the PIT or the PM timer is a #VC and a VMGEXIT,
//! far longer than the interval that Linux tolerates. A KVM host tells the frequency through this structure, in a page
//! that the guest shares; so does this machine.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// MSR: GPA of the wall clock structure; written once each time the guest wants to know.
pub const MSR_WALL_CLOCK: u32 = 0x4B56_4D00;
/// MSR: GPA of this vCPU's [`TimeInfo`], with bit 0 to switch it on.
pub const MSR_SYSTEM_TIME: u32 = 0x4B56_4D01;
/// CPUID 0x4000_0001 EAX: these MSRs exist.
pub const FEATURE_CLOCKSOURCE2: u32 = 1 << 3;
/// CPUID 0x4000_0001 EAX: the clock is the same on all vCPUs.
pub const FEATURE_CLOCKSOURCE_STABLE: u32 = 1 << 24;
/// Bit of [`MSR_SYSTEM_TIME`] that switches the clock on.
pub const SYSTEM_TIME_ENABLE: u64 = 1;

/// `pvclock_vcpu_time_info`: 32 bytes in a page that the guest shares.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TimeInfo {
    /// Odd while it is being written.
    pub version: U32,
    /// Zero.
    pub pad0: U32,
    /// TSC at the moment described.
    pub tsc_timestamp: U64,
    /// Nanoseconds at that moment.
    pub system_time: U64,
    /// Nanoseconds are `((tsc - tsc_timestamp) << tsc_shift) * tsc_to_system_mul >> 32`.
    pub tsc_to_system_mul: U32,
    /// See above; negative shifts right.
    pub tsc_shift: i8,
    /// Bit 0: stable across vCPUs.
    pub flags: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// `pvclock_wall_clock`: 12 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WallClock {
    /// Odd while it is being written.
    pub version: U32,
    /// Seconds since 1970 at system time 0.
    pub sec: U32,
    /// Nanoseconds.
    pub nsec: U32,
}

const _: () = assert!(core::mem::size_of::<TimeInfo>() == 32);
const _: () = assert!(core::mem::size_of::<WallClock>() == 12);

/// Multiplier and shift that turn ticks of a TSC of `hz` into nanoseconds, as [`TimeInfo`] has them; none for 0 Hz.
pub fn tsc_to_nanoseconds(hz: u64) -> Option<(u32, i8)> {
    if hz == 0 {
        return None;
    }
    let mut shift = 0i8;
    let mut scaled = hz;
    // Bring the frequency into (1 GHz, 2 GHz], where the multiplier 2^32 * 10^9 / scaled fits 32 bits and keeps 31.
    while scaled > 2_000_000_000 {
        scaled >>= 1;
        shift -= 1;
    }
    while scaled <= 1_000_000_000 {
        scaled <<= 1;
        shift += 1;
    }
    Some((((1_000_000_000u128 << 32) / scaled as u128) as u32, shift))
}

/// The structure for a clock that was 0 at TSC 0 of a TSC of `hz`, the same on every vCPU.
pub fn time_info(hz: u64, version: u32) -> Option<TimeInfo> {
    let (mul, shift) = tsc_to_nanoseconds(hz)?;
    Some(TimeInfo {
        version: U32::new(version),
        tsc_to_system_mul: U32::new(mul),
        tsc_shift: shift,
        flags: 1,
        ..TimeInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux computes back (`pvclock_tsc_khz`): 10^6 << 32 / mul, shifted the other way.
    fn khz_seen_by_linux(mul: u32, shift: i8) -> u64 {
        let khz = (1_000_000u64 << 32) / mul as u64;
        if shift < 0 {
            khz << -shift
        } else {
            khz >> shift
        }
    }

    #[test]
    fn linux_reads_back_the_frequency() {
        for hz in [
            1_000_000,
            100_000_000,
            999_999_999,
            1_000_000_000,
            2_000_000_000,
            2_595_124_000,
            5_100_000_000,
        ] {
            let (mul, shift) = tsc_to_nanoseconds(hz).unwrap();
            let khz = khz_seen_by_linux(mul, shift);
            let error = khz.abs_diff(hz / 1000);
            assert!(
                error <= hz / 1000 / 100_000 + 8,
                "{hz} Hz read back as {khz} kHz"
            );
        }
        assert_eq!(tsc_to_nanoseconds(0), None);
    }
}
