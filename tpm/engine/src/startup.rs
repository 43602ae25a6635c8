//! TPM2_Startup and TPM2_Shutdown: what is lost, kept, and made anew (Part 1 §9.2, Part 3 §9).

use crate::pcr::StartupKind;
use crate::persist::{ORDERLY, new_secret, new_seeds};
use crate::rc::{Rc, Result};
use crate::state::{ClearData, Mode, ResetData, Shutdown, State};
use crate::types::cc;

/// TPM2_Startup(STATE) or (CLEAR), from `locality`.
///
/// # Errors
/// VALUE: STATE without a Shutdown(STATE) before; LOCALITY: not one for it, or not the one of the start that is resumed.
pub(crate) fn startup(s: &mut State, state: bool, locality: u8) -> Result<()> {
    let locality = match (s.drtm, locality) {
        (true, _) => 4,
        (_, 0 | 3) => locality,
        _ => return Err(Rc::LOCALITY),
    };
    let orderly = s.perm.shutdown != Shutdown::None;
    let kind = match (s.perm.shutdown, state) {
        (Shutdown::State, true) => StartupKind::Resume,
        (Shutdown::State, false) => StartupKind::Restart,
        (_, false) => StartupKind::Reset,
        (_, true) => return Err(Rc::VALUE.param(1)),
    };
    if kind == StartupKind::Resume && locality != s.perm.startup_locality {
        return Err(Rc::LOCALITY);
    }
    s.drtm = false;
    s.orderly = orderly;
    s.perm.startup_locality = locality;
    s.perm.shutdown = Shutdown::None;
    s.perm.clock_safe &= orderly;
    s.platform_enabled = true;
    match kind {
        StartupKind::Reset => {
            s.reset = ResetData::BLANK;
            new_seeds(&mut s.reset.null_seeds, &mut s.drbg);
            new_secret(&mut s.reset.commit_nonce, &mut s.drbg);
            s.perm.reset_count = s.perm.reset_count.wrapping_add(1);
            s.perm.total_reset_count = s.perm.total_reset_count.wrapping_add(1);
            s.sessions.reset();
        }
        StartupKind::Restart => {
            s.reset.restart_count = s.reset.restart_count.wrapping_add(1);
            s.reset.clear_count = s.reset.clear_count.wrapping_add(1);
            s.sessions.flush_loaded();
        }
        StartupKind::Resume => {
            s.reset.restart_count = s.reset.restart_count.wrapping_add(1);
            s.sessions.flush_loaded();
        }
    }
    if kind != StartupKind::Resume {
        s.clear = ClearData::BLANK;
    }
    s.pcr.startup(kind, locality, locality == 4);
    s.nv.startup(kind, orderly, &mut s.dirty);
    crate::da::startup(s, orderly);
    s.dirty.permanent();
    s.dirty.mark(ORDERLY);
    s.mode = Mode::Running;
    Ok(())
}

/// TPM2_Shutdown(STATE) or (CLEAR).
///
/// # Errors
/// TYPE: PCRs were allocated, so that a TPM Reset must be next (Part 3 §22.5.1: even where nothing changes).
pub(crate) fn shutdown(s: &mut State, state: bool) -> Result<()> {
    if state && s.pcr.reallocated {
        return Err(Rc::TYPE.param(1));
    }
    s.perm.shutdown = if state {
        Shutdown::State
    } else {
        Shutdown::Clear
    };
    s.perm.clock = s.clock.clock;
    s.perm.da.used = false;
    s.nv.shutdown(state, &mut s.dirty);
    s.dirty.permanent();
    s.dirty.mark(ORDERLY);
    Ok(())
}

/// A command `code` succeeded: unless it leaves everything as it was, a shutdown before it counts no longer.
pub(crate) fn after_command(s: &mut State, code: u32) {
    if s.perm.shutdown == Shutdown::None || s.mode != Mode::Running {
        return;
    }
    let harmless = matches!(
        code,
        cc::SHUTDOWN
            | cc::GET_CAPABILITY
            | cc::GET_TEST_RESULT
            | cc::SELF_TEST
            | cc::INCREMENTAL_SELF_TEST
            | cc::GET_RANDOM
            | cc::STIR_RANDOM
            | cc::PCR_READ
            | cc::READ_PUBLIC
            | cc::NV_READ_PUBLIC
            | cc::HASH
            | cc::TEST_PARMS
            | cc::ECC_PARAMETERS
    );
    if !harmless {
        not_orderly(s);
    }
}

/// If power goes now, that is not orderly.
pub(crate) fn not_orderly(s: &mut State) {
    if s.perm.shutdown != Shutdown::None {
        s.perm.shutdown = Shutdown::None;
        s.dirty.permanent();
        s.dirty.mark(ORDERLY);
    }
}
