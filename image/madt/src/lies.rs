//! Lies about processors, as text: `absent:3,x2apic`.

use crate::{
    ENABLED, HEADER_BYTES, Madt, ONLINE_CAPABLE, Processor, Random, entry_type, set_checksum,
    set_length,
};
use alloc::vec;
use alloc::vec::Vec;

/// How many processors `many` lists if the text does not say: one too many for the SVSM.
const MANY: u32 = 513;
/// What `overlong` adds to the length: more than any parameter area has.
const OVERLONG: u32 = 0x0100_0000;
/// Bytes of entries that `garbage` makes.
const GARBAGE_BYTES: u64 = 600;
/// Most processors that a lie adds: a table of them still fits the SVSM's parameter area of 32 KiB.
const MOST: u32 = 1500;

/// One kind of lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    X2Apic,
    Absent,
    Surplus,
    Withheld,
    Disabled,
    OnlineCapable,
    Dead,
    Duplicate,
    NoBoot,
    None,
    Many,
    Loop,
    Long,
    Short,
    Garbage,
    Truncated,
    Overlong,
    Headless,
    Signature,
    Checksum,
    Nothing,
}

/// Every lie: its name, and whether a number may follow, with the number that stands if none does.
pub(crate) const NAMES: [(&str, Kind, Option<u32>); 21] = [
    ("x2apic", Kind::X2Apic, None),
    ("absent", Kind::Absent, Some(1)),
    ("surplus", Kind::Surplus, Some(1)),
    ("withheld", Kind::Withheld, Some(1)),
    ("disabled", Kind::Disabled, Some(1)),
    ("online-capable", Kind::OnlineCapable, Some(1)),
    ("dead", Kind::Dead, Some(1)),
    ("duplicate", Kind::Duplicate, Some(1)),
    ("no-boot", Kind::NoBoot, None),
    ("none", Kind::None, None),
    ("many", Kind::Many, Some(MANY)),
    ("loop", Kind::Loop, None),
    ("long", Kind::Long, None),
    ("short", Kind::Short, None),
    ("garbage", Kind::Garbage, Some(0)),
    ("truncated", Kind::Truncated, None),
    ("overlong", Kind::Overlong, None),
    ("headless", Kind::Headless, None),
    ("signature", Kind::Signature, None),
    ("checksum", Kind::Checksum, None),
    ("nothing", Kind::Nothing, None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lie {
    kind: Kind,
    number: u32,
}

/// What a host says of its processors: some lies in a row, or none, which is the truth.
///
/// | text | the table |
/// |---|---|
/// | `x2apic` | tells the truth, with local x2APIC entries only |
/// | `absent:N` | lists N more that do not exist, and the host counts them too |
/// | `surplus:N` | the same, but the host's count of vCPUs is right |
/// | `withheld:N` | leaves the last N out |
/// | `disabled:N`, `online-capable:N` | lists the last N so |
/// | `dead:N` | tells the truth, but the last N never start: the machine sees to that |
/// | `duplicate:N` | lists the last one N times more |
/// | `no-boot` | leaves the boot processor out |
/// | `none` | lists no processor |
/// | `many:N` | lists N in all (513) |
/// | `loop` | has an entry of length 0 |
/// | `long` | has a last entry that is longer than what is left |
/// | `short` | has a local APIC entry that is too short for its fields |
/// | `garbage:SEED` | has entries that look random |
/// | `truncated` | ends within its last entry |
/// | `overlong` | gives a length far beyond its end |
/// | `headless` | gives a length that is less than its header's |
/// | `signature` | is called `FACP` |
/// | `checksum` | does not add up to 0 |
/// | `nothing` | has no byte |
///
/// N is 1 if it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lies(Vec<Lie>);

/// A text that names no lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BadLie<'a> {
    #[error(
        "'{0}' is unknown; known: x2apic absent:N surplus:N withheld:N disabled:N online-capable:N dead:N duplicate:N \
         no-boot none many:N loop long short garbage:SEED truncated overlong headless signature checksum nothing"
    )]
    Unknown(&'a str),
    #[error("'{0}': what follows the colon is not a number up to {MOST}, or should not be there")]
    Number(&'a str),
}

/// What the host says of its processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The MADT.
    pub table: Vec<u8>,
    /// How many vCPUs it announces besides.
    pub vp_count: u32,
    /// How many processors, the last ones, are not to start although they exist: the machine has to see to that.
    pub dead: u32,
}

impl Lies {
    /// Reads `absent:3,x2apic`.
    pub fn parse(text: &str) -> Result<Lies, BadLie<'_>> {
        let mut lies = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (name, number) = match word.split_once(':') {
                Some((name, number)) => (name, Some(number)),
                None => (word, None),
            };
            let (_, kind, default) = NAMES
                .into_iter()
                .find(|(known, ..)| *known == name)
                .ok_or(BadLie::Unknown(name))?;
            let number = match (number, default) {
                (None, default) => default.unwrap_or(0),
                (Some(_), None) => return Err(BadLie::Number(word)),
                (Some(number), Some(_)) => number
                    .parse()
                    .ok()
                    .filter(|&number| number <= MOST || kind == Kind::Garbage)
                    .ok_or(BadLie::Number(word))?,
            };
            lies.push(Lie { kind, number });
        }
        Ok(Lies(lies))
    }

    /// Whether it is the truth.
    pub fn is_truth(&self) -> bool {
        self.0.is_empty()
    }

    /// What the host says, whose processors have these APIC IDs, the boot processor's first.
    pub fn about(&self, ids: &[u32]) -> Answer {
        self.change(
            Madt::new(ids.iter().copied()),
            ids.first().copied().unwrap_or(0),
        )
    }

    /// What the host says instead of `truth`; `boot` is the boot processor's APIC ID.
    pub fn change(&self, truth: Madt, boot: u32) -> Answer {
        let usable = |p: &Processor| p.flags & ENABLED != 0;
        let count = truth.processors().filter(usable).count() as u32;
        let mut madt = truth;
        let mut answer = Answer {
            table: Vec::new(),
            vp_count: count,
            dead: 0,
        };
        for lie in &self.0 {
            lie.change_entries(&mut madt, boot);
            match lie.kind {
                Kind::Absent => answer.vp_count += lie.number,
                Kind::Dead => answer.dead += lie.number,
                _ => {}
            }
        }
        answer.table = madt.bytes();
        for lie in &self.0 {
            lie.change_bytes(&mut answer.table);
        }
        answer
    }
}

