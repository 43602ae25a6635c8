//! TPM properties: TPM_PT (Part 2 §6.13).

use crate::limits::*;
use crate::state::State;
use crate::ticket::CONTEXT_HASH;
use crate::types::{alg, pt, rh};

/// Four characters as a property.
const fn text(characters: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*characters)
}

/// TPM_PT_FAMILY_INDICATOR.
const FAMILY: u32 = text(b"2.0\0");
/// TPM_PT_REVISION: the specification's version times 100; and the day and year of its publication.
const REVISION: (u32, u32, u32) = (164, 75, 2021);
/// TPM_PT_MANUFACTURER. Not in TCG's registry: a software TPM that says that it is one.
const MANUFACTURER: u32 = text(b"MCDM");
/// TPM_PT_VENDOR_STRING_1 to 4.
const VENDOR: [u32; 4] = [text(b"Maca"), text(b"dami"), text(b"a vT"), text(b"PM\0\0")];
/// TPM_PT_FIRMWARE_VERSION_1: major and minor version of the engine.
const FIRMWARE_1: u32 = 0x0001_0000;
/// TPM_PT_FIRMWARE_VERSION_2.
const FIRMWARE_2: u32 = 0;
/// TPM_PT_MEMORY: NV has no memory of its own.
const MEMORY: u32 = 1 << 1;

/// Both parts of the firmware's version, as an attestation tells it.
pub(crate) fn firmware_version() -> u64 {
    u64::from(FIRMWARE_1) << 32 | u64::from(FIRMWARE_2)
}

/// The last tags that have a property, fixed and variable. All before them have one too, but for 0x115.
const LAST: [u32; 2] = [0x12E, 0x214];

/// The tags of `from`'s group, from `from` on.
pub(crate) fn group(from: u32) -> impl Iterator<Item = u32> {
    let from = from.max(pt::FIXED);
    let [fixed, variable] = LAST;
    from..=if from < pt::VAR { fixed } else { variable }
}

fn bit(set: bool, at: u32) -> u32 {
    u32::from(set).wrapping_shl(at)
}

/// The value of property `tag`; `None` for one that the profile lacks.
pub(crate) fn value(s: &State, tag: u32) -> Option<u32> {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    Some(match tag {
        0x100 | 0x123 => FAMILY,
        0x101 | 0x124 => 0,
        0x102 | 0x125 => REVISION.0,
        0x103 | 0x126 => REVISION.1,
        0x104 | 0x127 => REVISION.2,
        0x105 => MANUFACTURER,
        0x106..=0x109 => *VENDOR.get(tag.wrapping_sub(0x106) as usize)?,
        0x10A => 1,
        0x10B => FIRMWARE_1,
        0x10C => FIRMWARE_2,
        0x10D => size(MAX_BUFFER),
        0x10E => size(MAX_LOADED_OBJECTS),
        0x10F => size(MAX_PERSISTENT),
        0x110 => size(MAX_LOADED_SESSIONS),
        0x111 => size(MAX_ACTIVE_SESSIONS),
        0x112 => size(PCR_COUNT),
        0x113 => size(PCR_SELECT),
        0x114 => CONTEXT_GAP_MAX,
        0x116 => 0,
        0x117 => size(MAX_NV_INDEX_SIZE),
        0x118 => MEMORY,
        0x119 => u32::try_from(CLOCK_COMMIT_MS).unwrap_or(u32::MAX),
        0x11A => u32::from(CONTEXT_HASH.id()),
        0x11B => u32::from(alg::AES),
        0x11C => size(MAX_SYM_KEY_BYTES.saturating_mul(8)),
        0x11D => ORDERLY_COUNT,
        0x11E | 0x11F => size(MAX_COMMAND_SIZE),
        0x120 => size(MAX_DIGEST),
        0x121 => size(MAX_CONTEXT),
        0x122 => size(MAX_CONTEXT),
        0x128 => 128,
        0x129 | 0x12A => size(crate::command_table::COMMANDS.len()),
        0x12B => 0,
        0x12C => size(MAX_NV_BUFFER),
        0x12D => 0,
        0x12E => size(MAX_CAP_DATA),
        0x200 => permanent(s),
        0x201 => startup_clear(s),
        0x202 => size(s.nv.handles().count()),
        0x203 => size(s.sessions.loaded_handles().count()),
        0x204 => free(MAX_LOADED_SESSIONS, s.sessions.loaded_handles().count()),
        0x205 => size(active(s)),
        0x206 => free(MAX_ACTIVE_SESSIONS, active(s)),
        0x207 => free(MAX_LOADED_OBJECTS, s.objects.transient_handles().count()),
        0x208 => size(s.objects.persistent.len()),
        0x209 => free(MAX_PERSISTENT, s.objects.persistent.len()),
        0x20A => size(s.nv.counters()),
        0x20B => free(MAX_NV_INDICES, s.nv.handles().count()),
        0x20C => s.perm.algorithm_set,
        0x20D => 2,
        0x20E => s.perm.da.failed_tries,
        0x20F => s.perm.da.max_tries,
        0x210 => s.perm.da.recovery_time,
        0x211 => s.perm.da.lockout_recovery,
        0x212 => 0,
        0x213 => (s.perm.audit_counter >> 32) as u32,
        0x214 => s.perm.audit_counter as u32,
        _ => return None,
    })
}

fn free(all: usize, used: usize) -> u32 {
    u32::try_from(all.saturating_sub(used)).unwrap_or(0)
}

fn active(s: &State) -> usize {
    s.sessions
        .loaded_handles()
        .count()
        .saturating_add(s.sessions.saved_handles().count())
}

/// TPMA_PERMANENT.
fn permanent(s: &State) -> u32 {
    let is_set = |handle| {
        s.authorization(handle)
            .is_some_and(|authorization| !authorization.auth.is_empty())
    };
    bit(is_set(rh::OWNER), 0)
        | bit(is_set(rh::ENDORSEMENT), 1)
        | bit(is_set(rh::LOCKOUT), 2)
        | bit(s.perm.disable_clear, 8)
        | bit(crate::da::in_lockout(s), 9)
        | bit(true, 10)
}

/// TPMA_STARTUP_CLEAR.
fn startup_clear(s: &State) -> u32 {
    bit(s.platform_enabled, 0)
        | bit(s.clear.owner_enabled, 1)
        | bit(s.clear.endorsement_enabled, 2)
        | bit(s.clear.platform_nv_enabled, 3)
        | bit(s.orderly, 31)
}
