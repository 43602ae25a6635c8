//! Linux's own tests of its TPM device, out of its source as Debian packs it, and the Python that they are written in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::guest;
use crate::packages;
use crate::paths::Paths;
use crate::process;

/// Where the source has them.
const TESTS: &str = "tools/testing/selftests/tpm2";
/// All that is needed of them.
const FILES: [&str; 5] = [
    "test_async.sh",
    "test_smoke.sh",
    "test_space.sh",
    "tpm2.py",
    "tpm2_tests.py",
];
/// Finding a few files in an archive of 160 MB.
const LIMIT: Duration = Duration::from_secs(300);

/// Where the guest's Python looks for its library.
const LIBRARY: &str = "usr/lib/python3.11";
/// Modules that the tests import, and those import in turn.
const MODULES: &str = "__future__ _collections_abc _compression _sitebuiltins _weakrefset abc argparse ast base64 bisect bz2 codecs \
    contextlib copy copyreg dataclasses difflib dis enum fnmatch functools genericpath gettext hashlib heapq inspect io keyword \
    linecache locale lzma ntpath opcode operator os posixpath pprint random reprlib runpy selectors shutil signal site socket stat \
    string struct subprocess sysconfig tempfile textwrap threading token tokenize traceback types warnings weakref zipfile zipimport";
/// Packages of modules likewise.
const PACKAGES: [&str; 6] = [
    "collections",
    "encodings",
    "importlib",
    "logging",
    "re",
    "unittest",
];

/// The tests, below `selftests`, and a python3 for them.
pub fn files(paths: &Paths, python: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let source = apt::obtain(paths, &packages::LINUX_SOURCE)?;
    let folder = paths.cache.join("linux-selftests");
    let record = folder.join("made-of.txt");
    if !fs::read_to_string(&record).is_ok_and(|old| old == source.manifest) {
        let archive = guest::find(&source.root, &|name| {
            name.starts_with("linux-source") && name.ends_with(".tar.xz")
        })
        .with_context(|| format!("no archive in {}", packages::LINUX_SOURCE.package))?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        process::check(
            Command::new("tar")
                .args(["-x", "--strip-components=5", "--wildcards", "-C"])
                .arg(&folder)
                .arg("-f")
                .arg(archive)
                .arg(format!("*/{TESTS}")),
            LIMIT,
            |_| {},
        )
        .context("cannot unpack Linux's tests")?;
        fs::write(&record, &source.manifest)?;
    }
    let mut files = BTreeMap::new();
    for name in FILES {
        let path = folder.join(name);
        let content = fs::read(&path).with_context(|| format!("Linux's {TESTS} has no {name}"))?;
        files.insert(format!("selftests/{name}"), content);
    }
    files.insert(
        "bin/python3".to_owned(),
        b"#!/bin/sh\nexec python3.11 \"$@\"\n".to_vec(),
    );
    add_python(python, &mut files)?;
    Ok(files)
}

/// The part of Python's library that the tests need.
fn add_python(root: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let library = root.join("usr/lib/python3.11");
    for name in MODULES.split_whitespace() {
        add(&library, &format!("{name}.py"), files)?;
    }
    for name in PACKAGES {
        let mut count = 0;
        for entry in fs::read_dir(library.join(name))? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            if file.ends_with(".py") {
                add(&library, &format!("{name}/{file}"), files)?;
                count += 1;
            }
        }
        ensure!(count > 0, "Python's {name} is empty");
    }
    Ok(())
}

fn add(library: &Path, path: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let content = fs::read(library.join(path)).with_context(|| format!("Python has no {path}"))?;
    files.insert(format!("{LIBRARY}/{path}"), content);
    Ok(())
}
