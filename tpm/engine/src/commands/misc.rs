//! Part 3 §26: physical presence, algorithm set.

use crate::command_table::{self, PP};
use crate::context::Context;
use crate::limits::MAX_CAP_CC;
use crate::rc::{Rc, Result};
use crate::types::cc;

/// TPM2_PP_Commands. That it needs physical presence itself was seen with its authorization.
pub(crate) fn pp_commands(cx: &mut Context<'_>) -> Result<()> {
    let mut commands = cx.s.perm.pp_commands;
    for set in [true, false] {
        cx.params.with(|r| {
            let count = r.u32()?;
            if usize::try_from(count).map_or(true, |count| count > MAX_CAP_CC) {
                return Err(Rc::SIZE);
            }
            for _ in 0..count {
                let code = r.u32()?;
                let gated = command_table::find(code).is_some_and(|info| info.has(PP));
                if gated && code != cc::PP_COMMANDS {
                    crate::audit::set_bit(&mut commands, code, set);
                }
            }
            Ok(())
        })?;
    }
    cx.params.end()?;
    cx.s.perm.pp_commands = commands;
    cx.s.dirty.permanent();
    Ok(())
}

/// TPM2_SetAlgorithmSet: noted, but the profile has one set only.
pub(crate) fn set_algorithm_set(cx: &mut Context<'_>) -> Result<()> {
    let set = cx.params.get()?;
    cx.params.end()?;
    cx.s.perm.algorithm_set = set;
    cx.s.dirty.permanent();
    Ok(())
}
