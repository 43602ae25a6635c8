//! Part 3 §21: which commands are audited.

use crate::audit;
use crate::codec::Reader;
use crate::command_table;
use crate::context::Context;
use crate::rc::{Rc, Result};
use crate::types::{Digest, HashAlg, cc};

/// TPML_CC, as the bytes of its codes.
fn codes<'a>(r: &mut Reader<'a>) -> Result<&'a [[u8; 4]]> {
    let count = r.u32()? as usize;
    if count > command_table::COMMANDS.len() {
        return Err(Rc::SIZE);
    }
    Ok(r.bytes(count.saturating_mul(4))?.as_chunks().0)
}

/// TPM2_SetCommandCodeAuditStatus.
pub(crate) fn set_command_code_audit_status(cx: &mut Context<'_>) -> Result<()> {
    let hash: Option<HashAlg> = cx.params.get()?;
    let set = cx.params.with(codes)?;
    let clear = cx.params.with(codes)?;
    cx.params.end()?;
    let s = &mut *cx.s;
    match hash {
        // A new algorithm is all that a command changes: the digest begins anew with it.
        Some(hash) if hash != s.perm.audit_hash => {
            if !set.is_empty() || !clear.is_empty() {
                return Err(Rc::VALUE.param(1));
            }
            s.perm.audit_hash = hash;
            s.reset.audit_digest = Digest::new();
            s.dirty.permanent();
        }
        _ => {}
    }
    for (list, value) in [(set, true), (clear, false)] {
        for code in list {
            let code = u32::from_be_bytes(*code);
            // Of this command and of TPM2_Shutdown the status is fixed.
            let fixed = matches!(code, cc::SET_COMMAND_CODE_AUDIT_STATUS | cc::SHUTDOWN);
            if !fixed && command_table::find(code).is_some() {
                audit::set_bit(&mut s.perm.audit_commands, code, value);
                s.dirty.permanent();
            }
        }
    }
    Ok(())
}
