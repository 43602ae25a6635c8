//! Part 3 §10: self-tests.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_IncrementalSelfTest.
pub(crate) fn incremental_self_test(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_SelfTest.
pub(crate) fn self_test(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_GetTestResult.
pub(crate) fn get_test_result(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
