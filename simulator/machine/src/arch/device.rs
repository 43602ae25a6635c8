//! Device memory. Writing it can only do what the guest could do to its own devices; the caller makes sure that an address
//! is a device's, and this checks it again against the ranges of RAM.

use super::lock::SpinLock;
use super::phys;

const MAX_RANGES: usize = 16;

static RAM: SpinLock<([(u64, u64); MAX_RANGES], usize)> = SpinLock::new(([(0, 0); MAX_RANGES], 0));

/// Declares RAM: never a device. Before the guest runs.
pub fn set_ram(ranges: &[(u64, u64)]) {
    let mut ram = RAM.lock();
    for &range in ranges {
        let i = ram.1;
        ram.0[i] = range;
        ram.1 += 1;
    }
}

/// Writes 1, 2, 4 or 8 bytes to a device; `None` if there is RAM, or the address or size cannot be.
pub fn write(hpa: u64, size: u8, value: u64) -> Option<()> {
    let ram = RAM.lock();
    let end = hpa.checked_add(size.into())?;
    if ram.1 == 0 || ram.0[..ram.1].iter().any(|&(s, e)| hpa < e && s < end) {
        return None;
    }
    drop(ram);
    // SAFETY: not RAM, so no Rust value.
    unsafe { phys::mmio_write(hpa, size, value) }
}
