//! A file on disk, held against other processes by an advisory lock (`flock`).
//!
//! The lock is on the file, not beside it. Since the file is replaced by renaming, a process may get the lock of a file
//! that has just lost its name: it looks whether the name still leads to what it locked.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::format::MAX_FILE;
use super::medium::Medium;

/// See the module.
pub struct Disk {
    path: PathBuf,
    file: Option<File>,
    new: Option<File>,
}

impl Disk {
    /// The file at `path`, which need not exist. Nothing is opened yet.
    pub fn new(path: impl AsRef<Path>) -> Disk {
        // A link stays a link: what it leads to is replaced.
        let path = path.as_ref();
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Disk {
            path,
            file: None,
            new: None,
        }
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    fn new_path(&self) -> PathBuf {
        let mut name = new_prefix(&self.path);
        name.push(std::process::id().to_string());
        self.directory().join(name)
    }

    /// Opens and locks the file, and clears away what killed predecessors left beside it.
    fn open(&self) -> io::Result<Option<File>> {
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        lock(&file)?;
        let (named, opened) = (fs::metadata(&self.path)?, file.metadata()?);
        if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) {
            return Err(in_use());
        }
        let prefix = new_prefix(&self.path);
        for entry in fs::read_dir(self.directory())?.flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes())
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Some(file))
    }

    fn held(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(not_open)
    }
}

impl Medium for Disk {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.file.is_none() {
            self.file = self.open()?;
        }
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        // One byte more than can be, so that the scan reports the file as too long.
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.held()?.write_all_at(bytes, at)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.held()?.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.held()?.sync_data()
    }

    fn create_new(&mut self) -> io::Result<()> {
        let path = self.new_path();
        // What an attempt that failed left.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        // The state holds seeds and keys: nobody else reads it.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        lock(&file)?;
        self.new = Some(file);
        Ok(())
    }

    fn write_new(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.new.as_mut().ok_or_else(not_open)?.write_all(bytes)
    }

    fn sync_new(&mut self) -> io::Result<()> {
        self.new.as_ref().ok_or_else(not_open)?.sync_all()
    }

    fn publish(&mut self) -> io::Result<()> {
        let new = self.new.take().ok_or_else(not_open)?;
        let path = self.new_path();
        if self.file.is_some() {
            fs::rename(&path, &self.path)?;
        } else {
            // The first of two that start at once wins: a link does not replace what is there.
            fs::hard_link(&path, &self.path)?;
            fs::remove_file(&path)?;
        }
        self.file = Some(new);
        File::open(self.directory())?.sync_all()
    }
}

/// What the names of replacements begin with; the number of their process follows.
fn new_prefix(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new-");
    name
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => in_use(),
        TryLockError::Error(error) => error,
    })
}

fn in_use() -> io::Error {
    io::Error::new(
        io::ErrorKind::WouldBlock,
        "another process has it in use (it holds the file's lock)",
    )
}

fn not_open() -> io::Error {
    io::Error::other("the file is not open")
}
