//! Moving the machine to the top of low RAM, and handing the rest to the guest.

use super::{frames, guest, paging, pvh};
use snp_model::rmp::RmpEntry;

/// Where the ELF file says that the image lies.
const LOADED_AT: u64 = 0x20_0000;
const LARGE_PAGE: u64 = 2 << 20;
/// Frames that `paging::build` takes at most.
const PAGE_TABLE_FRAMES: u64 = 16;

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
}

/// Bytes of the image with its .bss, rounded up to large pages.
pub fn image_bytes() -> u64 {
    (&raw const __image_end as u64 - &raw const __image_start as u64).next_multiple_of(LARGE_PAGE)
}

/// Moves image and module into the reserve, builds page tables there and starts the frame allocator. Returns where the
/// module is now. From here on the machine uses no memory outside of the reserve.
pub fn take_reserve(reserve: (u64, u64), module: Option<(u64, u64)>) -> Option<(u64, u64)> {
    let (start, end) = reserve;
    assert!(
        start >= LOADED_AT + image_bytes(),
        "the machine does not fit above its own image"
    );
    let module = module.map(|module| pvh::move_module(module, reserve));
    let end = module.map_or(end, |(at, _)| at);
    let tables = start + image_bytes();
    assert!(
        tables + PAGE_TABLE_FRAMES * 4096 < end,
        "no room for page tables"
    );
    // SAFETY: the reserve is RAM above the running image, and nothing but the module, beyond `end`, is in it.
    let (root, next) = unsafe { paging::build(start, image_bytes(), tables) };
    let bytes = &raw const __image_end as u64 - &raw const __image_start as u64;
    // What is in statics from here on is in the copy, so it must be set after the move.
    frames::init(next, end);
    // SAFETY: the tables map the copy where the image runs.
    unsafe { paging::relocate(LOADED_AT, start, bytes, root) };
    module
}

/// Declares the guest's RAM: no Rust value lives there any more.
pub fn give_to_guest(ranges: impl Iterator<Item = (u64, u64)>) {
    for (start, end) in ranges {
        // SAFETY: the machine runs in its reserve, which the guest's ranges leave out.
        unsafe { guest::add(start, end) };
    }
}

/// Memory for `frames` RMP entries: all pages the hypervisor's.
pub fn rmp_table(frames: u64) -> Option<&'static mut [RmpEntry]> {
    // SAFETY: an RMP entry of zero bytes is one of the hypervisor's.
    unsafe { frames::allocate_slice(frames as usize) }
}

/// Low memory with contents: firmware's, and the image's first place.
pub fn used_low_memory() -> [(u64, u64); 3] {
    [
        (0, 0xA_0000),
        (0xC_0000, 0x10_0000),
        (0x10_0000, LOADED_AT + image_bytes()),
    ]
}
