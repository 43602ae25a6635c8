//! What the simulator takes from the guest in the processor's place: instructions, page tables, descriptor tables.

use core::mem::offset_of;

use snp_abi::exit;
use snp_abi::vmsa::Vmsa;
use snp_model::Geometry;
use snp_model::decode::{DecodeError, Kind, Mode, decode};
use snp_model::event::{Event, deliver};
use snp_model::rmp::{Access, Violation};
use snp_model::walk::{AccessedDirty, GuestMemory, LinearAccess, Paging, translate};
use svsm_core::vc::{self, Operation};
use zerocopy::{FromZeros, IntoBytes};

use super::u64_at;
use crate::target::{Outcome, Target};

/// The mode, then the instruction.
pub const DECODE: Target = Target {
    words: &[
        &[0x0F, 0xA2],
        &[0x66, 0xED],
        &[0xF3, 0x0F, 0x01, 0xFE],
        &[0xF2, 0x0F, 0x01, 0xFF],
        &[0x0F, 0x22, 0xC0],
        &[0xF3, 0x6E],
        &[0x0F, 0x01, 0x24, 0x25],
    ],
    ..Target::new("decode", 20, run_decode)
};

fn run_decode(input: &[u8]) -> Outcome {
    let (&mode, bytes) = input.split_first().unwrap_or((&0, &[]));
    let mode = [Mode::Bits16, Mode::Bits32, Mode::Bits64][usize::from(mode % 3)];
    let result = decode(bytes, mode);
    if let Ok(instruction) = result {
        let length = usize::from(instruction.length);
        assert!((1..=15).contains(&length) && length <= bytes.len());
        // What follows does not matter, and nothing less is enough.
        assert_eq!(decode(&bytes[..length], mode), result);
        let short = decode(&bytes[..length - 1], mode);
        assert_eq!(
            short,
            Err(DecodeError::Truncated {
                available: length - 1
            })
        );
    }
    compare_with_svsm(bytes);
    match result {
        Ok(instruction) => Outcome::new(true, format!("{instruction:?}")),
        Err(error) => Outcome::new(false, error.to_string()),
    }
}

/// The SVSM's own decoder for #VC knows less, but nothing else.
fn compare_with_svsm(bytes: &[u8]) {
    let Some(code) = bytes.first_chunk() else {
        return;
    };
    for exit_code in [exit::CPUID, exit::MSR, exit::IOIO] {
        let Some(own) = vc::decode(exit_code, code) else {
            continue;
        };
        let machine = decode(code, Mode::Bits64).expect("what the SVSM decodes");
        assert_eq!(own.length, u64::from(machine.length), "{code:x?}");
        let same = match (own.operation, machine.kind) {
            (Operation::Cpuid, Kind::Cpuid)
            | (Operation::Rdmsr, Kind::Rdmsr)
            | (Operation::Wrmsr, Kind::Wrmsr) => true,
            (Operation::In { bytes, port }, Kind::Io(io)) => {
                io.input && !io.string && (bytes, port) == (io.size, io.port)
            }
            (Operation::Out { bytes, port }, Kind::Io(io)) => {
                !io.input && !io.string && (bytes, port) == (io.size, io.port)
            }
            _ => false,
        };
        assert!(same, "{code:x?}: {own:?}, {machine:?}");
    }
}

const GEOMETRY: Geometry = Geometry {
    c_bit: 47,
    physical_bits: 48,
};
/// Bytes of guest memory in these targets; all of it private.
const MEMORY: usize = 5 * 4096;

/// A few pages, in which every access is to stay.
#[derive(Clone, PartialEq, Eq)]
struct Memory(Vec<u8>);

impl Memory {
    /// `bytes` as runs: an address, a number that goes there.
    fn of(bytes: &[u8]) -> Memory {
        let mut memory = vec![0; MEMORY];
        for run in bytes.chunks_exact(10) {
            let at = usize::from(u16::from_le_bytes([run[0], run[1]])) * 8 % MEMORY;
            memory[at..at + 8].copy_from_slice(&run[2..]);
        }
        Memory(memory)
    }

    fn place(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        length: usize,
    ) -> Result<&mut [u8], Violation> {
        assert!(
            gpa % 4096 + length as u64 <= 4096,
            "an access crosses a page"
        );
        usize::try_from(gpa)
            .ok()
            .filter(|_| private)
            .and_then(|at| self.0.get_mut(at..at + length))
            .ok_or(Violation::not_mapped(gpa, access, private))
    }
}

impl GuestMemory for Memory {
    fn read(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        buffer: &mut [u8],
    ) -> Result<(), Violation> {
        let length = buffer.len();
        buffer.copy_from_slice(self.place(gpa, private, access, length)?);
        Ok(())
    }

    fn write(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        self.place(gpa, private, access, bytes.len())?
            .copy_from_slice(bytes);
        Ok(())
    }
}

