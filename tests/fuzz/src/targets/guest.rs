//! What the boot stub makes of the memory map and of a kernel, and what kernels are told by whoever started them.

use boot_abi::layout;
use boot_info::acpi::{MAX_TABLE, find};
use boot_info::{MAX_RANGES, MULTIBOOT2_MAGIC, Memory, StartInfo};
use shim_core::boot_params::{BootParams, SIZE, check_cmdline};
use shim_core::bzimage::{self, HEADER_LIMIT, HEADER_START};
use shim_core::e820::{self, Kind};
use shim_core::memory_map::{self, Bounds, VIDEO};
use shim_core::placement::{FOUR_GIB, Placement};
use shim_core::range::{PAGE, Range, RangeSet};
use shim_core::validation;
use svsm_core::memory_map::RamMap;

use super::{put, u32_at};
use crate::target::{Outcome, Target};

const REGION: Range = Range::new(layout::GUEST_BASE, layout::GUEST_BASE + layout::GUEST_SIZE);
const LIMIT: u64 = layout::SVSM_BASE;
const ECAM: Range = Range::new(0xB000_0000, 0xC000_0000);

pub const MEMORY: Target = Target {
    record: 24,
    words: &[
        &[0, 0, 0, 0, 0, 0, 0, 0, 0xA0, 0, 0, 0, 0, 0, 0, 0],
        &[0xC0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xFF, 1, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 8, 0, 0, 0, 0],
    ],
    ..Target::new("guest-memory", 48 * 24, run_memory)
};

