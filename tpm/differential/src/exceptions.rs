//! What may differ between the engine and swtpm, each with its reason. The list is meant to stay short.

use crate::commands::command;
use crate::side::Exchange;

/// A permitted difference of response codes. A code is given without its parameter, handle or session number, which
/// both must have the same of; `ANY` stands for every code.
pub struct Exception {
    /// The commands, or all.
    pub commands: &'static [u32],
    /// The response code of the engine.
    pub engine: u32,
    /// The response code of swtpm.
    pub swtpm: u32,
    /// Why.
    pub reason: &'static str,
}

const SEQUENCE_UPDATE: u32 = 0x15C;
const PCR_RESET: u32 = 0x13D;
const LOCALITY: u32 = 0x907;
const ANY: u32 = u32::MAX;

/// Permitted differences of response codes.
pub const RESPONSE_CODES: &[Exception] = &[
    Exception {
        commands: &[],
        engine: 0x01E,
        swtpm: 0x084,
        reason: "an unknown tag is TPM_RC_BAD_TAG (Part 3 §5.2); libtpms says TPM_RC_VALUE",
    },
    Exception {
        commands: &[],
        engine: 0x097,
        swtpm: 0x084,
        reason: "a wrong tag of a ticket is TPM_RC_TAG (Part 2 §10.6); libtpms says TPM_RC_VALUE for tags it does not know",
    },
    Exception {
        commands: &[0x159],
        engine: 0x084,
        swtpm: 0x101,
        reason: "RSA_Decrypt with wrong padding is TPM_RC_VALUE (Part 3 §14.3); libtpms says TPM_RC_FAILURE",
    },
    Exception {
        commands: &[0x155, 0x15B],
        engine: 0x083,
        swtpm: 0x096,
        reason: "a wrong hash algorithm is TPM_RC_HASH (Part 2 §9.27); libtpms takes HMAC for MAC and says TPM_RC_SYMMETRIC",
    },
    Exception {
        commands: &[],
        engine: 0x095,
        swtpm: 0x0A7,
        reason: "a coordinate is too long for the engine's curves, but not for those of libtpms: it is no point to either",
    },
    Exception {
        commands: &[],
        engine: 0x121,
        swtpm: ANY,
        reason: "auditExclusive in the first command of an audit session is TPM_RC_EXCLUSIVE (Part 1 §15.6.4); libtpms lets it pass",
    },
    Exception {
        commands: &[],
        engine: 0x089,
        swtpm: ANY,
        reason: "libtpms has CMAC among the modes of symmetric algorithms",
    },
    Exception {
        commands: &[0x16A, 0x172],
        engine: 0x095,
        swtpm: ANY,
        reason: "a Name is at most an algorithm and a digest; the bound of libtpms is two bytes higher",
    },
    Exception {
        commands: &[0x142],
        engine: 0x084,
        swtpm: 0,
        reason: "libtpms has more algorithms to test: SM2, Camellia, TDES",
    },
    Exception {
        commands: &[0x12D, 0x140],
        engine: 0x095,
        swtpm: 0x09A,
        reason: "the engine's bound of a list is lower: no list of the profile's commands is longer",
    },
    Exception {
        commands: &[0x167, 0x156],
        engine: 0x095,
        swtpm: 0x087,
        reason: "a private value is too long for the engine's keys, but not for those of libtpms: it is the wrong one to either",
    },
    Exception {
        commands: &[],
        engine: 0x096,
        swtpm: ANY,
        reason: "libtpms has Camellia and TDES",
    },
    Exception {
        commands: &[0x12A],
        engine: 0,
        swtpm: 0x14B,
        reason: "the engine has more room for NV indices",
    },
    Exception {
        commands: &[],
        engine: ANY,
        swtpm: 0x902,
        reason: "libtpms loads a persistent object into a transient slot to use it, and has none; the engine needs none",
    },
    Exception {
        commands: &[],
        engine: 0x0A6,
        swtpm: ANY,
        reason: "libtpms has more curves: P-224, P-521, BN-256, BN-638, SM2",
    },
    Exception {
        commands: &[0x131, 0x153, 0x167],
        engine: 0x095,
        swtpm: 0,
        reason: "a coordinate has up to 48 bytes, libtpms' up to 80: its curves are larger",
    },
    Exception {
        commands: &[0x167],
        engine: 0x095,
        swtpm: 0x087,
        reason: "a private ECC key has up to 48 bytes, libtpms' up to 80: its curves are larger",
    },
];

