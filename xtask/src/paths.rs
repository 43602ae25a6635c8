//! Where things are: the checkout, and the cache below cargo's target directory. Deleting the cache loses nothing
//! but time.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout and its cache.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The workspace's root.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
    /// `target/macadamia`: everything that xtask makes or fetches.
    pub cache: PathBuf,
}

impl Paths {
    /// Finds both, from the variables that cargo sets for what it runs.
    pub fn find() -> Result<Paths> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask's folder has no parent: run it as `cargo xtask`")?
            .to_path_buf();
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let target = if target.is_absolute() {
            target
        } else {
            env::current_dir()?.join(target)
        };
        Ok(Paths {
            root,
            cache: target.join("macadamia"),
            target,
        })
    }

    /// Unpacked packages, a folder each.
    pub fn packages(&self) -> PathBuf {
        self.cache.join("packages")
    }

    /// Cargo's target directory for bare-metal crates. Their flags differ from the host's, so that sharing one would
    /// rebuild everything each time.
    pub fn bare(&self) -> PathBuf {
        self.cache.join("bare")
    }

    /// IGVM images, the initial RAM disk and command lines.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// Serial and machine logs.
    pub fn logs(&self) -> PathBuf {
        self.cache.join("logs")
    }

    /// `path` as a person would type it from the checkout.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }

    /// Waits until no other xtask changes the cache; the lock ends with the returned file.
    pub fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot create {}", self.cache.display()))?;
        let file = File::create(self.cache.join("lock"))?;
        file.lock().context("cannot lock the cache")?;
        Ok(file)
    }
}
