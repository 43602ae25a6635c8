//! Command audit (Part 1 §32): which commands are audited, and their digest.

use crate::crypto::hash::digest;
use crate::state::State;
use crate::types::{Digest, cc};

/// A set of commands: bit n is command code 0x11F + n.
pub(crate) type CommandSet = [u8; 16];

/// The place of command `code` in a [`CommandSet`].
fn place(code: u32) -> Option<(usize, u8)> {
    let n = code.checked_sub(cc::NV_UNDEFINE_SPACE_SPECIAL)?;
    Some(((n / 8) as usize, 1u8.wrapping_shl(n & 7)))
}

/// Whether command `code` is in `set`.
pub(crate) fn bit(set: &CommandSet, code: u32) -> bool {
    place(code).is_some_and(|(at, bit)| set.get(at).is_some_and(|byte| byte & bit != 0))
}

/// Puts command `code` into `set`, or takes it out.
pub(crate) fn set_bit(set: &mut CommandSet, code: u32, value: bool) {
    if let Some((at, bit)) = place(code)
        && let Some(byte) = set.get_mut(at)
    {
        *byte = if value { *byte | bit } else { *byte & !bit };
    }
}

/// Whether command `code` is audited.
pub(crate) fn is_audited(s: &State, code: u32) -> bool {
    bit(&s.perm.audit_commands, code)
}

/// Extends the digest with a command that succeeded. The first of an audit counts the audit.
pub(crate) fn extend(s: &mut State, cp_hash: &[u8], rp_hash: &[u8]) {
    let hash = s.perm.audit_hash;
    if s.reset.audit_digest.is_empty() {
        s.perm.audit_counter = s.perm.audit_counter.wrapping_add(1);
        s.dirty.permanent();
        s.reset.audit_digest = Digest::zeroed(hash.size());
    }
    s.reset.audit_digest = digest(hash, &[&s.reset.audit_digest, cp_hash, rp_hash]);
}
