//! Tables, valid ones and broken ones. The generator knows what it put together and what it then broke; it never reads a
//! table back.

use acpi_madt::{ENABLED, HEADER_BYTES, Madt, ONLINE_CAPABLE, Processor, Random, entry_type};
use acpi_madt::{set_checksum, set_length};
use svsm_core::madt::{CpuList, MAX_CPUS, MadtError};

/// What comes of a table: what is read from it, or what is wrong with it and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Accepted {
        ids: Vec<u32>,
        pluggable: usize,
        checksum_holds: bool,
    },
    Signature,
    Length,
    Entry {
        offset: usize,
    },
    Duplicate {
        id: u32,
        offset: usize,
    },
    TooMany {
        offset: usize,
    },
    NoCpu,
    NoBootCpu,
}

impl Verdict {
    /// The SVSM's.
    pub fn of(area: &[u8], boot: u32) -> Verdict {
        match CpuList::parse(area, boot) {
            Ok(list) => Verdict::Accepted {
                ids: list.ids().to_vec(),
                pluggable: list.pluggable,
                checksum_holds: list.checksum_holds,
            },
            Err(MadtError::Signature { .. }) => Verdict::Signature,
            Err(MadtError::Length { .. }) => Verdict::Length,
            Err(MadtError::Entry { offset, .. }) => Verdict::Entry { offset },
            Err(MadtError::Duplicate { apic_id, offset }) => Verdict::Duplicate {
                id: apic_id,
                offset,
            },
            Err(MadtError::TooMany { offset }) => Verdict::TooMany { offset },
            Err(MadtError::NoCpu) => Verdict::NoCpu,
            Err(MadtError::NoBootCpu { .. }) => Verdict::NoBootCpu,
        }
    }
}

/// Kinds of tables, each with how many of 1000 are of it.
const KINDS: [(Kind, u64); 16] = [
    (Kind::Valid, 400),
    (Kind::Full, 10),
    (Kind::Checksum, 20),
    (Kind::Cut, 60),
    (Kind::Shortened, 80),
    (Kind::Overlong, 30),
    (Kind::LongEntry, 60),
    (Kind::Loop, 60),
    (Kind::ShortEntry, 60),
    (Kind::Duplicate, 60),
    (Kind::TooMany, 10),
    (Kind::NoBoot, 20),
    (Kind::NoCpu, 20),
    (Kind::Signature, 20),
    (Kind::Flipped, 50),
    (Kind::Garbage, 40),
];

/// What kind of table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Valid,
    /// With as many processors as there may be.
    Full,
    Checksum,
    /// There are fewer bytes than the table's length.
    Cut,
    /// The table's length is less than it was.
    Shortened,
    /// The table's length is more than there are bytes.
    Overlong,
    LongEntry,
    /// An entry of length 0 or 1.
    Loop,
    ShortEntry,
    Duplicate,
    TooMany,
    NoBoot,
    NoCpu,
    Signature,
    /// Some bytes are others: what comes of it is not known.
    Flipped,
    /// No entry makes sense: the same.
    Garbage,
}

/// A table with what is known of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What kind it is.
    pub kind: Kind,
    /// What the SVSM is handed.
    pub area: Vec<u8>,
    /// APIC ID of the processor that reads it.
    pub boot: u32,
    /// What must come of it, as far as the generator knows.
    pub truth: Option<Verdict>,
}

/// Makes the next one.
pub fn next(random: &mut Random) -> Case {
    let mut number = random.below(KINDS.iter().map(|(_, weight)| weight).sum());
    let kind = KINDS.iter().find_map(|&(kind, weight)| {
        if number < weight {
            return Some(kind);
        }
        number -= weight;
        None
    });
    make(random, kind.unwrap_or(Kind::Valid))
}

