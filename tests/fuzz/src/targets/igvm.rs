//! IGVM files: parsed, selected for both platforms, and loaded into a machine that holds the loader to its word.

use igvm_loader::native::{self, Flat32};
use igvm_loader::{
    Body, HostParameters, Image, LoadError, MAX_PARAMETER_AREA_SIZE, Machine, MemoryMapEntry,
    MemoryMapEntryType, PAGE_SIZE, Page, PageKind, Platform,
};
use seeded_rng::Rng;
use std::collections::BTreeSet;

use super::{put, u32_at};
use crate::target::{Outcome, Target};

pub const IGVM: Target = Target {
    words: &[
        &[0x01, 3, 0, 0, 16, 0, 0, 0],
        &[0x02, 3, 0, 0, 24, 0, 0, 0],
        &[0x03, 3, 0, 0, 16, 0, 0, 0],
        &[0x04, 3, 0, 0, 20, 0, 0, 0],
        &[0x05, 3, 0, 0, 24, 0, 0, 0],
        &[0x07, 3, 0, 0, 8, 0, 0, 0],
        &[0x09, 3, 0, 0, 8, 0, 0, 0],
        &[0x0C, 3, 0, 0, 8, 0, 0, 0],
        &[0x13, 3, 0, 0, 8, 0, 0, 0],
        &[0x01, 0, 0, 0x80, 8, 0, 0, 0],
        &[1, 0, 0, 0],
        &[2, 0, 0, 0],
        &[3, 0, 0, 0],
    ],
    change: Some(change),
    mend: Some(mend),
    ..Target::new("igvm", 24 * 1024, run)
};

/// Where the variable headers are: start and end.
fn section(input: &[u8]) -> Option<(usize, usize)> {
    let start = u32_at(input, 8) as usize;
    let end = start.checked_add(u32_at(input, 12) as usize)?;
    (start >= 24 && end <= input.len()).then_some((start, end))
}

/// The variable headers, each from type to padding.
fn headers(input: &[u8]) -> Vec<(usize, usize)> {
    let Some((mut at, end)) = section(input) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    while at + 8 <= end {
        let next = at + 8 + (u32_at(input, at + 4) as usize).next_multiple_of(8);
        if next > end {
            break;
        }
        found.push((at, next));
        at = next;
    }
    found
}

/// Doubles, drops or moves a variable header, with the references into the file data kept.
fn change(rng: &mut Rng, input: &mut Vec<u8>) {
    let headers = headers(input);
    let Some((_, end)) = section(input).filter(|_| !headers.is_empty()) else {
        return;
    };
    let (start, after) = rng.pick(&headers);
    let header = input[start..after].to_vec();
    let to = rng.pick(&headers).0;
    let (dropped, added) = match rng.below(3) {
        0 => (0, header.len()),
        1 => (header.len(), 0),
        _ => (header.len(), header.len()),
    };
    if dropped == 0 {
        input.splice(to..to, header);
    } else {
        input.drain(start..after);
        if added > 0 {
            let to = if to > start { to - dropped } else { to };
            input.splice(to..to, header);
        }
    }
    let size = u32_at(input, 12) + added as u32 - dropped as u32;
    put(input, 12, size.to_le_bytes());
    for (at, _) in self::headers(input) {
        let reference = match u32_at(input, at) & 0x7FFF_FFFF {
            0x302 | 0x304 => at + 8 + 12,
            0x301 => at + 8 + 12,
            _ => continue,
        };
        let data = u32_at(input, reference);
        if data as usize >= end {
            let data = data.wrapping_add(added as u32).wrapping_sub(dropped as u32);
            put(input, reference, data.to_le_bytes());
        }
    }
}

/// Sizes within the file and the checksum over them.
fn mend(input: &mut Vec<u8>) {
    if input.len() < 32 {
        input.resize(32, 0);
    }
    let length = input.len() as u32;
    put(input, 0, *b"IGVM");
    put(input, 16, length.to_le_bytes());
    let fixed = if u32_at(input, 4) == 2 { 32 } else { 24 };
    if section(input).is_none() || u32_at(input, 8) < fixed {
        put(input, 8, fixed.to_le_bytes());
        let size = u32_at(input, 12).min(length - fixed) & !7;
        put(input, 12, size.to_le_bytes());
    }
    put(input, 20, [0; 4]);
    let (start, end) = section(input).unwrap_or((24, 24));
    let crc = [&input[..fixed as usize], &input[start..end]]
        .into_iter()
        .flatten()
        .fold(u32::MAX, |state, byte| {
            TABLE[(state as u8 ^ byte) as usize] ^ state >> 8
        });
    put(input, 20, (!crc).to_le_bytes());
}

/// CRC-32, a byte at a time.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (0xEDB8_8320 * (value & 1));
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// A machine that panics on what the loader promises not to do, and refuses after so many pages.
struct Watcher<'a> {
    platform: Platform,
    host: &'a HostParameters<'a>,
    patience: u64,
    calls: u64,
    policies: u64,
    required: Vec<(u64, u64)>,
    pages: BTreeSet<u64>,
    contexts: BTreeSet<u16>,
    refused: bool,
}

impl Watcher<'_> {
    fn new<'a>(platform: Platform, host: &'a HostParameters<'a>, patience: u64) -> Watcher<'a> {
        Watcher {
            platform,
            host,
            patience,
            calls: 0,
            policies: 0,
            required: Vec::new(),
            pages: BTreeSet::new(),
            contexts: BTreeSet::new(),
            refused: false,
        }
    }

    fn call(&mut self) {
        assert!(!self.refused, "a call after one was refused");
        self.calls += 1;
    }
}