/// The reason why `engine` and `swtpm` may differ, where they may.
pub fn excuse(engine: &Exchange, swtpm: &Exchange) -> Option<&'static str> {
    let code = engine.command.get(6..10)?;
    let code = u32::from_be_bytes(code.try_into().ok()?);
    let (one, number) = split(engine.rc());
    let (two, other) = split(swtpm.rc());
    if code == SEQUENCE_UPDATE && engine.rc() == 0x189 && swtpm.rc() == 0x1C9 {
        return Some(
            "SequenceUpdate of what is no sequence: libtpms counts the handle among the parameters",
        );
    }
    if one == 0x082 && number & 0x800 != 0 && exclusive_without_audit(engine) {
        return Some(
            "auditExclusive or auditReset without audit is TPM_RC_ATTRIBUTES (Part 2 §8.4); libtpms does not look",
        );
    }
    if code == PCR_RESET && engine.locality == 4 && one == 0 && two == LOCALITY {
        return Some(
            "libtpms says in TPM_PT_PCR_RESET_L4 that locality 4 resets PCR 17 to 22, and refuses it",
        );
    }
    RESPONSE_CODES
        .iter()
        .find(|it| {
            (it.commands.is_empty() || it.commands.contains(&code))
                && (it.swtpm == ANY || it.swtpm == two)
                && (it.engine == ANY || it.engine == one)
                && (it.engine == ANY || it.swtpm == ANY || number == other || one == 0 || two == 0)
        })
        .map(|it| it.reason)
}

/// Whether a session of the command has auditExclusive or auditReset, and not audit.
fn exclusive_without_audit(exchange: &Exchange) -> bool {
    sessions(&exchange.command)
        .unwrap_or_default()
        .iter()
        .any(|attributes| attributes & 0x80 == 0 && attributes & 0x06 != 0)
}

/// The attributes of the command's sessions.
fn sessions(bytes: &[u8]) -> Option<Vec<u8>> {
    let code = u32::from_be_bytes(bytes.get(6..10)?.try_into().ok()?);
    let at = 10 + 4 * command(code)?.handles;
    let size = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
    let mut area = bytes.get(at + 4..at + 4 + size)?;
    let mut all = Vec::new();
    while !area.is_empty() {
        let nonce = usize::from(u16::from_be_bytes(area.get(4..6)?.try_into().ok()?));
        all.push(*area.get(6 + nonce)?);
        let value = usize::from(u16::from_be_bytes(
            area.get(7 + nonce..9 + nonce)?.try_into().ok()?,
        ));
        area = area.get(9 + nonce + value..)?;
    }
    Some(all)
}

/// A response code without its number, and the number.
fn split(rc: u32) -> (u32, u32) {
    if rc & 0x80 != 0 {
        (rc & !0xF40, rc & 0xF40)
    } else {
        (rc, 0)
    }
}

/// Properties (TPM_PT) whose values are the implementation's own: identity and sizes of the profile.
const OWN_PROPERTIES: &[u32] = &[
    0x102, 0x103, 0x104, // revision of the specification, day, year
    0x105, 0x106, 0x107, 0x108, 0x109, // manufacturer, vendor strings
    0x10A, 0x10B, 0x10C, // type, firmware version
    0x10F, // at least so many persistent objects
    0x116, 0x117, // counters, size of an NV index
    0x118, // memory: where persistent objects are
    0x119, // time between two commits of the clock
    0x11A, // hash of contexts: internal
    0x121, 0x122, // size of contexts: internal
    0x124, 0x125, 0x126, 0x127, // platform specification
    0x129, 0x12A, 0x12B, // number of commands: swtpm has CertifyX509
    0x12E, // size of a list
    0x209, 0x20B, // room for persistent objects and counters
    0x20C, 0x20D, // algorithm set, curves
];

