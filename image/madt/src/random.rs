//! Numbers that look random and are the same for the same seed (SplitMix64).

/// The generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number of fewer than `bits` bits, small ones as often as large ones.
    pub const fn of_any_size(&mut self, bits: u64) -> u64 {
        let limit = 1 << self.below(bits);
        self.below(limit)
    }

    /// True once in `one_in` times.
    pub const fn once_in(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}
