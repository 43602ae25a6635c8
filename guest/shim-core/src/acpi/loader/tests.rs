use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::acpi::tables::{Table, TableError, find_rsdp, walk};
use crate::fw_cfg;

/// fw_cfg files in memory, and addresses handed out upwards.
struct FakeHost {
    files: Vec<(String, Vec<u8>)>,
    next: u64,
    end: u64,
}

impl FakeHost {
    fn new(files: &[(&str, &[u8])]) -> FakeHost {
        FakeHost {
            files: files
                .iter()
                .map(|(name, data)| (name.to_string(), data.to_vec()))
                .collect(),
            next: 0x1F00_0000,
            end: 0x2000_0000,
        }
    }
}

impl Host for FakeHost {
    fn read(&mut self, file: &str, limit: usize) -> Result<Vec<u8>, String> {
        let (_, data) = self
            .files
            .iter()
            .find(|(name, _)| name == file)
            .ok_or("no such file")?;
        if data.len() > limit {
            return Err(format!("{} bytes, at most {limit} are read", data.len()));
        }
        Ok(data.clone())
    }

    fn allocate(&mut self, size: u64, align: u64, _: Zone) -> Option<u64> {
        let start = self.next.next_multiple_of(align);
        self.next = start.checked_add(size)?;
        (self.next <= self.end).then_some(start)
    }
}