impl Lie {
    /// The part of a lie that is a table in order.
    fn change_entries(self, madt: &mut Madt, boot: u32) {
        let last = |madt: &Madt| {
            madt.entries
                .iter()
                .rposition(|e| Processor::of(e).is_some())
        };
        match self.kind {
            Kind::X2Apic => {
                for entry in &mut madt.entries {
                    if let Some(processor) = Processor::of(entry) {
                        *entry = processor.entry(true);
                    }
                }
            }
            Kind::Absent | Kind::Surplus => add(madt, self.number),
            Kind::Many => {
                let count = madt.processors().count() as u32;
                add(madt, self.number.saturating_sub(count));
            }
            Kind::Withheld | Kind::Disabled | Kind::OnlineCapable => {
                let processors: Vec<usize> = (0..madt.entries.len())
                    .filter(|&i| Processor::of(&madt.entries[i]).is_some())
                    .collect();
                // From the end, so that what is left keeps its place.
                for &at in processors.iter().rev().take(self.number as usize) {
                    let entry = &mut madt.entries[at];
                    let wide = entry[0] == entry_type::LOCAL_X2APIC;
                    match (self.kind, Processor::of(entry)) {
                        (Kind::Withheld, _) | (_, None) => drop(madt.entries.remove(at)),
                        (kind, Some(Processor { id, .. })) => {
                            let flags = match kind {
                                Kind::Disabled => 0,
                                _ => ONLINE_CAPABLE,
                            };
                            *entry = Processor { id, flags }.entry(wide);
                        }
                    }
                }
            }
            Kind::Duplicate => {
                if let Some(at) = last(madt) {
                    let entry = madt.entries[at].clone();
                    for _ in 0..self.number {
                        madt.entries.insert(at, entry.clone());
                    }
                }
            }
            Kind::NoBoot => madt
                .entries
                .retain(|e| Processor::of(e).is_none_or(|processor| processor.id != boot)),
            Kind::None => madt.entries.retain(|e| Processor::of(e).is_none()),
            Kind::Loop => {
                let after = last(madt).map_or(0, |at| at + 1);
                madt.entries.insert(after, vec![entry_type::IO_APIC, 0]);
            }
            Kind::Long => {
                let mut entry = Processor::enabled(boot).entry(false);
                entry[1] = 0xFF;
                madt.entries.push(entry);
            }
            Kind::Short => {
                let after = last(madt).map_or(0, |at| at + 1);
                madt.entries
                    .insert(after, vec![entry_type::LOCAL_APIC, 4, 0, 0]);
            }
            Kind::Garbage => {
                let mut random = Random::new(self.number.into());
                let bytes = (0..GARBAGE_BYTES).map(|_| random.next() as u8);
                madt.entries = vec![bytes.collect()];
            }
            Kind::Dead
            | Kind::Truncated
            | Kind::Overlong
            | Kind::Headless
            | Kind::Signature
            | Kind::Checksum
            | Kind::Nothing => {}
        }
    }

    /// The part that breaks the table itself.
    fn change_bytes(self, table: &mut Vec<u8>) {
        let say_length = |table: &mut [u8], length: u32| {
            if let Some(field) = table.get_mut(4..8) {
                field.copy_from_slice(&length.to_le_bytes());
                set_checksum(table);
            }
        };
        match self.kind {
            Kind::Truncated => {
                table.pop();
                set_length(table);
            }
            Kind::Overlong => say_length(table, OVERLONG),
            Kind::Headless => say_length(table, HEADER_BYTES as u32 - 1),
            Kind::Signature => {
                if let Some(field) = table.get_mut(..4) {
                    field.copy_from_slice(b"FACP");
                    set_checksum(table);
                }
            }
            Kind::Checksum => {
                if let Some(field) = table.get_mut(9) {
                    *field ^= 0x55;
                }
            }
            Kind::Nothing => table.clear(),
            _ => {}
        }
    }
}

/// Lists `count` more processors, with the APIC IDs that follow the highest one.
fn add(madt: &mut Madt, count: u32) {
    let first = madt.processors().map(|p| p.id + 1).max().unwrap_or(0);
    let wide = madt
        .entries
        .first()
        .is_some_and(|entry| entry[0] == entry_type::LOCAL_X2APIC);
    let at = madt
        .entries
        .iter()
        .rposition(|entry| Processor::of(entry).is_some());
    let more: Vec<_> = (first..first.saturating_add(count))
        .map(|id| Processor { id, flags: ENABLED }.entry(wide))
        .collect();
    let at = at.map_or(0, |at| at + 1);
    madt.entries.splice(at..at, more);
}
