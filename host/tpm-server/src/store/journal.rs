//! A store in a file: every commit is one transaction at the end of the file, and the file is rewritten when it has
//! become much longer than what it says.

use std::io;

use tpm_engine::platform::{Change, StoreError, apply};

use super::format::{self, FileId, FormatError};
use super::medium::Medium;
use super::{Records, Store};

/// What a commit outlasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Loss of power: each commit waits for the disk.
    #[default]
    Fsync,
    /// The end of the process, but not of the machine.
    None,
}

/// Why a state file cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read or written.
    #[error("cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// It is no state.
    #[error("cannot be used: {0}. It is left as it is; move it away to start with a new TPM")]
    Format(#[from] FormatError),
}

/// The file is rewritten when it is longer than this, and than [`GROWTH`] times what a new one would be.
const SMALL: usize = 64 << 10;
const GROWTH: usize = 4;

/// The store.
pub struct Journal {
    medium: Box<dyn Medium>,
    durability: Durability,
    records: Records,
    /// Bytes of the records in a file.
    live: usize,
    id: FileId,
    end: usize,
    next: u64,
    cut: usize,
    /// The file may differ from what the fields above say.
    unsure: bool,
}

impl Journal {
    /// Opens the file, or makes one without records.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(medium: impl Medium + 'static, durability: Durability) -> Result<Self, OpenError> {
        let mut journal = Journal {
            medium: Box::new(medium),
            durability,
            records: Records::new(),
            live: 0,
            id: [0; 16],
            end: 0,
            next: 0,
            cut: 0,
            unsure: true,
        };
        journal.read()?;
        Ok(journal)
    }

    /// Bytes of an unfinished transaction that were cut when the file was read last.
    pub fn cut(&self) -> usize {
        self.cut
    }

    fn read(&mut self) -> Result<(), OpenError> {
        self.unsure = true;
        let Some(bytes) = self.medium.read()? else {
            self.rewrite(Records::new())?;
            return Ok(());
        };
        let scan = format::scan(&bytes)?;
        self.cut = bytes.len() - scan.end;
        if self.cut != 0 {
            self.medium.truncate(scan.end as u64)?;
            self.sync()?;
        }
        self.live = live(&scan.records);
        self.records = scan.records;
        (self.id, self.end, self.next) = (scan.id, scan.end, scan.next);
        self.unsure = false;
        Ok(())
    }

    /// Puts a file with `records` only in the place of the file.
    fn rewrite(&mut self, records: Records) -> io::Result<()> {
        let mut id = FileId::default();
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let image = format::image(&id, &records);
        self.medium.create_new()?;
        self.medium.write_new(&image)?;
        self.medium.sync_new()?;
        // From here on a failure leaves open which of the two is the file.
        self.unsure = true;
        self.medium.publish()?;
        self.live = live(&records);
        self.records = records;
        (self.id, self.end, self.next) = (id, image.len(), 1);
        self.unsure = false;
        Ok(())
    }

    fn append(&mut self, changes: &[Change<'_>]) -> io::Result<()> {
        let bytes = format::transaction(&self.id, self.next, changes);
        self.unsure = true;
        let written = self
            .medium
            .write_at(self.end as u64, &bytes)
            .and_then(|()| self.sync());
        if let Err(error) = written {
            // Without the tail the file is as it was. If that fails too, the next load finds out what it is.
            if self.medium.truncate(self.end as u64).is_ok() && self.sync().is_ok() {
                self.unsure = false;
            }
            return Err(error);
        }
        self.end += bytes.len();
        self.next += 1;
        self.unsure = false;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.durability {
            Durability::Fsync => self.medium.sync(),
            Durability::None => Ok(()),
        }
    }
}

impl Store for Journal {
    fn load(&mut self) -> Result<&Records, StoreError> {
        self.read().map_err(report)?;
        Ok(&self.records)
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        if self.unsure {
            return Err(StoreError);
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.append(changes).map_err(report)?;
        apply(&mut self.records, changes);
        self.live = live(&self.records);
        if self.end > SMALL.max(GROWTH * self.live) {
            // The commit is made; whether this succeeds is not its matter. After a failure the file is either the old
            // or the new one with the same records, and reading it again tells which.
            let rewritten = self.rewrite(self.records.clone());
            if let Err(error) = rewritten {
                report(error);
                if self.unsure {
                    let _ = self.read().map_err(report);
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self, records: Records) -> Result<(), StoreError> {
        if self.unsure {
            return Err(StoreError);
        }
        self.rewrite(records).map_err(report)
    }
}

fn live(records: &Records) -> usize {
    records.values().map(|value| value.len() + 8).sum()
}

/// The engine takes no reason; whoever runs the server needs one.
fn report(error: impl std::fmt::Display) -> StoreError {
    eprintln!("state file: {error}");
    StoreError
}
