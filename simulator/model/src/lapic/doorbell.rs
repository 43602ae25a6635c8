//! The #HV doorbell page's first bytes (56421 §5), which hypervisor and guest both write.

/// Copies of the page's pending vector and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell {
    /// Byte 0: the interrupt that waits to be taken; the guest puts zero there when it takes it.
    pub vector: u8,
    /// Byte 1.
    pub flags: u8,
}

/// Byte 1: the guest knows that it must look at the page; no further #HV is sent until it clears this.
const NO_FURTHER_SIGNAL: u8 = 1 << 7;

/// What the hypervisor does about a vector that it put into the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Writes these flags and raises #HV.
    Raise {
        /// New byte 1.
        flags: u8,
    },
    /// The guest has been told before, or asked not to be: nothing.
    Held,
}

impl Doorbell {
    /// How many bytes are looked at.
    pub const BYTES: usize = 2;
    /// Byte 2: non-zero when the interrupt needs no EOI. Here each one does.
    pub const NO_EOI_REQUIRED: usize = 2;

    /// From the page.
    pub const fn from_bytes([vector, flags]: [u8; Doorbell::BYTES]) -> Doorbell {
        Doorbell { vector, flags }
    }

    /// Whether there is room for a vector.
    pub const fn is_free(self) -> bool {
        self.vector == 0
    }

    /// What follows when a vector was put into the page.
    pub const fn signal(self) -> Signal {
        if self.flags & NO_FURTHER_SIGNAL != 0 {
            Signal::Held
        } else {
            Signal::Raise {
                flags: self.flags | NO_FURTHER_SIGNAL,
            }
        }
    }
}