fn run_memory(input: &[u8]) -> Outcome {
    let bounds = Bounds {
        limit: LIMIT,
        region: REGION,
        svsm: Range::new(layout::SVSM_BASE, layout::SVSM_BASE + layout::SVSM_SIZE),
    };
    let map = match memory_map::parse(input, &bounds) {
        Ok(map) => map,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    assert!(map.ram.contains(&REGION) && !map.ram.overlaps(&VIDEO));
    assert!(map.reserved.iter().all(|range| !map.ram.overlaps(&range)));
    // The SVSM may know more RAM (it joins what touches, and keeps the video memory), but no less.
    if let Ok(svsm) = RamMap::parse(input, LIMIT) {
        for range in map.ram.iter() {
            assert!(
                svsm.contains(range.start, range.size()),
                "{range} is no RAM for the SVSM"
            );
        }
    }
    let mut places = Placement::new(&map, REGION);
    let mut acpi = RangeSet::new();
    let mut taken = Vec::new();
    for size in [1, 0x3_0000, 0x20_0000, 0x4000_0000] {
        if let Ok(range) = places.take_high("piece", size, PAGE, FOUR_GIB) {
            assert!(map.ram.contains(&range) && range.size() >= size && range.end <= FOUR_GIB);
            assert!(!range.overlaps(&REGION) && range.start >= 0x10_0000);
            assert!(taken.iter().all(|other: &Range| !other.overlaps(&range)));
            taken.push(range);
            acpi.insert(range);
        }
    }
    if map.ram.size() < 1 << 32 {
        let chunks = validation::all_chunks(&map.ram).map(|chunk| chunk.size.bytes());
        assert_eq!(chunks.sum::<u64>(), map.ram.size());
    }
    let entries = match e820::build(&map, REGION, &acpi, Some(ECAM)) {
        Ok(entries) => entries,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    assert!(entries.len() <= e820::MAX_ENTRIES);
    assert!(
        entries
            .windows(2)
            .all(|pair| pair[0].range.end <= pair[1].range.start)
    );
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Ram) {
        assert!(map.ram.contains(&entry.range) && !entry.range.overlaps(&REGION));
        assert!(!entry.range.overlaps(&ECAM) && !acpi.overlaps(&entry.range));
    }
    Outcome::new(
        true,
        entries
            .iter()
            .map(|entry| entry.to_bytes())
            .collect::<Vec<_>>(),
    )
}

/// A kernel's first sectors; the last two bytes say how many more kilobytes there are.
pub const KERNEL: Target = Target {
    words: &[b"HdrS", &[0x55, 0xAA, 0xEB], &[0x0F, 2], &[0, 0, 0x20, 0]],
    mend: Some(|input| {
        put(input, 0x1FE, [0x55, 0xAA]);
        put(input, 0x202, *b"HdrS");
    }),
    ..Target::new("kernel", 0x300, run_kernel)
};

fn run_kernel(input: &[u8]) -> Outcome {
    let mut image = input.to_vec();
    if let [.., low, high] = input {
        image.resize(
            input.len() + (usize::from(*low) | usize::from(high & 1) << 8) * 1024,
            0xCC,
        );
    }
    let header = match bzimage::parse(&image) {
        Ok(header) => header,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    assert_eq!(header.protected_start + header.protected_size, image.len());
    assert!(header.init_size >= header.protected_size as u64);
    assert!(header.header_end <= HEADER_LIMIT && header.header_end <= image.len());
    assert!(header.alignment.is_power_of_two() && header.lowest >= 0x100_0000);
    let ram: RangeSet = [Range::new(0, 0xA_0000), Range::new(0xC_0000, 0x4000_0000)]
        .into_iter()
        .collect();
    let map = memory_map::MemoryMap {
        ram,
        reserved: RangeSet::new(),
    };
    let mut places = Placement::new(&map, REGION);
    let place = places.take_kernel(&header);
    if let Ok(place) = &place {
        assert!(map.ram.contains(place) && place.size() >= header.init_size);
        assert!(place.start.is_multiple_of(header.alignment) && place.start >= header.lowest);
        assert!(!place.overlaps(&REGION));
    }
    let cmdline = [b'x'; 300];
    assert_eq!(
        check_cmdline(&cmdline, &header).is_ok(),
        header.cmdline_size >= cmdline.len()
    );
    let page = BootParams {
        image: &image,
        header: &header,
        cmdline: 0x1000,
        initrd: (0, 0),
        rsdp: 0x1234,
        setup_data: 0,
        e820: &[],
    }
    .to_page();
    assert!(page.len() == SIZE && page[HEADER_START + 0x11..][..4] == *b"HdrS");
    Outcome::new(place.is_ok(), (place.map_or(0, |place| place.start), page))
}

/// Where the start information is: its high bit chooses multiboot 2; then memory from address 0.
pub const START_INFO: Target = Target {
    words: &[
        &[0x78, 0x45, 0x6E, 0x33, 1, 0, 0, 0],
        b"RSD PTR ",
        b"RSDT",
        b"XSDT",
        b"APIC",
        &[6, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
    ],
    ..Target::new("start-info", 0x1000, run_start_info)
};

struct Low<'a>(&'a [u8]);

impl Memory for Low<'_> {
    fn read(&self, at: u64, to: &mut [u8]) -> Option<()> {
        let at = usize::try_from(at).ok()?;
        to.copy_from_slice(self.0.get(at..at.checked_add(to.len())?)?);
        Some(())
    }
}

fn run_start_info(input: &[u8]) -> Outcome {
    let Some((place, memory)) = input.split_first_chunk() else {
        return Outcome::new(false, 0);
    };
    let place = u16::from_le_bytes(*place);
    let magic = if place >> 15 != 0 {
        MULTIBOOT2_MAGIC
    } else {
        0
    };
    let low = Low(memory);
    let info = match StartInfo::read(&low, magic, u64::from(place & 0x7FFF)) {
        Ok(info) => info,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    assert!(info.ranges().len() <= MAX_RANGES);
    let ram = info.ram();
    assert!(ram.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    for (start, end) in &ram {
        assert!(start < end && (start | end) % PAGE == 0);
        // Nothing of it is said to be anything else.
        let others = info
            .ranges()
            .iter()
            .filter(|range| !range.ram && range.start < range.end);
        assert!(
            others
                .clone()
                .all(|other| *end <= other.start || other.end <= *start)
        );
    }
    let table = find(&low, info.rsdp, *b"APIC");
    if let Ok(table) = table {
        assert!((36..=MAX_TABLE).contains(&table.length));
        assert_eq!(
            u32_at(memory, table.at as usize),
            u32::from_le_bytes(*b"APIC")
        );
    }
    let text = (
        info.command_line().to_owned(),
        table.map_err(|error| error.to_string()).is_ok(),
    );
    Outcome::new(true, (ram, info.module, text))
}