fn make(random: &mut Random, kind: Kind) -> Case {
    let count = match kind {
        Kind::Full => MAX_CPUS,
        Kind::TooMany => MAX_CPUS + 1 + random.below(100) as usize,
        Kind::NoCpu => 0,
        _ if random.once_in(50) => random.below(MAX_CPUS as u64) as usize + 1,
        _ => random.below(20) as usize + 1,
    };
    let mut ids = distinct_ids(random, count);
    let boot = match kind {
        Kind::NoBoot => ids.swap_remove(random.below(count as u64) as usize),
        _ if count == 0 => 0,
        _ => ids[random.below(count as u64) as usize],
    };
    let mut table = Table {
        pieces: pieces(random, &ids),
        ids,
        boot,
    };
    let (area, truth) = match kind {
        Kind::Valid | Kind::Full | Kind::NoBoot | Kind::NoCpu => table.whole(),
        Kind::TooMany => {
            let offset = table.offset_of_processor(MAX_CPUS);
            (table.bytes(), Some(Verdict::TooMany { offset }))
        }
        Kind::Checksum => {
            let mut bytes = table.bytes();
            bytes[9] = bytes[9].wrapping_add(random.below(255) as u8 + 1);
            (bytes, Some(table.verdict(table.pieces.len(), false)))
        }
        Kind::Cut => {
            let mut bytes = table.bytes();
            bytes.truncate(random.below(bytes.len() as u64) as usize);
            let truth = if bytes.len() < 4 {
                Verdict::Signature
            } else {
                Verdict::Length
            };
            (bytes, Some(truth))
        }
        Kind::Shortened => table.shortened(random),
        Kind::Overlong => {
            let mut bytes = table.bytes();
            let more = 1 + random.of_any_size(32);
            let length = (bytes.len() as u64 + more).min(u32::MAX.into()) as u32;
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
            (bytes, Some(Verdict::Length))
        }
        Kind::LongEntry => table.long_entry(random),
        Kind::Loop => {
            let at = random.below(table.pieces.len() as u64) as usize;
            table.pieces[at].bytes[1] = random.below(2) as u8;
            table.broken_at(at)
        }
        Kind::ShortEntry => {
            let at = random.below(table.pieces.len() as u64) as usize;
            let id = table.ids[0];
            let bytes = Processor::enabled(id).entry(random.once_in(2));
            let length = 2 + random.below(bytes.len() as u64 - 2) as usize;
            let mut bytes = bytes[..length].to_vec();
            bytes[1] = length as u8;
            table.pieces.insert(at, Piece::other(bytes));
            table.broken_at(at)
        }
        Kind::Duplicate => table.duplicate(random),
        Kind::Signature => {
            let mut bytes = table.bytes();
            bytes[random.below(4) as usize] ^= random.below(255) as u8 + 1;
            set_checksum(&mut bytes);
            (bytes, Some(Verdict::Signature))
        }
        Kind::Flipped => {
            let mut bytes = table.bytes();
            for _ in 0..=random.below(4) {
                let entries = (bytes.len() - HEADER_BYTES) as u64;
                bytes[HEADER_BYTES + random.below(entries) as usize] ^= random.below(255) as u8 + 1;
            }
            set_checksum(&mut bytes);
            (bytes, None)
        }
        Kind::Garbage => {
            let mut bytes = Madt::empty().bytes();
            // Small numbers, so that some of it is taken for entries.
            let limit = 1 + random.below(255);
            bytes.extend((0..random.below(600)).map(|_| random.below(limit) as u8));
            set_length(&mut bytes);
            (bytes, None)
        }
    };
    let mut area = area;
    if kind != Kind::Cut && kind != Kind::Overlong && random.once_in(2) {
        // The rest of the parameter area, and not always zeros.
        let rest = random.below(200);
        let mask = if random.once_in(2) { 0xFF } else { 0 };
        area.extend((0..rest).map(|_| random.next() as u8 & mask));
    }
    Case {
        kind,
        area,
        boot,
        truth,
    }
}

/// An entry, and what the generator meant by it.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// A processor that can be used.
    id: Option<u32>,
    pluggable: bool,
}