/// What the profile has of the algorithms: libtpms has SM4, TDES, Camellia, CMAC and more as well.
const CURVES: &[u16] = &[3, 4];

/// Whether two TPML_ALG (`G`), TPML_DIGEST_VALUES (`H`) or TPMS_CAPABILITY_DATA (`K`) agree on what both profiles have.
pub fn same_capability(letter: char, engine: &[u8], swtpm: &[u8]) -> bool {
    if letter == 'G' {
        return true; // what is still to be tested: of the TPM's own
    }
    if letter == 'H' {
        // libtpms gives the digest of SHA-512, its last, even where that bank has no PCRs.
        let digests = engine.get(4..).unwrap_or(&[]);
        let more = swtpm.get(4 + digests.len()..);
        return swtpm.get(4..4 + digests.len()) == Some(digests)
            && more.is_some_and(|more| more.is_empty() || more.starts_with(&[0, 0x0D]));
    }
    let (Some(one), Some(two)) = (List::of(engine), List::of(swtpm)) else {
        return false;
    };
    if one.capability != two.capability {
        return false;
    }
    match one.capability {
        // Handles: which slots objects have is the TPM's own affair.
        1 => one.handles() == two.handles(),
        // Algorithms: the engine's with the same attributes.
        0 => {
            let (one, two) = (one.entries(6), two.entries(6));
            // swtpm's list may have ended earlier, because it has more in it.
            one.iter()
                .all(|entry| two.contains(entry) || two.last().is_some_and(|last| entry > last))
        }
        // Commands, with their attributes, and lists of command codes: those that the profile has.
        2..=4 => one.commands() == two.commands(),
        // A bank without PCRs is like no bank.
        5 => one.banks() == two.banks(),
        6 => one.properties() == two.properties(),
        8 => one
            .curves()
            .iter()
            .all(|curve| two.curves().contains(curve)),
        _ => engine == swtpm,
    }
}

struct List<'a> {
    capability: u32,
    rest: &'a [u8],
}

impl<'a> List<'a> {
    fn of(data: &'a [u8]) -> Option<List<'a>> {
        Some(List {
            capability: u32::from_be_bytes(data.get(..4)?.try_into().ok()?),
            rest: data.get(8..)?,
        })
    }

    fn entries(&self, size: usize) -> Vec<&'a [u8]> {
        self.rest.chunks(size).collect()
    }

    fn words(&self, at: usize, size: usize) -> Vec<(u32, &'a [u8])> {
        self.entries(size)
            .into_iter()
            .filter_map(|entry| {
                Some((
                    u32::from_be_bytes(entry.get(at..at + 4)?.try_into().ok()?),
                    entry,
                ))
            })
            .collect()
    }

    fn handles(&self) -> Vec<u32> {
        self.words(0, 4)
            .into_iter()
            .map(|(word, _)| {
                if word >> 24 == 0x80 {
                    0x8000_0000
                } else {
                    word
                }
            })
            .collect()
    }

    fn commands(&self) -> Vec<u32> {
        self.words(0, 4)
            .into_iter()
            .map(|(word, _)| word)
            .filter(|word| command(word & 0xFFFF).is_some())
            .collect()
    }

    fn banks(&self) -> Vec<&'a [u8]> {
        self.entries(6)
            .into_iter()
            .filter(|entry| entry.get(3..) != Some(&[0; 3]))
            .collect()
    }

    fn properties(&self) -> Vec<&'a [u8]> {
        self.words(0, 8)
            .into_iter()
            .filter(|(tag, _)| !OWN_PROPERTIES.contains(tag))
            .map(|(_, entry)| entry)
            .collect()
    }

    fn curves(&self) -> Vec<u16> {
        self.entries(2)
            .into_iter()
            .filter_map(|entry| Some(u16::from_be_bytes(entry.try_into().ok()?)))
            .filter(|curve| CURVES.contains(curve))
            .collect()
    }
}
