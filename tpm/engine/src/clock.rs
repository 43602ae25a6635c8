//! Time, Clock and their place in responses (Part 1 §33).
//!
//! Time counts the milliseconds since power on, Clock those of all time as far as the store knows. Both run at a rate that
//! TPM2_ClockRateAdjust moves.

use crate::codec::Writer;
use crate::crypto::drbg::Drbg;
use crate::limits::CLOCK_COMMIT_MS;
use crate::platform::Platform;
use crate::state::State;

/// Units of the rate: this many of the platform's milliseconds for as many of ours.
const NOMINAL: u64 = 30_000;
/// Steps of TPM2_ClockRateAdjust: 1 %, 0.1 %, and as little as there is.
pub const COARSE: i64 = 300;
/// See [`COARSE`].
pub const MEDIUM: i64 = 30;
/// See [`COARSE`].
pub const FINE: i64 = 1;
/// The last value that Clock can be set to.
pub const LAST: u64 = 0xFFFF_0000_0000_0000;
/// How far the rate can be moved from the nominal one: 15 %.
const MOST_ADJUSTED: u64 = NOMINAL * 15 / 100;

/// Time.
pub struct Clock {
    /// Clock, in milliseconds.
    pub clock: u64,
    /// Time, in milliseconds.
    pub time: u64,
    /// Names the time between two power cycles: what expires in one never expires in another.
    pub epoch: u32,
    /// The platform's milliseconds at the last update.
    seen: u64,
    /// The platform's milliseconds for [`NOMINAL`] of ours.
    rate: u64,
    /// What was too little for a millisecond.
    rest: u64,
}

impl Clock {
    /// Stopped at zero.
    pub const fn new() -> Clock {
        Clock {
            clock: 0,
            time: 0,
            epoch: 0,
            seen: 0,
            rate: NOMINAL,
            rest: 0,
        }
    }

    /// Time starts at the platform's `now`.
    pub const fn power_on(&mut self, now: u64) {
        self.seen = now;
    }

    /// Moves the rate by `change` units; a positive change makes the clock faster. Whether that is within what can be moved.
    pub fn adjust(&mut self, change: i64) -> bool {
        let Some(rate) = self.rate.checked_add_signed(change.saturating_neg()) else {
            return false;
        };
        let within = rate.abs_diff(NOMINAL) <= MOST_ADJUSTED;
        if within {
            self.rate = rate;
        }
        within
    }

    fn advance(&mut self, now: u64) {
        // A platform clock that goes back is a stopped one.
        let passed = now.saturating_sub(self.seen);
        self.seen = now;
        let units = passed.saturating_mul(NOMINAL).saturating_add(self.rest);
        let ms = units.checked_div(self.rate).unwrap_or(0);
        self.rest = units.checked_rem(self.rate).unwrap_or(0);
        self.time = self.time.saturating_add(ms);
        self.clock = self.clock.saturating_add(ms);
    }
}

/// A new epoch, different from any before for all practical purposes.
pub(crate) fn new_epoch(drbg: &mut Drbg) -> u32 {
    let mut bytes = [0; 4];
    drbg.generate(&mut bytes);
    u32::from_be_bytes(bytes)
}

/// Brings Time and Clock up to date, before a command. Clock is noted for the store once in [`CLOCK_COMMIT_MS`].
pub(crate) fn update(s: &mut State, platform: &mut dyn Platform) {
    s.clock.advance(platform.now_ms());
    let interval = |ms: u64| ms.wrapping_div(CLOCK_COMMIT_MS);
    if interval(s.clock.clock) > interval(s.perm.clock) {
        s.perm.clock = s.clock.clock;
        // No Clock that was reported before an unorderly loss of power is above this one.
        s.perm.clock_safe = true;
        s.dirty.permanent();
    }
    crate::da::self_heal(s);
}

/// TPMS_CLOCK_INFO.
pub(crate) fn put_clock_info(s: &State, w: &mut Writer<'_>) {
    w.u64(s.clock.clock);
    w.u32(s.perm.reset_count);
    w.u32(s.reset.restart_count);
    w.put(&s.perm.clock_safe);
}

/// TPMS_TIME_INFO.
pub(crate) fn put_time_info(s: &State, w: &mut Writer<'_>) {
    w.u64(s.clock.time);
    put_clock_info(s, w);
}