impl Piece {
    fn other(bytes: Vec<u8>) -> Piece {
        Piece {
            bytes,
            id: None,
            pluggable: false,
        }
    }

    /// A processor that can be used; the bits that are reserved, and the one that then counts for nothing, may be set.
    fn usable(random: &mut Random, id: u32) -> Piece {
        let flags = ENABLED | noise(random);
        Piece {
            bytes: Processor { id, flags }.entry(random.once_in(2)),
            id: Some(id),
            pluggable: false,
        }
    }
}

/// Flags of no meaning; mostly none.
fn noise(random: &mut Random) -> u32 {
    match random.below(4) {
        0 => random.next() as u32 & !ENABLED,
        _ => 0,
    }
}

struct Table {
    pieces: Vec<Piece>,
    /// Those that can be used; no order.
    ids: Vec<u32>,
    boot: u32,
}

type Made = (Vec<u8>, Option<Verdict>);

impl Table {
    fn bytes(&self) -> Vec<u8> {
        let mut madt = Madt::empty();
        madt.entries = self
            .pieces
            .iter()
            .map(|piece| piece.bytes.clone())
            .collect();
        madt.bytes()
    }

    /// Where piece `index` starts.
    fn offset(&self, index: usize) -> usize {
        let before = self.pieces[..index].iter().map(|p| p.bytes.len());
        HEADER_BYTES + before.sum::<usize>()
    }

    fn offset_of_processor(&self, number: usize) -> usize {
        let mut usable = (0..self.pieces.len()).filter(|&at| self.pieces[at].id.is_some());
        self.offset(usable.nth(number).unwrap_or_default())
    }

    /// What comes of the first `count` pieces, nothing being wrong with any of them.
    fn verdict(&self, count: usize, checksum_holds: bool) -> Verdict {
        let pieces = &self.pieces[..count];
        let ids: Vec<u32> = pieces.iter().filter_map(|piece| piece.id).collect();
        if ids.is_empty() {
            return Verdict::NoCpu;
        }
        if !ids.contains(&self.boot) {
            return Verdict::NoBootCpu;
        }
        Verdict::Accepted {
            ids,
            pluggable: pieces.iter().filter(|piece| piece.pluggable).count(),
            checksum_holds,
        }
    }

    fn whole(&self) -> Made {
        (self.bytes(), Some(self.verdict(self.pieces.len(), true)))
    }

    /// Piece `at` is broken, and it is the first.
    fn broken_at(&self, at: usize) -> Made {
        let offset = self.offset(at);
        (self.bytes(), Some(Verdict::Entry { offset }))
    }

    /// Length and checksum say that the table ends somewhere before its end.
    fn shortened(&self, random: &mut Random) -> Made {
        let mut bytes = self.bytes();
        let end = random.below(bytes.len() as u64) as usize;
        if end < HEADER_BYTES {
            bytes[4..8].copy_from_slice(&(end as u32).to_le_bytes());
            return (bytes, Some(Verdict::Length));
        }
        set_length(&mut bytes[..end]);
        // The first piece that does not end there.
        let within = (0..self.pieces.len())
            .find(|&at| end < self.offset(at) + self.pieces[at].bytes.len())
            .unwrap_or(self.pieces.len());
        let offset = self.offset(within);
        let truth = if end == offset {
            self.verdict(within, true)
        } else {
            Verdict::Entry { offset }
        };
        (bytes, Some(truth))
    }

    /// One entry's length passes the table's end: it is the last one, or there is not much behind it.
    fn long_entry(&mut self, random: &mut Random) -> Made {
        let last = self.pieces.last().map_or(0, |piece| piece.bytes.len());
        if last == 0xFF {
            self.pieces.push(Piece::other(filled(random, 0x80, 2)));
        }
        let end = self.offset(self.pieces.len());
        let near: Vec<usize> = (0..self.pieces.len())
            .filter(|&at| end - self.offset(at) < 0xFF)
            .collect();
        let at = near[random.below(near.len() as u64) as usize];
        let left = (end - self.offset(at)) as u64;
        self.pieces[at].bytes[1] = (left + 1 + random.below(0xFF - left)) as u8;
        self.broken_at(at)
    }

