//! Part 3 §29: clock.

use crate::clock::{self, COARSE, FINE, LAST, MEDIUM};
use crate::context::Context;
use crate::limits::CLOCK_COMMIT_MS;
use crate::rc::{Rc, Result};

/// TPM2_ReadClock.
pub(crate) fn read_clock(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    clock::put_time_info(cx.s, &mut cx.out);
    Ok(())
}

/// TPM2_ClockSet.
pub(crate) fn clock_set(cx: &mut Context<'_>) -> Result<()> {
    let time: u64 = cx.params.get()?;
    cx.params.end()?;
    let s = &mut *cx.s;
    if time > LAST {
        return Err(Rc::VALUE.param(1));
    }
    let moved = time.checked_sub(s.clock.clock).ok_or(Rc::VALUE.param(1))?;
    s.clock.clock = time;
    crate::da::clock_moved(s, moved);
    if time.saturating_sub(s.perm.clock) >= CLOCK_COMMIT_MS {
        s.perm.clock = time;
        s.perm.clock_safe = true;
    }
    s.dirty.permanent();
    Ok(())
}

/// TPM2_ClockRateAdjust.
pub(crate) fn clock_rate_adjust(cx: &mut Context<'_>) -> Result<()> {
    // TPM_CLOCK_ADJUST.
    let change = cx.params.with(|r| {
        Ok(match r.u8()? as i8 {
            -3 => -COARSE,
            -2 => -MEDIUM,
            -1 => -FINE,
            0 => 0,
            1 => FINE,
            2 => MEDIUM,
            3 => COARSE,
            _ => return Err(Rc::VALUE),
        })
    })?;
    cx.params.end()?;
    if cx.s.clock.adjust(change) {
        Ok(())
    } else {
        Err(Rc::VALUE.param(1))
    }
}
