//! What the host and the image builder give to the SVSM: parameter pages, the MADT, the memory map, the CPUID page,
//! answers to MSR requests.

use boot_abi::{BOOT_PARAMS_MAGIC, BootParams, GpaRange, PARAMS_VERSION, layout};
use snp_abi::cpuid::CpuidPage;
use snp_model::cpuid::{Asker, answer};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use svsm_core::cpuid::CpuidTable;
use svsm_core::madt::{CpuList, MAX_CPUS};
use svsm_core::memory_map::{MAX_RANGES, RamMap};
use svsm_core::page_map::{PageMap, PageState};
use svsm_core::policy::Policy;
use svsm_core::{boot_params, clock, handoff, host_answer};
use zerocopy::{FromBytes, IntoBytes};

use super::{balance, page, put, sum, u32_at, u64_at};
use crate::target::{Outcome, Target};

/// Bytes of the SVSM's own image in this fuzzer.
const IMAGE: u64 = 0x4_1234;

pub const BOOT_PARAMS: Target = Target {
    words: &[
        b"\0\0\0\0\x80\0\0\0",
        b"\0\0\x80\0\0\0\0\0",
        b"\0\0\x01\0\0\0\0\0",
        b"\0\x10\0\0\0\0\0\0",
    ],
    mend: Some(|input| {
        put(input, 0, BOOT_PARAMS_MAGIC);
        put(input, 8, PARAMS_VERSION.to_le_bytes());
        put(input, 12, (size_of::<BootParams>() as u32).to_le_bytes());
    }),
    ..Target::new("boot-params", size_of::<BootParams>() + 64, run_boot_params)
};

fn run_boot_params(input: &[u8]) -> Outcome {
    let bases = [layout::SVSM_BASE, layout::NATIVE_SVSM_BASE];
    let [snp, native] = bases.map(|base| check_boot_params(input, base));
    assert!(!(snp.accepted && native.accepted));
    if native.accepted { native } else { snp }
}

fn check_boot_params(input: &[u8], base: u64) -> Outcome {
    let end = base + IMAGE;
    let result = boot_params::check(input, base, end);
    if let Ok(params) = &result {
        let bounds = |range: &GpaRange| boot_params::bounds(range).unwrap();
        let within = |inner: &GpaRange, outer: (u64, u64)| {
            let inner = bounds(inner);
            outer.0 <= inner.0 && inner.0 <= inner.1 && inner.1 <= outer.1
        };
        let svsm = bounds(&params.svsm);
        let parameters = bounds(&params.parameters);
        let image = bounds(&params.kernel_image);
        let services = bounds(&params.services);
        assert!(svsm.0 == base && image.0 == base && end <= image.1 && image.1 <= services.0);
        assert!(services.1 <= parameters.0 && parameters.1 == svsm.1);
        for area in [&params.memory_map, &params.madt] {
            assert!(within(area, parameters));
        }
        let launched = bounds(&params.boot_stage);
        assert!(launched.1 <= svsm.0 && within(&params.boot_stage_launched, launched));
        if params.guest.entry_mode.get() != 0 {
            let region = bounds(&params.guest.region);
            assert!(region.1 <= svsm.0 && within(&params.guest.launched, region));
            assert!(within(
                &params.guest.memory_map,
                bounds(&params.guest.launched)
            ));
        }
        // Nothing behind the structure counts.
        assert_eq!(boot_params::check(params.as_bytes(), base, end), result);
    }
    Outcome::of(&result)
}