/// CR0, CR3, CR4, EFER, RFLAGS, the address, how it is accessed; then runs of memory.
pub const WALK: Target = Target {
    record: 10,
    words: &[
        &[0x01, 0, 1, 0x80, 0, 0, 0, 0],
        &[0x20, 0, 0x30, 0, 0, 0, 0, 0],
        &[0x00, 0x1D, 0, 0, 0, 0, 0, 0],
        &[0x67, 0x20, 0, 0, 0, 0x80, 0, 0],
        &[0xE7, 0, 0, 0, 0, 0x80, 0, 0x80],
    ],
    ..Target::new("page-walk", 49 + 40 * 10, run_walk)
};

fn run_walk(input: &[u8]) -> Outcome {
    let number = |index: usize| u64_at(input, index * 8);
    let paging = Paging {
        geometry: GEOMETRY,
        cr0: number(0),
        cr3: number(1),
        cr4: number(2),
        efer: number(3),
        rflags: number(4),
    };
    let bits = input.get(48).copied().unwrap_or(0);
    let access = LinearAccess {
        write: bits & 1 != 0,
        fetch: bits & 3 == 2,
        user: bits & 4 != 0,
        implicit: bits & 12 == 8,
    };
    let before = Memory::of(input.get(49..).unwrap_or(&[]));
    let mut memory = before.clone();
    let look = translate(
        &mut memory,
        &paging,
        number(5),
        access,
        AccessedDirty::Leave,
    );
    assert!(memory == before, "a look has left a trace");
    let walk = translate(&mut memory, &paging, number(5), access, AccessedDirty::Set);
    assert_eq!(walk, look);
    // Only bits for accessed and dirty have been set.
    for (new, old) in memory.0.chunks_exact(8).zip(before.0.chunks_exact(8)) {
        assert_eq!(
            u64_at(new, 0) & !0x60_0000_0060,
            u64_at(old, 0) & !0x60_0000_0060
        );
    }
    if let Ok(found) = &walk {
        assert!(found.gpa & GEOMETRY.c_mask() == 0 && found.gpa < 1 << 52);
        assert!(found.page_size.is_power_of_two());
        assert_eq!(
            found.gpa % found.page_size.min(4096),
            number(5) % found.page_size.min(4096)
        );
        let again = translate(&mut memory, &paging, number(5), access, AccessedDirty::Set);
        assert_eq!(again, walk);
    }
    match walk {
        Ok(found) => Outcome::new(paging.cr0 >> 31 & 1 != 0, format!("{found:?}")),
        Err(error) => Outcome::new(false, error.to_string()),
    }
}

/// EVENTINJ, how many fields of the VMSA are set; those, an offset and a number each; then runs of memory.
pub const DELIVER: Target = Target {
    record: 10,
    words: &[
        &[0x1D, 0x0B, 0, 0x80, 0x72, 0, 0, 0],
        &[0x0E, 0x0B, 0, 0x80, 0, 0, 0, 0],
        &[0x00, 0x8E, 0, 0, 0, 0, 0, 0],
        &[0x00, 0xEE, 0, 0, 0, 0, 0, 0],
        &[0x08, 0, 0x9B, 0x20, 0xFF, 0xFF, 0, 0],
    ],
    ..Target::new("deliver", 9 + 80 * 10, run_deliver)
};

fn run_deliver(input: &[u8]) -> Outcome {
    let Some(event) = Event::from_bits(u64_at(input, 0)) else {
        return Outcome::new(false, 0);
    };
    let fields = usize::from(input.get(8).copied().unwrap_or(0) % 40) * 10;
    let rest = input.get(9..).unwrap_or(&[]);
    let (fields, runs) = rest.split_at(fields.min(rest.len()));
    let mut vmsa = Vmsa::new_zeroed();
    for field in fields.chunks_exact(10) {
        let at = usize::from(u16::from_le_bytes([field[0], field[1]])) * 8 % 0x400;
        vmsa.as_mut_bytes()[at..at + 8].copy_from_slice(&field[2..]);
    }
    let before = vmsa;
    let mut memory = Memory::of(runs);
    let result = deliver(&mut vmsa, &mut memory, GEOMETRY, event);
    if result.is_err() {
        assert!(
            vmsa.as_bytes() == before.as_bytes(),
            "refused, but the vCPU has changed"
        );
    }
    // A delivery changes only what an interrupt frame has, and CR2.
    for (at, (new, old)) in vmsa.as_bytes().iter().zip(before.as_bytes()).enumerate() {
        let changed = [
            (offset_of!(Vmsa, cs), 16),
            (offset_of!(Vmsa, ss), 16),
            (offset_of!(Vmsa, cpl), 1),
            (offset_of!(Vmsa, rsp), 8),
            (offset_of!(Vmsa, rip), 8),
            (offset_of!(Vmsa, rflags), 8),
            (offset_of!(Vmsa, cr2), 8),
        ];
        let may = changed
            .iter()
            .any(|(start, length)| (*start..start + length).contains(&at));
        assert!(may || new == old, "byte {at:#x} of the VMSA");
    }
    Outcome::new(result.is_ok(), format!("{result:?}"))
}
