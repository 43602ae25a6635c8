//! The local APIC's timer (APM vol. 2 §16.4.1), as a function of time: 1 GHz bus clock, so time is in nanoseconds.

/// Bits of the timer's LVT entry that are kept: vector, mask, periodic. TSC-deadline mode is not offered.
const LVT_KEPT: u32 = 0x3_00FF;
const LVT_MASKED: u32 = 1 << 16;
const LVT_PERIODIC: u32 = 1 << 17;
/// Bits of the divide register: 3, 1 and 0.
const DIVIDE_KEPT: u32 = 0xB;
/// Shortest period, as KVM limits it (`min_timer_period_us`): else a guest could keep the machine busy with its timer alone.
const SHORTEST_PERIOD: u64 = 200_000;

/// The timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    lvt: u32,
    divide: u32,
    initial: u32,
    /// When the count reaches zero next; none if it does not run.
    expires: Option<u64>,
}

impl Timer {
    /// After reset: masked and stopped.
    pub const fn new() -> Timer {
        Timer {
            lvt: LVT_MASKED,
            divide: 0,
            initial: 0,
            expires: None,
        }
    }

    /// The LVT entry.
    pub const fn lvt(&self) -> u32 {
        self.lvt
    }

    /// The divide register.
    pub const fn divide(&self) -> u32 {
        self.divide
    }

    /// The initial count.
    pub const fn initial(&self) -> u32 {
        self.initial
    }

    /// The current count.
    pub fn current(&self, now: u64) -> u32 {
        let mut timer = *self;
        timer.advance(now);
        let left = timer.expires.map_or(0, |at| at.saturating_sub(now));
        let count = left.div_ceil(timer.unit());
        count.min(u64::from(timer.initial)) as u32
    }

    /// Writes the LVT entry.
    pub fn write_lvt(&mut self, value: u32, now: u64) {
        // What expired until now did so under the old entry.
        self.advance(now);
        self.lvt = value & LVT_KEPT;
    }

    /// Writes the divide register: the count goes on at the new rate.
    pub fn write_divide(&mut self, value: u32, now: u64) {
        let left = self.current(now);
        self.divide = value & DIVIDE_KEPT;
        if self.expires.is_some() && left != 0 {
            self.expires = Some(now.saturating_add(u64::from(left) * self.unit()));
        }
    }

    /// Writes the initial count, which starts the timer; 0 stops it.
    pub fn write_initial(&mut self, value: u32, now: u64) {
        self.initial = value;
        self.expires = (value != 0).then(|| now.saturating_add(u64::from(value) * self.unit()));
    }

    /// Masks the entry, as software disable of the APIC does.
    pub const fn mask(&mut self) {
        self.lvt |= LVT_MASKED;
    }

    /// The vector of the interrupt that is due, once for each time the timer expired unless that happened several times since
    /// the last call.
    pub fn expire(&mut self, now: u64) -> Option<u8> {
        let expired = self.advance(now);
        (expired && self.lvt & LVT_MASKED == 0).then_some(self.lvt as u8)
    }

    /// When it will next have an interrupt.
    pub fn next(&self) -> Option<u64> {
        self.expires.filter(|_| self.lvt & LVT_MASKED == 0)
    }

    /// Nanoseconds per count.
    const fn unit(&self) -> u64 {
        match self.divide & 3 | self.divide >> 1 & 4 {
            7 => 1,
            power => 2 << power,
        }
    }

    /// Brings the state up to `now`; whether the count reached zero since.
    fn advance(&mut self, now: u64) -> bool {
        let Some(at) = self.expires.filter(|at| *at <= now) else {
            return false;
        };
        self.expires = (self.lvt & LVT_PERIODIC != 0).then(|| {
            let period = (u64::from(self.initial) * self.unit()).max(SHORTEST_PERIOD);
            let missed = (now - at) / period;
            at.saturating_add((missed + 1) * period)
        });
        true
    }
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}
