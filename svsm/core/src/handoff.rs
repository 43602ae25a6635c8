//! What the guest is handed at its start: its secrets page, its memory map. Its CPUID page is the SVSM's, byte for
//! byte.

use crate::memory_map::RamMap;
use boot_abi::{GpaRange, MemoryMapEntry, memory_type};
use snp_abi::secrets::SecretsPage;
use snp_abi::{PAGE_SIZE, Vmpl};

/// Turns a copy of the secrets page into the guest's: without the keys of levels above its own, with the SVSM's
/// fields (58019 §5.2).
pub fn make_guest_secrets(
    secrets: &mut SecretsPage,
    svsm: GpaRange,
    calling_area: u64,
    vmpl: Vmpl,
) {
    for key in &mut secrets.vmpck[..vmpl.index()] {
        *key = [0; 32];
    }
    // The guest's operating system keeps message counters here; Linux refuses an unaligned jump table address.
    secrets.os_area = [0; 96];
    secrets.svsm_base = svsm.base;
    secrets.svsm_size = svsm.size;
    secrets.svsm_caa = calling_area.into();
    secrets.svsm_max_version = svsm_abi::MAX_VERSION.into();
    secrets.svsm_guest_vmpl = vmpl as u8;
}

/// The entries of the guest's memory map; one of zero pages ends it if there is room.
pub fn memory_map_entries(ram: &RamMap) -> impl Iterator<Item = MemoryMapEntry> {
    ram.ranges().iter().map(|range| MemoryMapEntry {
        starting_gpa_page_number: (range.start / PAGE_SIZE).into(),
        number_of_pages: range.pages().into(),
        entry_type: memory_type::MEMORY.into(),
        ..MemoryMapEntry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_map::tests::{LIMIT, area};
    use std::vec::Vec;
    use zerocopy::{FromZeros, IntoBytes};

    #[test]
    fn the_guest_gets_its_own_keys_only() {
        let mut secrets = SecretsPage::new_zeroed();
        secrets.vmpck = [[1; 32], [2; 32], [3; 32], [4; 32]];
        secrets.tsc_factor = 200.into();
        make_guest_secrets(
            &mut secrets,
            GpaRange::new(0x80_0000_0000, 0x80_0000),
            0x80_F000,
            Vmpl::Vmpl2,
        );
        assert_eq!(secrets.vmpck, [[0; 32], [0; 32], [3; 32], [4; 32]]);
        let bytes = secrets.as_bytes();
        assert_eq!(bytes[0x140..0x148], 0x80_0000_0000u64.to_le_bytes());
        assert_eq!(bytes[0x148..0x150], 0x80_0000u64.to_le_bytes());
        assert_eq!(bytes[0x150..0x158], 0x80_F000u64.to_le_bytes());
        assert_eq!(bytes[0x158..0x15C], [1, 0, 0, 0]);
        assert_eq!(bytes[0x15C], 2);
        assert_eq!(bytes[0x160], 200);
    }

    #[test]
    fn the_guests_memory_map_says_what_the_svsm_believes() {
        let bytes = area(&[
            (0x100, 0x100, 0),
            (0x10_0000, 8, 0),
            (0, 0x100, 0),
            (0x300, 1, 1),
        ]);
        let ram = RamMap::parse(&bytes, LIMIT).unwrap();
        let mut copy = Vec::new();
        for entry in memory_map_entries(&ram) {
            copy.extend_from_slice(entry.as_bytes());
        }
        assert_eq!(copy, area(&[(0, 0x200, 0), (0x10_0000, 8, 0)])[..48]);
    }
}