pub const MADT: Target = Target {
    words: &[
        &[0, 8, 0, 1, 1, 0, 0, 0],
        &[0, 8, 0, 0, 1, 0, 0, 0],
        &[0, 8, 0, 3, 2, 0, 0, 0],
        &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[4, 6, 0xFF, 0, 0, 1],
    ],
    change: Some(|rng, input| {
        // One entry more, at the end of another one.
        let mut at = 44;
        let mut ends = vec![at];
        while let Some(&length) = input.get(at + 1).filter(|&&length| length >= 2) {
            at += usize::from(length);
            ends.push(at);
        }
        let at = rng.pick(&ends).min(input.len());
        let id = if rng.chance(70) {
            rng.below(12) as u32
        } else {
            rng.word() as u32
        };
        let flags = rng.pick(&[1, 1, 1, 0, 2, 3, 4]);
        let entry = match rng.below(3) {
            0 => [&[0, 8, 0, id as u8][..], &u32::to_le_bytes(flags)].concat(),
            1 => [
                &[9, 16, 0, 0][..],
                &id.to_le_bytes(),
                &u32::to_le_bytes(flags),
                &[0; 4],
            ]
            .concat(),
            _ => {
                let mut entry = vec![rng.word() as u8, 2];
                entry.extend(rng.some_bytes(14));
                entry[1] = entry.len() as u8;
                entry
            }
        };
        input.splice(at..at, entry);
    }),
    mend: Some(|input| {
        let length = input.len() as u32;
        put(input, 0, *b"APIC");
        put(input, 4, length.to_le_bytes());
        balance(input, 9);
    }),
    ..Target::new("madt", 0x8000, run_madt)
};

/// The processors by another reading of ACPI 6.5 §5.2.12: the table's end, then entry by entry.
fn processors(table: &[u8]) -> Option<(Vec<u32>, usize)> {
    let mut rest = table.get(44..)?;
    let (mut enabled, mut pluggable) = (Vec::new(), 0);
    while !rest.is_empty() {
        let (entry, after) = rest.split_at_checked(usize::from(*rest.get(1)?))?;
        let (id, flags, nobody) = match (*entry.first()?, entry.len()) {
            (0, 8..) => (entry[3].into(), u32_at(entry, 4), 0xFF),
            (9, 16..) => (u32_at(entry, 4), u32_at(entry, 8), u32::MAX),
            (0 | 9, _) | (_, 0..2) => return None,
            _ => (u32::MAX, 0, u32::MAX),
        };
        match flags & 3 {
            _ if id == nobody => {}
            1 | 3 => enabled.push(id),
            2 => pluggable += 1,
            _ => {}
        }
        rest = after;
    }
    Some((enabled, pluggable))
}

/// The same table for two boot processors.
fn run_madt(input: &[u8]) -> Outcome {
    let [zero, five] = [0, 5].map(|boot_id| check_madt(input, boot_id));
    if five.accepted { five } else { zero }
}

fn check_madt(input: &[u8], boot_id: u32) -> Outcome {
    let result = CpuList::parse(input, boot_id);
    let length = u32_at(input, 4) as usize;
    let table = input.get(..length).filter(|_| input.starts_with(b"APIC"));
    let expected = table.and_then(processors).filter(|(ids, _)| {
        let unique: BTreeSet<_> = ids.iter().collect();
        unique.len() == ids.len() && ids.len() <= MAX_CPUS && ids.contains(&boot_id)
    });
    match (&result, &expected) {
        (Ok(list), Some((ids, pluggable))) => {
            assert_eq!(list.ids(), ids);
            assert_eq!(list.pluggable, *pluggable);
            assert_eq!(list.checksum_holds, table.map(sum) == Some(0));
        }
        (Err(_), None) => {}
        (found, _) => panic!("accepted: {}, expected: {expected:?}", found.is_ok()),
    }
    Outcome::of(&result)
}

/// RAM of the SVSM's guest lies below its own memory.
const LIMIT: u64 = layout::SVSM_BASE;
/// Words of the largest page map that is tried out.
const MOST_WORDS: usize = 1 << 12;

pub const MEMORY_MAP: Target = Target {
    record: 24,
    words: &[
        &[0, 0, 0, 8, 0, 0, 0, 0],
        &[0xFF, 0xFF, 0xFF, 0x07, 0, 0, 0, 0],
        &[0, 0x10, 0, 0, 0, 0, 0, 0],
    ],
    ..Target::new("memory-map", 40 * 24, run_memory_map)
};

