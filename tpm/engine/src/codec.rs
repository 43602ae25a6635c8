//! The codec: big-endian fields from a command, into a response.
//!
//! What cannot be read gives the response code of the structure at fault; the number of the parameter is added by
//! [`Params`], which counts.

use crate::buf::{Buf, Secret};
use crate::rc::{Rc, Result};

/// What is left of a buffer that is read from front to back.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What is not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything is read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// INSUFFICIENT: fewer are left.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Rc::INSUFFICIENT)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Rc::INSUFFICIENT)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// INSUFFICIENT.
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// INSUFFICIENT.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// INSUFFICIENT.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// INSUFFICIENT.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A TPM2B as a slice of the buffer that is read.
    ///
    /// # Errors
    /// INSUFFICIENT; SIZE where it is longer than `most`.
    pub fn sized_bytes(&mut self, most: usize) -> Result<&'a [u8]> {
        let size = usize::from(self.u16()?);
        if size > most {
            return Err(Rc::SIZE);
        }
        self.bytes(size)
    }

    /// A TPM2B that holds a structure. `None`: its size is zero.
    ///
    /// # Errors
    /// Those of the structure; SIZE where the structure is not as long as the size says.
    pub fn sized<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        let size = usize::from(self.u16()?);
        if size == 0 {
            return Ok(None);
        }
        let before = self.rest.len();
        let value = read(self)?;
        if before.saturating_sub(self.rest.len()) != size {
            return Err(Rc::SIZE);
        }
        Ok(Some(value))
    }

    /// A structure.
    ///
    /// # Errors
    /// Those of the structure.
    pub fn get<T: Unmarshal>(&mut self) -> Result<T> {
        T::unmarshal(self)
    }
}

/// A structure that can be read.
pub trait Unmarshal: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// The response code that Part 2 names for what is wrong with it, INSUFFICIENT where bytes are missing.
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self>;
}

/// A structure that can be written.
pub trait Marshal {
    /// Writes it.
    fn marshal(&self, w: &mut Writer<'_>);
}

/// A buffer that is written from front to back. What does not fit is not written, and [`Writer::finish`] says so.
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    overflow: bool,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Writer {
            out,
            len: 0,
            overflow: false,
        }
    }

    /// What is written.
    pub fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or(&[])
    }

    /// What is written, to change in place.
    pub fn written_mut(&mut self) -> &mut [u8] {
        self.out.get_mut(..self.len).unwrap_or(&mut [])
    }

    /// The length of what is written.
    ///
    /// # Errors
    /// SIZE: the buffer was too small. The caller chose the buffer, so this is the engine's fault.
    pub const fn finish(self) -> Result<usize> {
        if self.overflow {
            Err(Rc::SIZE)
        } else {
            Ok(self.len)
        }
    }

    /// How much is written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether something did not fit.
    pub const fn overflowed(&self) -> bool {
        self.overflow
    }

    /// What still fits.
    pub const fn room(&self) -> usize {
        self.out.len().saturating_sub(self.len)
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.out.get_mut(self.len..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.overflow = true,
        }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// A TPM2B of `bytes`.
    pub fn sized_bytes(&mut self, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(size) => {
                self.u16(size);
                self.bytes(bytes);
            }
            Err(_) => self.overflow = true,
        }
    }

    /// A TPM2B of what `write` writes.
    pub fn sized(&mut self, write: impl FnOnce(&mut Self)) {
        let at = self.len;
        self.u16(0);
        let start = self.len;
        write(self);
        let size = self.len.saturating_sub(start);
        match (u16::try_from(size), self.out.get_mut(at..start)) {
            (Ok(size), Some(place)) if !self.overflow => {
                place.copy_from_slice(&size.to_be_bytes());
            }
            _ => self.overflow = true,
        }
    }

    /// A structure.
    pub fn put(&mut self, value: &(impl Marshal + ?Sized)) {
        value.marshal(self);
    }
}

/// Marshals `value` into a [`Buf`].
///
/// # Errors
/// SIZE: it does not fit.
pub fn to_buf<const N: usize>(value: &(impl Marshal + ?Sized)) -> Result<Buf<N>> {
    build(|w| value.marshal(w))
}

/// What `write` writes, as a [`Buf`].
///
/// # Errors
/// SIZE: it does not fit.
pub fn build<const N: usize>(write: impl FnOnce(&mut Writer<'_>)) -> Result<Buf<N>> {
    let mut buf = Buf::zeroed(N);
    let mut w = Writer::new(buf.as_mut_slice());
    write(&mut w);
    let len = w.finish()?;
    buf.truncate(len);
    Ok(buf)
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl Unmarshal for $type {
            fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
                r.$type()
            }
        }
        impl Marshal for $type {
            fn marshal(&self, w: &mut Writer<'_>) {
                w.$type(*self);
            }
        }
    )*};
}
integers!(u8 u16 u32 u64);

/// A TPM2B.
impl<const N: usize> Unmarshal for Buf<N> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Buf::from_prefix(r.sized_bytes(N)?))
    }
}

impl<const N: usize> Marshal for Buf<N> {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized_bytes(self);
    }
}

impl<const N: usize> Unmarshal for Secret<N> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Secret::from_slice(r.sized_bytes(N)?)?)
    }
}

impl<const N: usize> Marshal for Secret<N> {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized_bytes(self);
    }
}

/// TPMI_YES_NO.
impl Unmarshal for bool {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        match r.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Rc::VALUE),
        }
    }
}

impl Marshal for bool {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u8(u8::from(*self));
    }
}

/// The parameters of a command, read one by one.
pub struct Params<'a> {
    reader: Reader<'a>,
    number: usize,
}

impl<'a> Params<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Params {
            reader: Reader::new(bytes),
            number: 0,
        }
    }

    /// The next parameter; an error says which one it is.
    ///
    /// # Errors
    /// Those of the structure, with the parameter's number.
    pub fn get<T: Unmarshal>(&mut self) -> Result<T> {
        self.with(T::unmarshal)
    }

    /// The next parameter, read by `read`; an error says which one it is.
    ///
    /// # Errors
    /// Those of `read`, with the parameter's number.
    pub fn with<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
        self.number = self.number.saturating_add(1);
        read(&mut self.reader).map_err(|rc| rc.param(self.number))
    }

    /// Nothing may be left once all parameters are read.
    ///
    /// # Errors
    /// SIZE.
    pub const fn end(&self) -> Result<()> {
        if self.reader.is_empty() {
            Ok(())
        } else {
            Err(Rc::SIZE)
        }
    }
}
