//! The rate of the time-stamp counter: who tells it, and what is believed.

use crate::cpuid::CpuidTable;
use core::fmt;

/// Rate of the PC's interval timer.
pub const PIT_HZ: u64 = 1_193_182;

/// Ticks in a millisecond where nothing is known.
pub const USUAL_TICKS_PER_MS: u64 = 2_000_000;

/// Slowest and fastest counter that is believed, in ticks of a millisecond: 100 MHz to 20 GHz.
const BELIEVED: core::ops::RangeInclusive<u64> = 100_000..=20_000_000;

/// The rate, if it can be one.
pub fn plausible(ticks_per_ms: u64) -> Option<u64> {
    Some(ticks_per_ms).filter(|rate| BELIEVED.contains(rate))
}

/// Where a rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The processor, for a counter that the hypervisor cannot touch.
    SecureTsc,
    /// CPUID leaf 0x15: the crystal and the counter's ratio to it.
    Crystal,
    /// The hypervisor's CPUID leaf 0x4000_0010.
    Hypervisor,
    /// Measured against the PC's interval timer.
    IntervalTimer,
    /// Nothing said anything useful.
    Assumed,
}

impl Source {
    /// Whether a host cannot lie about it.
    pub const fn is_trusted(self) -> bool {
        matches!(self, Source::SecureTsc)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Source::SecureTsc => "secure TSC",
            Source::Crystal => "CPUID leaf 0x15",
            Source::Hypervisor => "CPUID leaf 0x40000010",
            Source::IntervalTimer => "measured by the interval timer",
            Source::Assumed => "assumed",
        };
        let told = *self != Source::Assumed;
        let trust = if told && !self.is_trusted() {
            " (the host's word)"
        } else {
            ""
        };
        write!(f, "{name}{trust}")
    }
}

/// The rate that CPUID tells, if it does.
pub fn from_cpuid(table: &CpuidTable<'_>) -> Option<(u64, Source)> {
    let leaf = table.get(0x15, 0);
    let (denominator, numerator, crystal) = (leaf.eax as u64, leaf.ebx as u64, leaf.ecx as u64);
    // 64 bits hold the product of two 32-bit numbers.
    let hz = (crystal * numerator).checked_div(denominator);
    let crystal = hz.and_then(|hz| plausible(hz / 1000));
    let hypervisor = || plausible(table.get(0x4000_0010, 0).eax as u64);
    match crystal {
        Some(rate) => Some((rate, Source::Crystal)),
        None => Some((hypervisor()?, Source::Hypervisor)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snp_abi::cpuid::CpuidPage;
    use zerocopy::FromZeros;

    #[test]
    fn cpuid_tells_the_rate_by_crystal_or_hypervisor() {
        let mut page = CpuidPage::new_zeroed();
        page.count = 2.into();
        page.entries[1].eax_in = 0x4000_0010.into();
        assert_eq!(from_cpuid(&CpuidTable::new(&page).unwrap()), None);
        page.entries[1].eax = 2_445_000.into();
        let told = |page: &CpuidPage| from_cpuid(&CpuidTable::new(page).unwrap());
        assert_eq!(told(&page), Some((2_445_000, Source::Hypervisor)));
        page.entries[0].eax_in = 0x15.into();
        // 25 MHz crystal, 216 / 2.
        for (denominator, expected) in [
            (2, (2_700_000, Source::Crystal)),
            (0, (2_445_000, Source::Hypervisor)),
            (u32::MAX, (2_445_000, Source::Hypervisor)),
        ] {
            page.entries[0].eax = denominator.into();
            page.entries[0].ebx = 216.into();
            page.entries[0].ecx = 25_000_000.into();
            assert_eq!(told(&page), Some(expected));
        }
        page.entries[0].ebx = u32::MAX.into();
        page.entries[0].ecx = u32::MAX.into();
        page.entries[0].eax = 1.into();
        assert_eq!(told(&page), Some((2_445_000, Source::Hypervisor)));
    }

    #[test]
    fn a_host_cannot_make_a_slice_endless_or_empty() {
        assert_eq!(plausible(2_400_000), Some(2_400_000));
        assert_eq!(plausible(0), None);
        assert_eq!(plausible(u64::MAX), None);
    }
}
