//! Byte strings of bounded length, held in place: what a TPM2B becomes once it has been read.
//!
//! Nothing in the engine allocates while it executes a command; every size has a bound in [`crate::limits`].

use core::fmt;
use core::ops::Deref;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// The bytes do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Up to `N` bytes. Bytes behind the length are zero at all times.
#[derive(Clone)]
pub struct Buf<const N: usize> {
    len: usize,
    bytes: [u8; N],
}

impl<const N: usize> Buf<N> {
    /// What fits.
    pub const CAPACITY: usize = N;

    /// The empty string.
    pub const fn new() -> Self {
        Buf {
            len: 0,
            bytes: [0; N],
        }
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// More than `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        let mut buf = Self::new();
        buf.extend(bytes)?;
        Ok(buf)
    }

    /// A copy of the first `N` of `bytes`: for callers whose bound is known to fit.
    pub fn from_prefix(bytes: &[u8]) -> Self {
        let mut buf = Self::new();
        let len = bytes.len().min(N);
        for (to, from) in buf.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        buf.len = len;
        buf
    }

    /// `len` zero bytes, at most `N`.
    pub fn zeroed(len: usize) -> Self {
        Buf {
            len: len.min(N),
            bytes: [0; N],
        }
    }

    /// Appends.
    ///
    /// # Errors
    /// The sum is more than `N` bytes; nothing is appended then.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let end = self.len.checked_add(bytes.len()).ok_or(TooLong)?;
        self.bytes
            .get_mut(self.len..end)
            .ok_or(TooLong)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends one byte.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn push(&mut self, byte: u8) -> Result<(), TooLong> {
        self.extend(&[byte])
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The bytes, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or(&mut [])
    }

    /// Cuts to `len` bytes; does nothing where it is not longer.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            if let Some(tail) = self.bytes.get_mut(len..self.len) {
                tail.zeroize();
            }
            self.len = len;
        }
    }

    /// Makes it empty, and its bytes zero.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Cuts zero bytes at the end: an authorization value is compared without them (TPM Part 1 §16.6.4.3).
    pub fn strip_trailing_zeros(&mut self) {
        let len = self
            .as_slice()
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last.saturating_add(1));
        self.truncate(len);
    }
}

impl<const N: usize> Default for Buf<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Buf<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize, const M: usize> PartialEq<Buf<M>> for Buf<N> {
    fn eq(&self, other: &Buf<M>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for Buf<N> {}

impl<const N: usize> PartialEq<[u8]> for Buf<N> {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice() == other
    }
}

impl<const N: usize> fmt::Debug for Buf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl<const N: usize> Zeroize for Buf<N> {
    fn zeroize(&mut self) {
        // As a slice, all at once; an array goes byte by byte, which is felt in the cheap commands.
        self.bytes.as_mut_slice().zeroize();
        self.len = 0;
    }
}

/// A [`Buf`] that is a secret: overwritten when dropped, not printable, compared in constant time.
#[derive(Clone, Default)]
pub struct Secret<const N: usize>(Buf<N>);

impl<const N: usize> Secret<N> {
    /// The empty secret.
    pub const fn new() -> Self {
        Secret(Buf::new())
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// More than `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        Buf::from_slice(bytes).map(Secret)
    }

    /// `len` zero bytes, at most `N`.
    pub fn zeroed(len: usize) -> Self {
        Secret(Buf::zeroed(len))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The buffer, to change in place.
    pub fn buf_mut(&mut self) -> &mut Buf<N> {
        &mut self.0
    }

    /// The bytes, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    /// Whether both are the same, in time that depends on the lengths only.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        ct_eq(self.as_slice(), other)
    }
}

impl<const N: usize> Deref for Secret<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Zeroize for Secret<N> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether both are the same, in time that depends on the lengths only.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
