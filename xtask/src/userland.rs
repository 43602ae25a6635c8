//! Programs out of Debian's packages in an initial RAM disk, with the libraries they need and no others.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::elf;

/// Where packages have their programs.
const PROGRAMS: [&str; 4] = ["usr/bin", "bin", "usr/sbin", "sbin"];
/// Where they have their libraries.
const LIBRARIES: [&str; 3] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/systemd",
];
/// Where the guest looks for them.
const LIBRARY_FOLDER: &str = "lib/x86_64-linux-gnu";
/// Where cryptsetup does.
const PLUGIN_FOLDER: &str = "lib/x86_64-linux-gnu/cryptsetup";
/// The dynamic loader's path is in every program.
const LOADER: &str = "ld-linux-x86-64.so.2";
const LOADER_FOLDER: &str = "lib64";

/// Unpacked packages to take files from.
pub struct Userland {
    roots: Vec<PathBuf>,
    /// Sonames that are still to be copied, and those that have been met.
    waiting: VecDeque<String>,
    met: BTreeSet<String>,
}

impl Userland {
    /// None copied yet.
    pub fn new(roots: Vec<PathBuf>) -> Userland {
        Userland {
            roots,
            waiting: VecDeque::new(),
            met: BTreeSet::new(),
        }
    }

    /// The folders that [`Userland`] puts files into, parents first.
    pub const FOLDERS: [&str; 5] = ["bin", "lib", LIBRARY_FOLDER, PLUGIN_FOLDER, LOADER_FOLDER];

    /// Adds a program to `bin`.
    pub fn program(&mut self, archive: &mut Archive, name: &str) -> Result<()> {
        let bytes = self.read(&PROGRAMS, name)?;
        self.copy(archive, &format!("bin/{name}"), &bytes)
    }

    /// Adds a program of our own to `bin`.
    pub fn own_program(&mut self, archive: &mut Archive, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.copy(archive, &format!("bin/{name}"), &read(path)?)
    }

    /// Adds a library that others open by themselves.
    pub fn library(&mut self, soname: &str) {
        if self.met.insert(soname.to_owned()) {
            self.waiting.push_back(soname.to_owned());
        }
    }

    /// Adds what cryptsetup opens to read a kind of tokens.
    pub fn cryptsetup_plugin(&mut self, archive: &mut Archive, name: &str) -> Result<()> {
        let bytes = self.read(&["usr/lib/x86_64-linux-gnu/cryptsetup"], name)?;
        self.copy(archive, &format!("{PLUGIN_FOLDER}/{name}"), &bytes)
    }

    /// Adds all libraries that anything added so far needs.
    pub fn finish(mut self, archive: &mut Archive) -> Result<()> {
        while let Some(soname) = self.waiting.pop_front() {
            let bytes = self.read(&LIBRARIES, &soname)?;
            let folder = if soname == LOADER {
                LOADER_FOLDER
            } else {
                LIBRARY_FOLDER
            };
            self.copy(archive, &format!("{folder}/{soname}"), &bytes)?;
        }
        Ok(())
    }

    fn copy(&mut self, archive: &mut Archive, path: &str, bytes: &[u8]) -> Result<()> {
        archive.file(path, 0o755, bytes);
        let needed = elf::needed(bytes).with_context(|| format!("{path} is no 64-bit ELF file"))?;
        for soname in needed {
            self.library(&soname);
        }
        Ok(())
    }

    fn read(&self, folders: &[&str], name: &str) -> Result<Vec<u8>> {
        let path = self
            .roots
            .iter()
            .flat_map(|root| {
                folders
                    .iter()
                    .map(move |folder| root.join(folder).join(name))
            })
            .find(|path: &PathBuf| path.is_file())
            .with_context(|| format!("no package has {name}"))?;
        read(&path)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
