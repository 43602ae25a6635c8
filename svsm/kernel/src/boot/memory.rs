//! Memory: the rest of the SVSM's own, and the guest's RAM.

use super::or_stop;
use crate::console::log;
use crate::fatal::fatal;
use crate::mm;
use crate::platform::{self, Kind, platform};
use boot_abi::{BootParams, layout};
use core::sync::atomic::AtomicU64;
use svsm_abi::termination::Reason;
use svsm_core::memory_map::RamMap;
use svsm_core::page_map::PageMap;

/// Makes all of the SVSM's memory usable that was not launched: what lies between the image and the services.
pub fn accept(params: &BootParams, shared: bool) {
    let launched_end = params.svsm.base.get() + params.kernel_image.size.get();
    let range = launched_end..mm::base() + layout::SERVICES_OFFSET;
    or_stop!(platform().accept_own_memory(range.clone(), shared));
    mm::release_own(range.clone());
    log!(
        "memory: {} KiB launched, {} KiB accepted at {:#x}",
        (params.kernel_image.size.get()
            + params.services.size.get()
            + params.parameters.size.get())
            / 1024,
        (range.end - range.start) / 1024,
        range.start
    );
}

/// Reads the host's memory map, maps the guest's RAM, and makes the books of who owns which page of it.
pub fn map_guest(params: &BootParams, huge_pages: bool) -> PageMap<'static> {
    let area = mm::parameters(params.memory_map.base.get(), params.memory_map.size.get());
    let area = area.unwrap_or_default();
    // On SEV-SNP all of it is below the SVSM's memory; on the native platform it is around that, and around the boot stage,
    // where APs start.
    let own = [&params.svsm, &params.boot_stage].map(|range| {
        let base = range.base.get();
        base..base + range.size.get()
    });
    let ram = or_stop!(
        Reason::MemoryMap,
        match platform::kind() {
            Kind::Snp => RamMap::parse(area, layout::SVSM_BASE),
            Kind::Native => RamMap::parse_around(area, layout::SVSM_BASE, &own),
        }
    );
    for range in ram.ranges() {
        log!("guest RAM: {:#x}-{:#x}", range.start, range.end);
    }
    let count = ram.page_map_words();
    let Ok(words) = mm::allocate_slice(count, |_| AtomicU64::new(0)) else {
        fatal!(
            Reason::OutOfMemory,
            "memory map: books of {} MiB guest RAM take {} KiB; {} KiB of the SVSM's memory are free",
            ram.bytes() >> 20,
            count as u64 * 8 / 1024,
            mm::free_kib()
        );
    };
    let ram = or_stop!(Reason::OutOfMemory, mm::map_guest_ram(ram, huge_pages));
    match PageMap::new(ram, words) {
        Some(map) => map,
        None => fatal!(Reason::Panic, "page map: {count} words are too few"),
    }
}
