//! What QEMU offers to the boot stub: the fw_cfg directory, the table-loader script and its files.

use shim_core::acpi::command::{ENTRY_SIZE, Zone};
use shim_core::acpi::loader::{Host, Loaded, MAX_TOTAL, load};
use shim_core::acpi::tables::{find_rsdp, walk};
use shim_core::fw_cfg::{self, DIRECTORY_ENTRY, MAX_FILES};

use super::{put, sum, u32_at};
use crate::target::{Outcome, Target};

pub const FW_CFG: Target = Target {
    record: DIRECTORY_ENTRY,
    words: &[
        b"etc/acpi/rsdp\0",
        b"etc/table-loader\0",
        &[0, 0x20],
        &[0x40, 0],
    ],
    mend: Some(|input| {
        let count = (input.len().saturating_sub(4) / DIRECTORY_ENTRY) as u32;
        put(input, 0, count.to_be_bytes());
    }),
    ..Target::new("fw-cfg", 4 + 64 * DIRECTORY_ENTRY, run_fw_cfg)
};

fn run_fw_cfg(input: &[u8]) -> Outcome {
    let Some((header, entries)) = input.split_first_chunk() else {
        return Outcome::new(false, 0);
    };
    let count = match fw_cfg::file_count(*header) {
        Ok(count) => count,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    assert!(count <= MAX_FILES as usize);
    let files = fw_cfg::files(count, entries);
    if let Ok(files) = &files {
        assert_eq!(files.len(), count);
        for file in files {
            assert!(file.name.len() < 56 && file.name.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!((0x20..0x4000).contains(&file.key));
            assert_eq!(
                fw_cfg::find(files, &file.name).map(|first| &first.name),
                Some(&file.name)
            );
        }
    }
    match files {
        Ok(files) => Outcome::new(!files.is_empty(), files.len()),
        Err(error) => Outcome::new(false, error.to_string()),
    }
}

/// The script, up to an entry of no command; then `etc/acpi/tables`; the last 36 bytes are `etc/acpi/rsdp`.
pub const TABLES: Target = Target {
    record: ENTRY_SIZE,
    words: &[
        b"etc/acpi/tables\0",
        b"etc/acpi/rsdp\0",
        b"RSD PTR ",
        b"FACP",
        b"XSDT",
        &[1, 0, 0, 0],
        &[2, 0, 0, 0],
        &[3, 0, 0, 0],
        &[4, 0, 0, 0],
    ],
    ..Target::new("acpi-tables", 16 * 1024, run_tables)
};

/// Files, and addresses handed out upwards.
struct Files<'a> {
    tables: &'a [u8],
    rsdp: &'a [u8],
    next: u64,
}

const END: u64 = 0x2000_0000;

impl Host for Files<'_> {
    fn read(&mut self, file: &str, limit: usize) -> Result<Vec<u8>, String> {
        let data = match file {
            "etc/acpi/tables" => self.tables,
            "etc/acpi/rsdp" => self.rsdp,
            "etc/large" => &[0; MAX_TOTAL],
            _ => return Err("no such file".into()),
        };
        if data.len() > limit {
            return Err("too large".into());
        }
        Ok(data.to_vec())
    }

    fn allocate(&mut self, size: u64, align: u64, _: Zone) -> Option<u64> {
        assert!(align.is_power_of_two());
        let start = self.next.next_multiple_of(align);
        self.next = start.checked_add(size)?;
        (self.next <= END).then_some(start)
    }
}

fn run_tables(input: &[u8]) -> Outcome {
    let mut length = 0;
    while length + ENTRY_SIZE <= input.len() {
        length += ENTRY_SIZE;
        if u32_at(input, length - ENTRY_SIZE) == 0 {
            break;
        }
    }
    let (script, files) = input.split_at(length);
    let (tables, rsdp) = files.split_at(files.len().saturating_sub(36));
    let mut host = Files {
        tables,
        rsdp,
        next: 0x1F00_0000,
    };
    let loaded = match load(script, &mut host) {
        Ok(loaded) => loaded,
        Err(error) => return Outcome::new(false, error.to_string()),
    };
    check_blobs(&loaded);
    let found = find_rsdp(&loaded)
        .inspect(|gpa| assert_eq!(sum(&memory(&loaded, *gpa, 20)), 0))
        .and_then(|gpa| walk(&loaded, gpa));
    match found {
        Ok(tables) => {
            for table in &tables {
                let bytes = memory(&loaded, table.gpa, table.length as usize);
                assert!(
                    bytes.len() >= 36 && sum(&bytes) == 0 && bytes.starts_with(&table.signature)
                );
            }
            Outcome::new(true, tables.len())
        }
        Err(error) => Outcome::new(!loaded.blobs.is_empty(), error.to_string()),
    }
}

fn check_blobs(loaded: &Loaded) {
    let total: usize = loaded.blobs.iter().map(|blob| blob.data.len()).sum();
    assert!(total <= MAX_TOTAL);
    for (index, blob) in loaded.blobs.iter().enumerate() {
        assert!(blob.gpa + blob.data.len() as u64 <= END);
        assert!(
            loaded.blobs[..index]
                .iter()
                .all(|other| other.file != blob.file)
        );
    }
    for back in &loaded.write_backs {
        assert!(matches!(back.bytes.len(), 1 | 2 | 4 | 8));
    }
}

/// Memory with the blobs in it; panics where none is.
fn memory(loaded: &Loaded, gpa: u64, length: usize) -> Vec<u8> {
    let blob = loaded
        .blobs
        .iter()
        .find(|blob| blob.gpa <= gpa && gpa + length as u64 <= blob.gpa + blob.data.len() as u64);
    let blob = blob.expect("a table that lies in a blob");
    let start = (gpa - blob.gpa) as usize;
    blob.data[start..start + length].to_vec()
}
