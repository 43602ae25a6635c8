//! Frames that belong to the guest. No Rust value lives in them, so copying into them is safe; which frames these are is
//! told once, during start-up.

use super::lock::SpinLock;
use super::{frames, phys};

const MAX_RANGES: usize = 24;

struct Ranges {
    list: [(u64, u64); MAX_RANGES],
    count: usize,
}

static RANGES: SpinLock<Ranges> = SpinLock::new(Ranges {
    list: [(0, 0); MAX_RANGES],
    count: 0,
});

/// Declares frames as the guest's.
///
/// # Safety
/// No Rust value may live in them, now or later.
pub unsafe fn add(start: u64, end: u64) {
    let mut ranges = RANGES.lock();
    let i = ranges.count;
    ranges.list[i] = (start, end);
    ranges.count += 1;
}

/// Takes zeroed frames of the machine for the guest.
pub fn allocate(bytes: u64, alignment: u64) -> Option<u64> {
    let hpa = frames::allocate_aligned(bytes.div_ceil(4096), alignment)?;
    // SAFETY: frames that the allocator hands out once, to this call.
    unsafe { add(hpa, hpa + bytes.next_multiple_of(4096)) };
    Some(hpa)
}

fn check(hpa: u64, len: usize) {
    let ranges = RANGES.lock();
    let ours = ranges.list[..ranges.count]
        .iter()
        .any(|&(start, end)| hpa >= start && hpa < end && len as u64 <= end - hpa);
    assert!(ours, "{hpa:#x} is not guest memory");
}

/// Copies into guest memory.
pub fn write(hpa: u64, bytes: &[u8]) {
    check(hpa, bytes.len());
    // SAFETY: checked to be the guest's.
    unsafe { phys::write(hpa, bytes) };
}

/// Copies out of guest memory.
pub fn read(hpa: u64, bytes: &mut [u8]) {
    check(hpa, bytes.len());
    phys::read(hpa, bytes);
}

/// Fills guest memory with zeros.
pub fn zero(hpa: u64, len: usize) {
    check(hpa, len);
    // SAFETY: checked to be the guest's.
    unsafe { phys::zero(hpa, len) };
}

/// Turns the first bytes of a page into others, as a change of its encryption key does to all of them.
pub fn scramble(hpa: u64) {
    let mut bytes = [0; 64];
    phys::read(hpa, &mut bytes);
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= 0x5A ^ (hpa >> 12) as u8 ^ i as u8;
    }
    write(hpa, &bytes);
}
