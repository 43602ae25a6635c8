//! Part 3 §9: start-up and shutdown.

use crate::context::Context;
use crate::rc::{Rc, Result};
use crate::state::Mode;

/// TPM2_Startup.
pub(crate) fn startup(cx: &mut Context<'_>) -> Result<()> {
    if cx.s.mode != Mode::Initialized {
        return Err(Rc::INITIALIZE);
    }
    let state = cx.params.with(startup_type)?;
    cx.params.end()?;
    crate::startup::startup(cx.s, state, cx.locality)
}

/// TPM2_Shutdown.
pub(crate) fn shutdown(cx: &mut Context<'_>) -> Result<()> {
    let state = cx.params.with(startup_type)?;
    cx.params.end()?;
    crate::startup::shutdown(cx.s, state)
}

/// TPM_SU: whether it is STATE.
fn startup_type(r: &mut crate::codec::Reader<'_>) -> Result<bool> {
    match r.u16()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Rc::VALUE),
    }
}