impl Machine for Watcher<'_> {
    type Error = u64;

    fn guest_policy(&mut self, policy: u64) -> Result<(), u64> {
        self.call();
        assert!(self.platform != Platform::SevSnp || policy & 1 << 17 != 0);
        self.policies += 1;
        Ok(())
    }

    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), u64> {
        self.call();
        assert!(gpa.checked_add(bytes).unwrap() <= self.host.gpa_limit);
        self.required.push((gpa, gpa + bytes));
        Ok(())
    }

    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), u64> {
        self.call();
        let end = gpa.checked_add(PAGE_SIZE as u64).unwrap();
        assert!(gpa.is_multiple_of(PAGE_SIZE as u64) && end <= self.host.gpa_limit);
        assert!(self.pages.insert(gpa), "{gpa:#x} is launched twice");
        assert!(
            self.platform == Platform::SevSnp
                || !matches!(kind, PageKind::Secrets | PageKind::Cpuid)
        );
        assert!(kind != PageKind::Zero || contents.iter().all(|byte| *byte == 0));
        if self.pages.len() as u64 > self.patience {
            self.refused = true;
            return Err(gpa);
        }
        Ok(())
    }

    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), u64> {
        self.call();
        assert!(u32::from(vp_index) < self.host.vp_count && self.contexts.insert(vp_index));
        assert!(gpa.is_multiple_of(PAGE_SIZE as u64));
        if self.platform == Platform::Native {
            assert!(gpa == 0 && native::context(contents).is_ok());
            // Which of them can be entered is the machine's affair; to ask must be safe.
            let _ = Flat32::read(contents);
        }
        Ok(())
    }
}

const fn entry(first: u64, pages: u64, entry_type: MemoryMapEntryType) -> MemoryMapEntry {
    MemoryMapEntry {
        starting_gpa_page_number: first,
        number_of_pages: pages,
        entry_type,
        flags: 0,
        reserved: 0,
    }
}

const RAM: [MemoryMapEntry; 3] = [
    entry(0, 0xA0, MemoryMapEntryType::MEMORY),
    entry(0xA0, 0x60, MemoryMapEntryType::PLATFORM_RESERVED),
    entry(0x100, 0x1_FF00, MemoryMapEntryType::MEMORY),
];

fn run(input: &[u8]) -> Outcome {
    let image = match Image::parse(input) {
        Ok(image) => image,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    let data = &input[image.data_start()..];
    let is_data = |part: &[u8]| {
        let (part, whole) = (part.as_ptr_range(), data.as_ptr_range());
        assert!(whole.start <= part.start && part.end <= whole.end);
    };
    for header in image.headers() {
        match header.unwrap().body {
            Body::PageData {
                contents: Some(contents),
                ..
            }
            | Body::VpContext { contents, .. } => is_data(contents),
            Body::ParameterArea { bytes, initial, .. } => {
                assert!(bytes <= MAX_PARAMETER_AREA_SIZE);
                initial.into_iter().for_each(is_data);
            }
            _ => {}
        }
    }
    let mut accepted = false;
    let mut told = Vec::new();
    for platform in [Platform::SevSnp, Platform::Native] {
        let selection = match image.select(platform) {
            Ok(selection) => selection,
            Err(error) => {
                told.push(error.to_string());
                continue;
            }
        };
        let digest = selection.launch_digest();
        for (vp_count, ram, gpa_limit) in [(4, &RAM[..], 1 << 47), (1, &RAM[..1], 1 << 40)] {
            let host = HostParameters {
                vp_count,
                memory_map: ram,
                madt: &[0x5A; 120],
                memory_is_shared: platform == Platform::SevSnp,
                gpa_limit,
            };
            let mut machine = Watcher::new(platform, &host, u64::MAX);
            let result = selection.load(&host, &mut machine);
            match &result {
                Ok(summary) => {
                    accepted = true;
                    check(&machine, digest.is_ok());
                    assert_eq!(
                        summary.pages + summary.parameter_pages,
                        machine.pages.len() as u64
                    );
                    assert_eq!(summary.vp_contexts, machine.contexts.len() as u64);
                    let patience = summary.pages / 2;
                    let mut machine = Watcher::new(platform, &host, patience);
                    let again = selection.load(&host, &mut machine);
                    assert_eq!(matches!(again, Err(LoadError::Machine(_))), machine.refused);
                    told.push(format!("{summary:?}"));
                }
                Err(LoadError::Machine(_)) => panic!("this machine refuses nothing"),
                Err(error) => {
                    assert_eq!(machine.calls, 0, "a refused file has been loaded in part");
                    told.push(error.to_string());
                }
            }
        }
    }
    Outcome::new(accepted, told)
}

/// What only a whole load shows.
fn check(machine: &Watcher<'_>, has_digest: bool) {
    assert!(!machine.contexts.is_empty());
    match machine.platform {
        Platform::SevSnp => assert!(machine.policies == 1 && has_digest),
        Platform::Native => assert_eq!(machine.policies, 0),
    }
    for &gpa in &machine.pages {
        let end = gpa + PAGE_SIZE as u64;
        let in_ram = machine.host.memory_map.iter().any(|entry| {
            let start = entry.starting_gpa_page_number * 4096;
            entry.entry_type == MemoryMapEntryType::MEMORY
                && start <= gpa
                && end <= start + entry.number_of_pages * 4096
        });
        let required = machine
            .required
            .iter()
            .any(|&(start, stop)| start <= gpa && end <= stop);
        assert!(in_ram || required, "{gpa:#x} is no memory");
    }
}
