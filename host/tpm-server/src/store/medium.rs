//! What a journal needs from a file system, in steps small enough that a test can stop between any two.

use std::io;

/// One file that is written at its end, and replaced as a whole now and then.
///
/// A replacement is built beside the file (`create_new`, `write_new`, `sync_new`) and takes its place in one step
/// (`publish`); until then the file is as it was.
pub trait Medium: Send {
    /// The whole file as it is now, or nothing where there is none. Nobody else can write it from then on.
    ///
    /// # Errors
    /// It cannot be read, or somebody else holds it.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Writes `bytes` at offset `at`, which is the end of what is valid.
    ///
    /// # Errors
    /// Some or none of them were written.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// It may be longer still.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Returns once what was written outlasts loss of power.
    ///
    /// # Errors
    /// It may not.
    fn sync(&mut self) -> io::Result<()>;

    /// Begins a replacement.
    ///
    /// # Errors
    /// There is none.
    fn create_new(&mut self) -> io::Result<()>;

    /// Writes at the end of the replacement.
    ///
    /// # Errors
    /// It is incomplete.
    fn write_new(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// [`Medium::sync`] of the replacement.
    ///
    /// # Errors
    /// It may not outlast loss of power.
    fn sync_new(&mut self) -> io::Result<()>;

    /// The replacement becomes the file, for good once this returns.
    ///
    /// # Errors
    /// Either of the two is the file.
    fn publish(&mut self) -> io::Result<()>;
}
