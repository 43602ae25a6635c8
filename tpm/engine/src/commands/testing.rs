//! Part 3 §10: self-tests.
//!
//! All tests run when TPM2_SelfTest asks for them all; until then the engine counts as tested, as nothing it would use
//! before is hardware.

use crate::commands::capability;
use crate::context::Context;
use crate::rc::{Rc, Result};
use crate::state::Mode;
use crate::types::alg;

fn test_all(cx: &mut Context<'_>) -> Result<()> {
    if crate::crypto::self_test() {
        Ok(())
    } else {
        cx.s.mode = Mode::Failure;
        Err(Rc::FAILURE)
    }
}

/// TPM2_SelfTest.
pub(crate) fn self_test(cx: &mut Context<'_>) -> Result<()> {
    let full: bool = cx.params.get()?;
    cx.params.end()?;
    if full { test_all(cx) } else { Ok(()) }
}

/// TPM2_IncrementalSelfTest: nothing is left to do afterwards.
pub(crate) fn incremental_self_test(cx: &mut Context<'_>) -> Result<()> {
    let wanted = cx.params.with(|r| {
        let count = r.u32()?;
        // TPML_ALG: at most 64 (MAX_ALG_LIST_SIZE).
        if count > 64 {
            return Err(Rc::SIZE);
        }
        let (mut wanted, mut known) = (false, true);
        for _ in 0..count {
            let id = r.u16()?;
            known &= id == alg::NULL || capability::is_known(id);
            wanted |= id != alg::NULL;
        }
        if known { Ok(wanted) } else { Err(Rc::VALUE) }
    })?;
    cx.params.end()?;
    if wanted {
        test_all(cx)?;
    }
    cx.out.u32(0);
    Ok(())
}

/// TPM2_GetTestResult: works in failure mode too.
pub(crate) fn get_test_result(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let result = if cx.s.mode == Mode::Failure {
        Rc::FAILURE
    } else {
        Rc::SUCCESS
    };
    cx.out.sized_bytes(&[]);
    cx.out.u32(result.value());
    Ok(())
}
