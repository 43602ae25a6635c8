//! A medium in memory that stops after a given number of steps, for tests: each byte written, each cut, sync and
//! rename is a step. What it held when it stopped can be looked at as a killed process, or a machine that lost power,
//! would leave it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::medium::Medium;

/// What is left of writes that were made but not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// All: the process was killed, the machine goes on.
    Everything,
    /// Nothing: the machine lost power.
    Synced,
    /// The length of the file as if all had been written, with zeros for what was not synced, as some file systems do.
    Zeros,
}

#[derive(Clone, Default)]
struct Content {
    written: Option<Vec<u8>>,
    synced: Option<Vec<u8>>,
}

#[derive(Default)]
struct Platter {
    file: Content,
    new: Content,
    steps: u64,
    left: Option<u64>,
    history: Option<Vec<Vec<u8>>>,
}

/// The medium. Clones are the same medium.
#[derive(Clone, Default)]
pub struct Faulty(Arc<Mutex<Platter>>);

impl Faulty {
    /// A medium with `file` on it that never stops.
    pub fn holding(file: Option<Vec<u8>>) -> Faulty {
        let faulty = Faulty::default();
        faulty.lock().file = Content {
            written: file.clone(),
            synced: file,
        };
        faulty
    }

    /// Every operation fails once `steps` more steps were made; the one that takes it over the limit is made in part.
    pub fn stop_after(&self, steps: u64) {
        self.lock().left = Some(steps);
    }

    /// Steps that were made so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// What is on the medium.
    pub fn remains(&self, remains: Remains) -> Option<Vec<u8>> {
        let platter = self.lock();
        match remains {
            Remains::Everything => platter.file.written.clone(),
            Remains::Synced => platter.file.synced.clone(),
            Remains::Zeros => {
                let mut file = platter.file.synced.clone();
                if let (Some(file), Some(written)) = (&mut file, &platter.file.written)
                    && written.len() > file.len()
                {
                    file.resize(written.len(), 0);
                }
                file
            }
        }
    }

    /// Keeps what every sync makes durable from now on.
    pub fn keep_history(&self) {
        self.lock().history = Some(Vec::new());
    }

    /// What was made durable since [`Faulty::keep_history`], in order.
    pub fn history(&self) -> Vec<Vec<u8>> {
        self.lock().history.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platter {
    /// How many of `wanted` steps may be made.
    fn take(&mut self, wanted: u64) -> u64 {
        let taken = self.left.map_or(wanted, |left| left.min(wanted));
        self.left = self.left.map(|left| left - taken);
        self.steps += taken;
        taken
    }

    fn note(&mut self) {
        if let (Some(history), Some(file)) = (&mut self.history, &self.file.synced) {
            history.push(file.clone());
        }
    }

    fn step(&mut self) -> io::Result<()> {
        match self.take(1) {
            1 => Ok(()),
            _ => Err(stopped()),
        }
    }
}

impl Medium for Faulty {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let platter = self.lock();
        match platter.left {
            Some(0) => Err(stopped()),
            _ => Ok(platter.file.written.clone()),
        }
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.lock();
        let taken = platter.take(bytes.len() as u64) as usize;
        let file = platter.file.written.get_or_insert_default();
        let end = at as usize + taken;
        file.resize(file.len().max(end), 0);
        file[at as usize..end].copy_from_slice(&bytes[..taken]);
        match taken == bytes.len() {
            true => Ok(()),
            false => Err(stopped()),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut platter = self.lock();
        platter.step()?;
        platter
            .file
            .written
            .get_or_insert_default()
            .resize(len as usize, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.lock();
        platter.step()?;
        platter.file.synced = platter.file.written.clone();
        platter.note();
        Ok(())
    }

    fn create_new(&mut self) -> io::Result<()> {
        let mut platter = self.lock();
        platter.step()?;
        platter.new = Content {
            written: Some(Vec::new()),
            synced: Some(Vec::new()),
        };
        Ok(())
    }

    fn write_new(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.lock();
        let taken = platter.take(bytes.len() as u64) as usize;
        platter
            .new
            .written
            .get_or_insert_default()
            .extend_from_slice(&bytes[..taken]);
        match taken == bytes.len() {
            true => Ok(()),
            false => Err(stopped()),
        }
    }

    fn sync_new(&mut self) -> io::Result<()> {
        let mut platter = self.lock();
        platter.step()?;
        platter.new.synced = platter.new.written.clone();
        Ok(())
    }

    fn publish(&mut self) -> io::Result<()> {
        let mut platter = self.lock();
        platter.step()?;
        let new = std::mem::take(&mut platter.new);
        // The name is durable only with the directory.
        platter.file.written = new.written;
        platter.step()?;
        platter.file.synced = new.synced;
        platter.note();
        Ok(())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the medium stopped")
}