fn run_memory_map(input: &[u8]) -> Outcome {
    let result = RamMap::parse(input, LIMIT);
    if let Ok(map) = &result {
        check_ram(map, input);
    }
    check_around(&result, input);
    match &result {
        Ok(map) => Outcome::new(true, (map.bytes(), map.page_map_words())),
        Err(error) => Outcome::new(false, error.to_string()),
    }
}

/// The same map with the SVSM's own memory cut out.
fn check_around(whole: &Result<RamMap, impl std::error::Error>, input: &[u8]) {
    let own = layout::NATIVE_SVSM_BASE..layout::NATIVE_SVSM_BASE + layout::SVSM_SIZE;
    let around = RamMap::parse_around(input, LIMIT, std::slice::from_ref(&own));
    let (Ok(whole), Ok(around)) = (whole, &around) else {
        return;
    };
    let mut bytes = 0;
    for range in whole.ranges() {
        let cut = own
            .end
            .min(range.end)
            .saturating_sub(own.start.max(range.start));
        bytes += range.end - range.start - cut;
    }
    assert_eq!(around.bytes(), bytes);
    for range in around.ranges() {
        assert!(range.end <= own.start || own.end <= range.start);
        assert!(whole.contains(range.start, range.end - range.start));
    }
}

fn check_ram(map: &RamMap, input: &[u8]) {
    let ranges = map.ranges();
    assert!(!ranges.is_empty() && ranges.len() <= MAX_RANGES);
    assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
    for range in ranges {
        assert!(
            range.start < range.end && range.end <= LIMIT && (range.start | range.end) % 4096 == 0
        );
        assert!(map.contains(range.start, range.end - range.start));
        assert!(!map.contains(range.start, range.end - range.start + 1));
    }
    // As much as the entries say, up to the one that ends the table.
    let entries = input.as_chunks::<24>().0;
    let entries: Vec<_> = entries
        .iter()
        .take_while(|entry| u64_at(*entry, 8) != 0)
        .collect();
    let ram = entries
        .iter()
        .filter(|entry| u32_at(**entry, 16) as u16 == 0);
    assert_eq!(
        ram.map(|entry| u64_at(*entry, 8) * 4096).sum::<u64>(),
        map.bytes()
    );
    // The guest's copy says the same.
    let copy: Vec<u8> = handoff::memory_map_entries(map)
        .flat_map(|entry| entry.as_bytes().to_vec())
        .collect();
    assert_eq!(RamMap::parse(&copy, LIMIT).unwrap().ranges(), ranges);
    let words = map.page_map_words();
    assert!(words as u64 * 16 >= map.bytes() / 4096);
    if words <= MOST_WORDS {
        let words: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let pages = PageMap::new(map, &words).unwrap();
        assert!(PageMap::new(map, &words[1..]).is_none());
        for range in ranges {
            for (gpa, state) in [
                (range.start, PageState::Unvalidated),
                (range.end - 1, PageState::Unvalidated),
                (range.end, PageState::NotRam),
                (range.start.wrapping_sub(1), PageState::NotRam),
            ] {
                assert_eq!(pages.state(gpa), state, "{gpa:#x}");
            }
        }
    }
}

pub const CPUID: Target = Target {
    record: 48,
    words: &[
        &[7, 0, 0, 0, 0, 0, 0, 0],
        &[0x1F, 0, 0, 0x80],
        &[1, 0, 0, 0x80],
        &[0xD, 0, 0, 0, 1, 0, 0, 0],
        &[0xB, 0, 0, 0],
        &[0x15, 0, 0, 0],
        &[0x10, 0, 0, 0x40],
    ],
    ..Target::new("cpuid", 4096, run_cpuid)
};

