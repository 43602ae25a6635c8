//! Bad files: every command refuses them with one line, and `inspect --check` names the rule.

mod common;

use common::{assert_refused, image, scratch, seal, tool};
use igvm::{IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmRevision, IsolationType};
use igvm_defs::{
    IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT, IgvmPageDataFlags, IgvmPageDataType,
};
use igvm_loader::Image;
use macadamia_igvm::{check, inspect, measure};

/// All three commands on bytes; `Err` if one refuses, in one line.
fn all(bytes: &[u8]) -> Result<(), String> {
    let results = [
        measure::measure(bytes).map(|_| ()),
        inspect::describe(bytes, false).map(|_| ()),
        inspect::describe(bytes, true).map(|_| ()),
        check::refuse_bad(bytes),
    ];
    for result in results {
        result.map_err(|error| {
            let line = format!("{error:#}");
            assert!(!line.contains('\n'), "{line}");
            line
        })?;
    }
    Ok(())
}

#[test]
fn a_good_file_passes() {
    all(&image()).unwrap();
}

#[test]
fn truncated_at_every_length_of_the_headers_and_every_page() {
    let bytes = image();
    let end = Image::parse(&bytes).unwrap().data_start();
    for length in (0..=end).chain((end..bytes.len()).step_by(512)) {
        all(&bytes[..length]).expect_err("truncated");
    }
    all(&bytes[..bytes.len() - 1]).expect_err("truncated");
}