/// A script's entry, laid out by QEMU's `BiosLinkerLoaderEntry`.
fn entry(command: u32, first: &str, second: &str, numbers: &[(usize, &[u8])]) -> Vec<u8> {
    let mut out = vec![0; 128];
    out[..4].copy_from_slice(&command.to_le_bytes());
    out[4..4 + first.len()].copy_from_slice(first.as_bytes());
    out[60..60 + second.len()].copy_from_slice(second.as_bytes());
    for (offset, bytes) in numbers {
        out[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    out
}

fn allocate(file: &str, align: u32, zone: u8) -> Vec<u8> {
    entry(1, file, "", &[(60, &align.to_le_bytes()), (64, &[zone])])
}

fn add_pointer(to: &str, from: &str, offset: u32, size: u8) -> Vec<u8> {
    entry(2, to, from, &[(116, &offset.to_le_bytes()), (120, &[size])])
}

fn add_checksum(file: &str, offset: u32, start: u32, length: u32) -> Vec<u8> {
    let numbers = [offset, start, length].map(u32::to_le_bytes).concat();
    entry(3, file, "", &[(60, &numbers)])
}

fn write_pointer(to: &str, from: &str, offset: u32, source_offset: u32, size: u8) -> Vec<u8> {
    let numbers = [offset, source_offset].map(u32::to_le_bytes).concat();
    entry(4, to, from, &[(116, &numbers), (124, &[size])])
}

fn run(script: &[Vec<u8>], files: &[(&str, &[u8])]) -> Result<Loaded, LoadError> {
    load(&script.concat(), &mut FakeHost::new(files))
}

fn error(script: &[Vec<u8>], files: &[(&str, &[u8])]) -> String {
    run(script, files).unwrap_err().to_string()
}

mod q35 {
    use super::*;

    struct Dump {
        directory: &'static [u8],
        script: &'static [u8],
        tables: &'static [u8],
        rsdp: &'static [u8],
    }

    macro_rules! dump {
        ($folder:literal) => {
            Dump {
                directory: include_bytes!(concat!("../../../tests/data/", $folder, "/directory")),
                script: include_bytes!(concat!("../../../tests/data/", $folder, "/table-loader")),
                tables: include_bytes!(concat!("../../../tests/data/", $folder, "/tables")),
                rsdp: include_bytes!(concat!("../../../tests/data/", $folder, "/rsdp")),
            }
        };
    }

    const DUMPS: [(usize, Dump); 2] = [
        (1, dump!("qemu-7.2-q35-1cpu")),
        (8, dump!("qemu-7.2-q35-8cpu")),
    ];

    fn installed(dump: &Dump) -> Loaded {
        let count = fw_cfg::file_count(dump.directory[..4].try_into().unwrap()).unwrap();
        let mut entries = dump.directory[4..].to_vec();
        entries.resize(count * fw_cfg::DIRECTORY_ENTRY, 0);
        let directory = fw_cfg::files(count, &entries).unwrap();
        let padded = |name: &str, data: &[u8]| {
            let mut data = data.to_vec();
            data.resize(fw_cfg::find(&directory, name).unwrap().size as usize, 0);
            data
        };
        let tables = padded("etc/acpi/tables", dump.tables);
        let rsdp = padded("etc/acpi/rsdp", dump.rsdp);
        let files: [(&str, &[u8]); 2] = [("etc/acpi/tables", &tables), ("etc/acpi/rsdp", &rsdp)];
        let script = padded("etc/table-loader", dump.script);
        load(&script, &mut FakeHost::new(&files)).unwrap()
    }

    fn content(loaded: &Loaded, table: &Table) -> Vec<u8> {
        let blob = &loaded
            .blobs
            .iter()
            .find(|b| b.gpa <= table.gpa && table.gpa < b.gpa + b.data.len() as u64)
            .unwrap();
        let start = (table.gpa - blob.gpa) as usize;
        blob.data[start..start + table.length as usize].to_vec()
    }

    #[test]
    fn the_rsdp_leads_to_all_tables_with_checksums_of_zero() {
        for (cpus, dump) in DUMPS {
            let loaded = installed(&dump);
            let rsdp = find_rsdp(&loaded).unwrap();
            let tables = walk(&loaded, rsdp).unwrap();
            let names: Vec<&str> = tables
                .iter()
                .map(|table| core::str::from_utf8(&table.signature).unwrap())
                .collect();
            assert_eq!(
                names,
                ["RSDT", "FACP", "DSDT", "APIC", "HPET", "MCFG", "WAET"],
                "{cpus} CPUs"
            );
            for table in &tables {
                assert_eq!(checksum(&content(&loaded, table)), 0);
            }
        }
    }

    #[test]
    fn the_madt_lists_every_cpu() {
        for (cpus, dump) in DUMPS {
            let loaded = installed(&dump);
            let tables = walk(&loaded, find_rsdp(&loaded).unwrap()).unwrap();
            let madt = content(
                &loaded,
                tables.iter().find(|t| t.signature == *b"APIC").unwrap(),
            );
            // ACPI 6.5 §5.2.12: 8 bytes behind the header, then {type, length}; type 0 is a local APIC.
            let (mut at, mut found) = (44, 0);
            while at < madt.len() {
                found += usize::from(madt[at] == 0);
                at += usize::from(madt[at + 1]);
            }
            assert_eq!(found, cpus);
        }
    }

    #[test]
    fn the_fadt_points_to_the_facs_and_the_power_management_ports() {
        let loaded = installed(&DUMPS[0].1);
        let tables = walk(&loaded, find_rsdp(&loaded).unwrap()).unwrap();
        let fadt = content(
            &loaded,
            tables.iter().find(|t| t.signature == *b"FACP").unwrap(),
        );
        let facs: u64 = u32::from_le_bytes(fadt[36..40].try_into().unwrap()).into();
        let blob = loaded
            .blobs
            .iter()
            .find(|blob| blob.file == "etc/acpi/tables")
            .unwrap();
        let start = (facs - blob.gpa) as usize;
        assert_eq!(&blob.data[start..start + 4], b"FACS");
        // PM1a_EVT_BLK and PM1a_CNT_BLK of q35 after its firmware set PMBASE to 0x600.
        assert_eq!(fadt[56..60], 0x600u32.to_le_bytes());
        assert_eq!(fadt[64..68], 0x604u32.to_le_bytes());
    }

    #[test]
    fn every_truncated_or_flipped_script_gives_an_error_or_tables() {
        let dump = &DUMPS[0].1;
        let files: [(&str, &[u8]); 2] = [
            ("etc/acpi/tables", dump.tables),
            ("etc/acpi/rsdp", dump.rsdp),
        ];
        for at in 0..dump.script.len() {
            let mut script = dump.script.to_vec();
            script.resize(4096, 0);
            script[at] ^= 0xFF;
            if let Ok(loaded) = load(&script, &mut FakeHost::new(&files)) {
                let _ = find_rsdp(&loaded).map(|rsdp| walk(&loaded, rsdp));
            }
        }
    }
}

const FILE: &[u8] = &[1, 2, 3, 4, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn pointers_get_the_source_address_added_and_checksums_follow() {
    let script = [
        allocate("a", 0x1000, 1),
        allocate("b", 16, 2),
        add_pointer("a", "b", 8, 8),
        add_checksum("a", 4, 0, 16),
        write_pointer("back", "b", 3, 5, 4),
    ];
    let loaded = run(&script, &[("a", FILE), ("b", FILE)]).unwrap();
    let (a, b) = (&loaded.blobs[0], &loaded.blobs[1]);
    assert_eq!((a.gpa % 0x1000, b.gpa % 16, b.zone), (0, 0, Zone::FSegment));
    assert_eq!(a.data[8..16], (b.gpa + 8).to_le_bytes());
    assert_eq!(checksum(&a.data), 0);
    let expected = WriteBack {
        file: "back".into(),
        offset: 3,
        bytes: (b.gpa as u32 + 5).to_le_bytes().to_vec(),
    };
    assert_eq!(loaded.write_backs, [expected]);
}

#[test]
fn a_checksum_may_be_computed_again_after_a_change() {
    let script = [
        allocate("a", 1, 1),
        add_checksum("a", 4, 0, 16),
        add_pointer("a", "a", 8, 4),
        add_checksum("a", 4, 0, 16),
    ];
    let loaded = run(&script, &[("a", FILE)]).unwrap();
    assert_eq!(checksum(&loaded.blobs[0].data), 0);
}

#[test]
fn offsets_outside_of_a_file_are_refused_by_name_offset_and_size() {
    let files: [(&str, &[u8]); 1] = [("a", FILE)];
    let with = |command: Vec<u8>| error(&[allocate("a", 1, 1), command], &files);
    assert_eq!(
        with(add_pointer("a", "a", 13, 4)),
        "table-loader: ADD_POINTER reaches outside of a: offset 0xd, 4 bytes; the file has 16"
    );
    assert_eq!(
        with(add_pointer("a", "a", 0xFFFF_FFFF, 8)),
        "table-loader: ADD_POINTER reaches outside of a: offset 0xffffffff, 8 bytes; the file has 16"
    );
    assert_eq!(
        with(add_checksum("a", 16, 0, 4)),
        "table-loader: ADD_CHECKSUM reaches outside of a: offset 0x10, 1 bytes; the file has 16"
    );
    assert_eq!(
        with(add_checksum("a", 0, 1, 16)),
        "table-loader: ADD_CHECKSUM reaches outside of a: offset 0x1, 16 bytes; the file has 16"
    );
    assert_eq!(
        with(write_pointer("w", "a", 0, 16, 4)),
        "table-loader: WRITE_POINTER reaches outside of a: offset 0x10, 1 bytes; the file has 16"
    );
}

#[test]
fn pointers_must_lead_into_their_source_and_fit_their_field() {
    let files: [(&str, &[u8]); 2] = [("a", FILE), ("b", FILE)];
    let both = [allocate("a", 1, 1), allocate("b", 1, 1)].concat();
    let with = |command: Vec<u8>| error(&[both.clone(), command], &files);
    assert_eq!(
        with(add_pointer("a", "b", 0, 4)),
        "table-loader: ADD_POINTER at offset 0x0 of a: 0x4030201 bytes into b, which has 16"
    );
    assert_eq!(
        with(add_pointer("a", "b", 8, 2)),
        "table-loader: ADD_POINTER at offset 0x8 of a: address 0x1f000018 does not fit 2 bytes"
    );
    assert_eq!(
        with(write_pointer("w", "b", 0, 0, 1)),
        "table-loader: WRITE_POINTER at offset 0x0 of w: address 0x1f000010 does not fit 1 bytes"
    );
}

#[test]
fn malformed_entries_are_refused() {
    let files: [(&str, &[u8]); 1] = [("a", FILE)];
    assert_eq!(
        error(&[allocate("a", 3, 1)], &files),
        "table-loader: entry 0 aligns a to 0x3; a power of two expected"
    );
    assert_eq!(
        error(&[allocate("a", 0, 1)], &files),
        "table-loader: entry 0 aligns a to 0x0; a power of two expected"
    );
    assert_eq!(
        error(&[allocate("a", 1, 3)], &files),
        "table-loader: entry 0 puts a into zone 3; 1 (high) or 2 (F segment) expected"
    );
    assert_eq!(
        error(&[allocate("a", 1, 1), add_pointer("a", "a", 0, 3)], &files),
        "table-loader: entry 1 has a pointer of 3 bytes in a; 1, 2, 4 or 8 expected"
    );
    assert_eq!(
        error(&[entry(5, "a", "", &[])], &files),
        "table-loader: entry 0 has command 5, which is unknown"
    );
    assert_eq!(
        error(&[vec![0; 127]], &files),
        "table-loader: 127 bytes is no whole number of 128-byte entries, or above 4096 of them"
    );
    assert_eq!(
        error(&[entry(1, &"n".repeat(56), "", &[])], &files),
        "table-loader: entry 0 has a file name that is empty, unterminated, or not ASCII"
    );
}

#[test]
fn files_must_exist_once_and_fit() {
    let files: [(&str, &[u8]); 1] = [("a", FILE)];
    assert_eq!(
        error(&[allocate("x", 1, 1)], &files),
        "table-loader: cannot read x: no such file"
    );
    assert_eq!(
        error(&[allocate("a", 1, 1), allocate("a", 1, 1)], &files),
        "table-loader: a is allocated twice"
    );
    assert_eq!(
        error(&[add_checksum("a", 0, 0, 1)], &files),
        "table-loader: ADD_CHECKSUM names a, which is not allocated"
    );
    assert_eq!(
        error(&[allocate("a", 0x8000_0000, 1)], &files),
        "table-loader: no room for a: 16 bytes aligned to 0x80000000"
    );
    let large = vec![0; MAX_TOTAL];
    assert_eq!(
        error(
            &[allocate("a", 1, 1), allocate("l", 1, 1)],
            &[("a", FILE), ("l", &large)]
        ),
        "table-loader: cannot read l: 524288 bytes, at most 524272 are read"
    );
}

#[test]
fn an_rsdp_with_a_wrong_checksum_or_none_is_reported() {
    let mut rsdp = *b"RSD PTR \0BOCHS \0\0\0\0\0";
    let find = |data: &[u8]| find_rsdp(&run(&[allocate("r", 16, 2)], &[("r", data)]).unwrap());
    assert!(matches!(
        find(&rsdp),
        Err(TableError::RsdpChecksum {
            gpa: 0x1F00_0000,
            ..
        })
    ));
    rsdp[8] = checksum(&rsdp).wrapping_neg();
    assert_eq!(find(&rsdp), Ok(0x1F00_0000));
    // Revision 2 has a longer checksummed part, which is not there.
    rsdp[15] = 2;
    assert!(find(&rsdp).is_err());
    assert_eq!(find(&[0; 64]), Err(TableError::NoRsdp { files: 1 }));
}

proptest! {
    #[test]
    fn random_commands_never_panic(
        commands in proptest::collection::vec((0u32..6, 0u32..40, 0u32..40, 0u32..40, 0u8..10), 0..12),
        data in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let script: Vec<Vec<u8>> = commands.into_iter().map(|(command, a, b, c, d)| match command {
            1 => allocate("b", 1 << (a % 8), d),
            2 => add_pointer("a", "b", a, d),
            3 => add_checksum("a", a, b, c),
            4 => write_pointer("w", "a", a, b, d),
            other => entry(other, "a", "b", &[]),
        }).collect();
        let script = [vec![allocate("a", 16, 1)], script].concat();
        if let Ok(loaded) = run(&script, &[("a", &data), ("b", &data)]) {
            let _ = find_rsdp(&loaded).map(|rsdp| walk(&loaded, rsdp));
        }
    }
}