fn run_cpuid(input: &[u8]) -> Outcome {
    let page = page(input);
    let page = CpuidPage::ref_from_bytes(&page).unwrap();
    let Some(table) = CpuidTable::new(page) else {
        assert!(!(1..=64).contains(&page.count.get()));
        return Outcome::new(false, 0);
    };
    let entries = &page.entries[..page.count.get() as usize];
    let asker = Asker {
        apic_id: 1,
        cr4: 0,
        xcr0: 1,
        xss: 0,
        apic_enabled: true,
    };
    let mut found = Vec::new();
    for entry in entries {
        let (leaf, subleaf) = (entry.eax_in.get(), entry.ecx_in.get());
        let result = table.get(leaf, subleaf);
        let values = [result.eax, result.ebx, result.ecx, result.edx];
        // What is told is an entry for this leaf, and the machine reads the same page in the same way.
        assert!(entries.iter().any(|other| {
            let has = [&other.eax, &other.ebx, &other.ecx, &other.edx].map(|field| field.get());
            other.eax_in.get() == leaf && has == values
        }));
        let machine = answer(page, &asker, leaf, subleaf);
        if !matches!(leaf, 1 | 0xB | 0xD | 0x8000_001E) {
            assert_eq!([machine.eax, machine.ebx, machine.ecx, machine.edx], values);
        }
        found.push(values);
    }
    let policy = Policy::of(&table);
    assert_eq!(policy.missing(&table, false), None);
    let missing = policy.missing(&table, true);
    assert!(missing.is_some() || policy.smep && policy.smap && policy.umip && policy.nx);
    let rate = clock::from_cpuid(&table);
    if let Some((rate, source)) = rate {
        assert!((100_000..=20_000_000).contains(&rate) && !source.is_trusted());
    }
    let rate = rate.map(|(rate, source)| (rate, source.to_string()));
    Outcome::new(
        missing.is_none(),
        (found, missing, policy.to_string(), rate),
    )
}

pub const ANSWERS: Target = Target {
    words: &[
        &[0x01, 0, 0, 0x2F, 1, 0, 2, 0],
        &[0x81, 0x70, 0x03, 0, 0, 0, 0, 0],
        &[0x13, 0x90, 0x80, 0, 0, 0, 0, 0],
        &[0x15, 0, 0, 0, 0, 0, 0, 0],
        &[0x17, 0, 0, 0, 0, 0, 0, 0],
    ],
    ..Target::new("host-answers", 24, run_answers)
};

/// The host's answers to MSR requests: an accepted one has its code, and says what is needed and nothing else.
fn run_answers(input: &[u8]) -> Outcome {
    let (answer, gpa) = (u64_at(input, 0), u64_at(input, 8) & !0xFFF);
    let c_bit = u64_at(input, 16) & 0x3F;
    let code = answer & 0xFFF;
    let info = host_answer::sev_info(answer, c_bit);
    if info.is_ok() {
        assert!(code == 1 && answer >> 48 >= 2 && (answer >> 32) as u16 <= 2);
        assert_eq!(answer >> 24 & 0xFF, c_bit);
    }
    let features = host_answer::features(answer);
    if let Ok(features) = features {
        assert!(code == 0x81 && features & 0x23 == 0x23 && features == answer >> 12);
    }
    let registration = host_answer::registration(answer, gpa);
    assert_eq!(registration.is_ok(), answer == gpa | 0x13);
    let state = host_answer::page_state(answer, gpa);
    assert_eq!(state.is_ok(), code == 0x15 && answer >> 32 == 0);
    let run = host_answer::run_vmpl(answer, gpa & 3);
    assert_eq!(run.is_ok(), code == 0x17 && answer >> 32 == 0);
    let event = host_answer::event(answer, gpa, c_bit);
    let [before, current, end] = [0, 16, 32].map(|shift| (answer >> shift) as u16);
    let progress = host_answer::page_state_progress(before, current, end);
    if progress == Ok(false) {
        assert!(before < current && current <= end);
    }
    let errors = [
        info.err(),
        features.err(),
        registration.err(),
        state.err(),
        run.err(),
        event.err(),
        progress.err(),
    ];
    let texts = errors.map(|error| error.map(|error| error.to_string()));
    Outcome::new(texts.iter().any(Option::is_none), texts)
}
