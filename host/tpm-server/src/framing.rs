//! Messages out of a stream of bytes.
//!
//! A protocol says how long a message is from its first bytes ([`Length`]); [`Framed`] reads until it is there. Memory
//! grows with what has arrived, not with what a length field claims.

use std::io;
use std::time::Duration;

/// What follows the fixed part of a message is not longer than this.
pub const MAX_MESSAGE: usize = 1 << 20;

/// How long the message at the front of some bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// At least this many bytes are needed to tell, or for the message to be whole; it is more than there are.
    AtLeast(usize),
    /// The message has this many bytes, and they are there.
    Whole(usize),
    /// These bytes do not begin a message, or one that is too long.
    Refused,
}

impl Length {
    /// Of a message of `size` bytes, of which `bytes` have arrived.
    pub const fn of(size: usize, bytes: &[u8]) -> Length {
        if size <= bytes.len() {
            Length::Whole(size)
        } else {
            Length::AtLeast(size)
        }
    }

    /// Of a message of `fixed` bytes, the last four of which say how many follow.
    pub fn with_tail(fixed: usize, bytes: &[u8]) -> Length {
        match be32(bytes, fixed - 4) {
            None => Length::AtLeast(fixed),
            Some(tail) if tail as usize > MAX_MESSAGE => Length::Refused,
            Some(tail) => Length::of(fixed + tail as usize, bytes),
        }
    }
}

/// What a message that came from a [`Framed`] is.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole one.
    Message(Vec<u8>),
    /// The peer sent no more for a while: what there is of it.
    Partial(Vec<u8>),
    /// These bytes arrived, and [`Length::Refused`] them.
    Refused(Vec<u8>),
    /// The peer has closed the connection.
    End,
}

/// Where bytes come from.
pub trait Source {
    /// Reads some bytes; none at the end.
    ///
    /// # Errors
    /// The connection broke, or (as `WouldBlock` or `TimedOut`) patience ended.
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// How long [`Source::receive`] may wait; for ever, if nothing is said.
    ///
    /// # Errors
    /// The system's.
    fn patience(&mut self, _patience: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// A source, and what was read from it and is not yet used.
pub struct Framed<S> {
    source: S,
    buffer: Vec<u8>,
    patience: Option<Duration>,
}

impl<S: Source> Framed<S> {
    /// Reads messages from `source`, and waits for ever for the rest of one.
    pub fn new(source: S) -> Framed<S> {
        Framed {
            source,
            buffer: Vec::new(),
            patience: None,
        }
    }

    /// Waits for the rest of a message that has begun for so long only.
    pub fn with_patience(mut self, patience: Duration) -> Framed<S> {
        self.patience = Some(patience);
        self
    }

    /// The source.
    pub fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// Bytes that were read behind the last message.
    pub fn ahead(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection broke.
    pub fn next(&mut self, length: fn(&[u8]) -> Length) -> io::Result<Received> {
        let mut chunk = [0; 4096];
        let mut impatient = false;
        let result = loop {
            match length(&self.buffer) {
                Length::Whole(size) => {
                    let rest = self.buffer.split_off(size.min(self.buffer.len()));
                    break Received::Message(std::mem::replace(&mut self.buffer, rest));
                }
                Length::Refused => break Received::Refused(std::mem::take(&mut self.buffer)),
                Length::AtLeast(_) => {}
            }
            if self.patience.is_some() && impatient == self.buffer.is_empty() {
                impatient = !impatient;
                self.source.patience(self.patience.filter(|_| impatient))?;
            }
            match self.source.receive(&mut chunk) {
                Ok(0) => break Received::End,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if impatient => {
                        break Received::Partial(std::mem::take(&mut self.buffer));
                    }
                    _ => return Err(error),
                },
            }
        };
        if impatient {
            self.source.patience(None)?;
        }
        Ok(result)
    }
}

impl<S: Source + ?Sized> Source for &mut S {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (**self).receive(bytes)
    }

    fn patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        (**self).patience(patience)
    }
}

impl Source for &[u8] {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, bytes)
    }
}

impl Source for std::io::Stdin {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, bytes)
    }
}

impl Source for std::net::TcpStream {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, bytes)
    }

    fn patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)
    }
}

impl Source for std::os::unix::net::UnixStream {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, bytes)
    }

    fn patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)
    }
}

/// The big-endian integer at `at`, if it is there.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