    /// One processor is listed again, in either form.
    fn duplicate(&mut self, random: &mut Random) -> Made {
        let id = self.ids[random.below(self.ids.len() as u64) as usize];
        let first = self.pieces.iter().position(|piece| piece.id == Some(id));
        let first = first.unwrap_or_default();
        let behind = (self.pieces.len() - first) as u64;
        let at = first + 1 + random.below(behind) as usize;
        let again = Piece::usable(random, id);
        self.pieces.insert(at, again);
        let offset = self.offset(at);
        (self.bytes(), Some(Verdict::Duplicate { id, offset }))
    }
}

/// APIC IDs, none twice, in no order.
fn distinct_ids(random: &mut Random, count: usize) -> Vec<u32> {
    let step = match random.below(3) {
        0 => 1,
        1 => 4,
        _ => 1 << random.below(22),
    };
    let mut id = if random.once_in(2) {
        0
    } else {
        random.of_any_size(31) as u32
    };
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(id);
        id += 1 + random.below(step) as u32;
    }
    if random.once_in(2) {
        for at in (1..ids.len()).rev() {
            ids.swap(at, random.below(at as u64 + 1) as usize);
        }
    }
    ids
}

/// Entries for these processors, with others strewn in.
fn pieces(random: &mut Random, ids: &[u32]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = ids.iter().map(|&id| Piece::usable(random, id)).collect();
    for _ in 0..random.below(12) + 1 {
        let at = random.below(pieces.len() as u64 + 1) as usize;
        let piece = unusable(random);
        pieces.insert(at, piece);
    }
    pieces
}

/// An entry without a processor that can be used.
fn unusable(random: &mut Random) -> Piece {
    match random.below(4) {
        // Not there, or not yet; its ID may well be another's.
        0 => {
            let pluggable = random.once_in(2);
            let flags =
                noise(random) & !ONLINE_CAPABLE | if pluggable { ONLINE_CAPABLE } else { 0 };
            let id = random.of_any_size(32) as u32;
            let wide = random.once_in(2);
            // In a local APIC entry 255 would be no processor at all; the builder makes a wide one of it.
            Piece {
                bytes: Processor { id, flags }.entry(wide),
                id: None,
                pluggable,
            }
        }
        // The broadcast ID: no processor.
        1 => Piece::other(if random.once_in(2) {
            let mut bytes = Processor::enabled(0).entry(false);
            bytes[3] = 0xFF;
            bytes
        } else {
            Processor::enabled(u32::MAX).entry(true)
        }),
        // Types that the specification defines, in its lengths (ACPI 6.3, which the disassembler knows).
        2 => {
            const KNOWN: [(u8, usize); 13] = [
                (entry_type::IO_APIC, 12),
                (entry_type::INTERRUPT_OVERRIDE, 10),
                (entry_type::NMI_SOURCE, 8),
                (entry_type::LOCAL_APIC_NMI, 6),
                (entry_type::LOCAL_APIC_ADDRESS, 12),
                (6, 16),
                (8, 16),
                (entry_type::LOCAL_X2APIC_NMI, 12),
                (11, 80),
                (12, 24),
                (13, 24),
                (14, 16),
                (15, 20),
            ];
            let (kind, length) = KNOWN[random.below(KNOWN.len() as u64) as usize];
            Piece::other(filled(random, kind, length))
        }
        // Newer ones, reserved ones, OEM's, of any length.
        _ => {
            let kind = 16 + random.below(240) as u8;
            let longest = if random.once_in(8) { 0xFF } else { 32 };
            let length = 2 + random.below(longest - 1) as usize;
            Piece::other(filled(random, kind, length))
        }
    }
}

fn filled(random: &mut Random, kind: u8, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    bytes[0] = kind;
    bytes[1] = length as u8;
    bytes
}