#[test]
fn every_bit_of_the_headers_flipped() {
    let bytes = image();
    let end = Image::parse(&bytes).unwrap().data_start();
    for bit in 0..end * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Image::parse(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn headers_changed_under_a_right_checksum_never_end_in_a_panic() {
    // The file may still be good; whatever it is, all commands must come to an end with a result.
    let bytes = image();
    let end = Image::parse(&bytes).unwrap().data_start();
    for at in (0..end).filter(|at| !(20..24).contains(at)) {
        for value in [0x00, 0x01, 0x02, 0x04, 0x7F, 0x80, 0xFF] {
            let mut bad = bytes.clone();
            bad[at] = value;
            seal(&mut bad);
            let _ = all(&bad);
        }
    }
}

#[test]
fn a_flipped_bit_of_the_data_changes_the_digest() {
    let bytes = image();
    let good = measure::measure(&bytes).unwrap();
    let start = Image::parse(&bytes).unwrap().data_start();
    // The last two pages are the native platform's own: its parameters and its processor's state.
    let end = bytes.len() - 2 * 4096;
    for at in (start..end).step_by(499) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert_ne!(measure::measure(&changed).unwrap(), good, "{at:#x}");
    }
}

#[test]
fn the_commands_end_with_status_1_and_one_line() {
    let bytes = image();
    let mut flipped = bytes.clone();
    flipped[40] ^= 1;
    let mut checksum = bytes.clone();
    checksum[20] ^= 1;
    let path = scratch("bad-file.igvm", &bytes);
    let path = path.to_str().unwrap();
    for (bad, expected) in [
        (
            &bytes[..1000],
            "bad-file.igvm: IGVM file, offset 0x10: file size is",
        ),
        (
            &bytes[..10],
            "variable header offset needs 0x4 bytes, but only 0x2 follow",
        ),
        (&[], "magic needs 0x4 bytes, but only 0x0 follow"),
        (&flipped, "checksum is"),
        (&checksum, "checksum is"),
        (
            b"GIF89a, not IGVM",
            "magic is 0x38464947, expected 0x4d564749",
        ),
    ] {
        std::fs::write(path, bad).unwrap();
        assert_refused(&tool(&["measure", path]), expected);
        assert_refused(&tool(&["inspect", path]), expected);
        assert_refused(&tool(&["inspect", "--check", path]), expected);
    }
    assert_refused(
        &tool(&["measure", "/nonexistent/image"]),
        "cannot read /nonexistent/image",
    );
}

#[test]
fn inspect_says_it_in_words() {
    let path = scratch("words.igvm", &image());
    let output = tool(&["inspect", path.to_str().unwrap()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "platform AMD SEV-SNP (type 2, version 1) has compatibility mask 0x1; highest VTL 2",
        "guest policy 0x30000: firmware ABI at least 0.0, SMT allowed",
        "memory is required from 0x8000000000 to 0x80007fffff (8192 KiB)",
        "parameter area 1: 0x2000 bytes, initially zero",
        "the host writes the VP count to offset 0x0 of parameter area 0",
        "the host writes the environment info to offset 0x4 of parameter area 0",
        "the host writes the MADT to offset 0x0 of parameter area 2",
        "parameter area 2 is launched at 0x80007f8000; only its address is measured",
        "page data, 0x10000 to 0x11fff (2 pages): contents from the file, measured",
        "page data, 0x1e000 to 0x1efff (1 page): the CPUID page",
        "page data, 0x1f000 to 0x1ffff (1 page): the secrets page",
        "page data, 0x801000 to 0x81ffff (31 pages): zeros made by the firmware",
        "first state of VP 0 at 0xfffffffff000: VMPL0, 32-bit protected mode without paging, RIP 0x10010",
        "SEV_FEATURES 0x9 (SNP_ACTIVE | RESTRICTED_INJECTION)",
    ] {
        assert!(text.contains(words), "{text}\nlacks {words:?}");
    }
    let each = tool(&["inspect", "--each", path.to_str().unwrap()]);
    let each = String::from_utf8(each.stdout).unwrap();
    let pages = Image::parse(&image()).unwrap().headers().count();
    assert_eq!(each.lines().count(), pages + 1);
}

#[test]
fn check_prints_a_line_for_each_rule() {
    let path = scratch("checked.igvm", &image());
    let output = tool(&["inspect", "--check", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("ok    "))
            .count(),
        check::rules().count()
    );
    assert!(!text.contains("FAIL"));
}

type Parts = (u64, Vec<IgvmDirectiveHeader>);

/// The good image with a change, written by the library without this project's checks.
fn changed(change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let file = IgvmFile::new_from_binary(&image(), Some(IsolationType::Snp)).unwrap();
    let mut parts = (0x3_0000, file.directives().to_vec());
    change(&mut parts);
    let policy = IgvmInitializationHeader::GuestPolicy {
        policy: parts.0,
        compatibility_mask: 1,
    };
    let file = IgvmFile::new(
        IgvmRevision::V1,
        file.platforms().to_vec(),
        vec![policy],
        parts.1,
    )
    .unwrap();
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).unwrap();
    bytes
}

/// The statements of the rules that a change breaks.
fn broken(change: impl FnOnce(&mut Parts)) -> Vec<String> {
    let verdicts = check::check(&changed(change)).unwrap();
    verdicts
        .iter()
        .filter(|verdict| verdict.result.is_err())
        .map(|verdict| verdict.statement.to_owned())
        .collect()
}

fn breaks(rule: &str, change: impl FnOnce(&mut Parts)) {
    let broken = broken(change);
    assert!(
        broken.iter().any(|statement| statement.contains(rule)),
        "{broken:?} lacks {rule:?}"
    );
}

fn context(parts: &mut Parts) -> &mut IgvmDirectiveHeader {
    parts.1.last_mut().unwrap()
}

fn vmsa(parts: &mut Parts) -> &mut igvm::snp_defs::SevVmsa {
    match context(parts) {
        IgvmDirectiveHeader::SnpVpContext { vmsa, .. } => vmsa,
        other => panic!("{other}"),
    }
}

fn page(gpa: u64, data_type: IgvmPageDataType) -> IgvmDirectiveHeader {
    IgvmDirectiveHeader::PageData {
        gpa,
        compatibility_mask: 1,
        flags: IgvmPageDataFlags::new(),
        data_type,
        data: vec![7; 16],
    }
}

fn position(parts: &Parts, pick: impl Fn(&IgvmDirectiveHeader) -> bool) -> usize {
    parts.1.iter().position(pick).unwrap()
}

#[test]
fn rules_about_the_file_are_told_when_broken() {
    breaks("there is one guest policy", |parts| parts.0 = 0x2_0000);
    breaks("there is one guest policy", |parts| {
        parts.0 = 1 << 40 | 0x3_0000
    });
    breaks("there is one CPUID page and one secrets page", |parts| {
        parts
            .1
            .insert(10, page(0x50_0000, IgvmPageDataType::SECRETS));
    });
    breaks("there is one CPUID page and one secrets page", |parts| {
        parts.1.retain(|header| {
            !matches!(
                header,
                IgvmDirectiveHeader::PageData {
                    data_type: IgvmPageDataType::CPUID_DATA,
                    ..
                }
            )
        });
    });
    breaks("page data avoid", |parts| {
        parts.1.insert(10, page(0xB_8000, IgvmPageDataType::NORMAL))
    });
    breaks("page data avoid", |parts| {
        parts
            .1
            .insert(10, page(0xFEE0_0000, IgvmPageDataType::NORMAL))
    });
    breaks("parameter areas have no initial contents", |parts| {
        let at = position(parts, |header| {
            matches!(header, IgvmDirectiveHeader::ParameterArea { .. })
        });
        if let IgvmDirectiveHeader::ParameterArea { initial_data, .. } = &mut parts.1[at] {
            initial_data.push(1);
        }
    });
    breaks("the memory map and the MADT start their areas", |parts| {
        let at = position(parts, |header| {
            matches!(header, IgvmDirectiveHeader::MemoryMap(_))
        });
        parts.1[at] = IgvmDirectiveHeader::MemoryMap(IGVM_VHS_PARAMETER {
            parameter_area_index: 1,
            byte_offset: 8,
        });
    });
    breaks("every parameter area is inserted", |parts| {
        parts.1.retain(|header| !matches!(header, IgvmDirectiveHeader::ParameterInsert(info) if info.parameter_area_index == 2));
    });
    breaks("QEMU knows the type of every header", |parts| {
        parts.1.insert(
            4,
            IgvmDirectiveHeader::CommandLine(IGVM_VHS_PARAMETER {
                parameter_area_index: 0,
                byte_offset: 8,
            }),
        );
    });
    breaks("the file has at most 2 MiB", |parts| {
        let last = parts.1.len() - 1;
        let pages = (0..600u64).map(|index| IgvmDirectiveHeader::PageData {
            gpa: 0x1000_0000 + index * 4096,
            compatibility_mask: 1,
            flags: IgvmPageDataFlags::new(),
            data_type: IgvmPageDataType::NORMAL,
            data: (index + 1).to_le_bytes().to_vec(),
        });
        parts.1.splice(last..last, pages);
    });
    breaks("the headers are well-formed", |parts| {
        parts.1.insert(20, page(0x1_0000, IgvmPageDataType::NORMAL))
    });
}

#[test]
fn rules_about_the_order_are_told_when_broken() {
    breaks("required memory comes before the pages in it", |parts| {
        let memory = parts.1.remove(0);
        let last = parts.1.len() - 1;
        parts.1.insert(last, memory);
    });
    breaks("parameters are inserted before page data", |parts| {
        let last = parts.1.len() - 1;
        let area = IgvmDirectiveHeader::ParameterArea {
            number_of_bytes: 4096,
            parameter_area_index: 9,
            initial_data: vec![],
        };
        let insert = IGVM_VHS_PARAMETER_INSERT {
            gpa: 0x50_0000,
            compatibility_mask: 1,
            parameter_area_index: 9,
        };
        parts.1.splice(
            last..last,
            [area, IgvmDirectiveHeader::ParameterInsert(insert)],
        );
    });
    breaks("page data are in the order of their addresses", |parts| {
        let last = parts.1.len() - 1;
        parts
            .1
            .insert(last, page(0x50_0000, IgvmPageDataType::NORMAL));
    });
    breaks("the VP context is the last directive", |parts| {
        parts.1.push(page(0x50_0000, IgvmPageDataType::NORMAL));
    });
}

#[test]
fn rules_about_the_vmsa_are_told_when_broken() {
    breaks(
        "there is one VP context, for VP 0, at 0xfffffffff000",
        |parts| {
            if let IgvmDirectiveHeader::SnpVpContext { gpa, .. } = context(parts) {
                *gpa = 0x80_0010_0000;
            }
        },
    );
    breaks(
        "there is one VP context, for VP 0, at 0xfffffffff000",
        |parts| {
            if let IgvmDirectiveHeader::SnpVpContext { vp_index, .. } = context(parts) {
                *vp_index = 1;
            }
        },
    );
    breaks("there is one VP context", |parts| drop(parts.1.pop()));
    breaks("the VMSA has only fields that QEMU passes on", |parts| {
        vmsa(parts).virtual_tom = 1 << 46
    });
    breaks("the VMSA has only fields that QEMU passes on", |parts| {
        vmsa(parts).vmpl = 1
    });
    breaks("the VMSA has only fields that QEMU passes on", |parts| {
        vmsa(parts).vmsa_padding[2447] = 1
    });
    breaks("CR0 is 0x31", |parts| vmsa(parts).cr0 = 0x11);
    breaks("DR7 is 0x400", |parts| vmsa(parts).dr7 = 0x401);
    breaks("EFER.SVME is set", |parts| vmsa(parts).efer = 0);
    breaks("SEV_FEATURES has SNP_ACTIVE", |parts| {
        vmsa(parts).sev_features.set_snp(false)
    });
    breaks("SEV_FEATURES has SNP_ACTIVE", |parts| {
        vmsa(parts).sev_features.set_alternate_injection(true)
    });
    breaks("the first instruction is in a launched page", |parts| {
        vmsa(parts).rip = 0x7000
    });
}
