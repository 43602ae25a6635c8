//! Part 3 §29: clock.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_ClockSet.
pub(crate) fn clock_set(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ClockRateAdjust.
pub(crate) fn clock_rate_adjust(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ReadClock.
pub(crate) fn read_clock(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
