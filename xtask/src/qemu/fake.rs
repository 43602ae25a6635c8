//! A program in QEMU's place, for tests of what QEMU is asked and told.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

/// A shell script in a folder that goes with it.
pub struct Fake(PathBuf);

impl Fake {
    /// One that is this shell script.
    pub fn new(name: &str, script: &str) -> Fake {
        let folder = env::temp_dir().join(format!("macadamia-fake-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let fake = Fake(folder);
        fs::write(fake.file("text"), format!("#!/bin/sh\n{script}\n")).unwrap();
        // Written by another process: what another test forks just now would keep it open for writing here, and what is open for
        // writing cannot be executed.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(fake.file("text"));
        assert!(install.arg(fake.program()).status().unwrap().success());
        fake
    }

    /// Its path.
    pub fn program(&self) -> PathBuf {
        self.file("qemu")
    }

    /// A file beside it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
