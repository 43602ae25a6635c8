//! `build` and `clean`: the binaries, and the IGVM images made of them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::compile::{self, Program};
use crate::paths::Paths;
use crate::process;
use crate::ui;

/// Time for one image: hashing a kernel and a few megabytes.
const IMAGE_LIMIT: Duration = Duration::from_secs(60);

/// The service for the vTPM protocol, 2, in the words of the image tool, up to its file. 128 pages of heap are twice what the
/// engine needs at its limits (`tpm/engine/src/limits.rs`), and with image and stack leave it below 1.5 MiB.
const VTPM_SERVICE: &str = "vtpm:2:128=";
/// The same for the broken service, which loops for ever when it is asked to: a second must do for a request.
const BROKEN_SERVICE: &str = "vtpm:2:128:1=";

/// The protocols under which the tests inside the SVSM find services that misbehave (`svsm/kernel/src/tests/services.rs`).
const TEST_PROTOCOLS: std::ops::RangeInclusive<u32> = 5..=8;

/// What vouches for Linux: three files, whose digests go into the image.
#[derive(Clone, Debug)]
pub struct LinuxFiles {
    /// The bzImage.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
    /// A file with the command line.
    pub command_line: PathBuf,
}

/// What is in an image.
#[derive(Clone, Debug)]
pub enum Contents<'a> {
    /// SVSM, vTPM, boot stub, and the digests of what the stub loads.
    Linux(&'a LinuxFiles),
    /// The same with the vTPM of known seeds.
    LinuxKnownSeeds(&'a LinuxFiles),
    /// SVSM, vTPM and test guest.
    Probe,
    /// The same with the broken service in the vTPM's place.
    ProbeBroken,
    /// The same as for Linux with a debugger in the SVSM.
    LinuxDebugger(&'a LinuxFiles),
    /// The same as for the probe with a debugger in the SVSM.
    ProbeDebugger,
    /// The SVSM with a debugger, alone.
    SvsmDebugger,
    /// The SVSM alone: it comes up, and ends because there is no guest.
    Svsm,
    /// The SVSM with its tests, the vTPM, and services that misbehave on request.
    Tests,
    /// The SVSM with its tests alone, to fail in the way of this name.
    Failure(&'a str),
    /// The conformance payload alone, in the SVSM's place.
    Conformance,
}

impl Contents<'_> {
    /// The SVSM's service for the vTPM protocol.
    const fn vtpm(&self) -> Option<Program> {
        match self {
            Contents::Linux(_)
            | Contents::Probe
            | Contents::Tests
            | Contents::LinuxDebugger(_)
            | Contents::ProbeDebugger => Some(Program::Vtpm),
            Contents::LinuxKnownSeeds(_) => Some(Program::VtpmKnownSeeds),
            Contents::ProbeBroken => Some(Program::Broken),
            Contents::Svsm
            | Contents::SvsmDebugger
            | Contents::Failure(_)
            | Contents::Conformance => None,
        }
    }

    /// Whether the SVSM has a debugger.
    const fn has_debugger(&self) -> bool {
        matches!(
            self,
            Contents::LinuxDebugger(_) | Contents::ProbeDebugger | Contents::SvsmDebugger
        )
    }

    /// The SVSM.
    const fn svsm(&self) -> Program {
        match self {
            Contents::Tests | Contents::Failure(_) => Program::SvsmTests,
            _ if self.has_debugger() => Program::SvsmDebugger,
            _ => Program::Svsm,
        }
    }
}

/// An image and what its measurement is.
#[derive(Clone, Debug)]
pub struct Image {
    /// The IGVM file.
    pub path: PathBuf,
    /// Its launch digest, in hexadecimal.
    pub digest: String,
}

/// Builds all that boots, and the images that need no Linux.
pub fn build(paths: &Paths) -> Result<()> {
    let _lock = paths.lock()?;
    compile::bare_metal(paths, &Program::ALL)?;
    for program in Program::ALL {
        let path = program.path(paths);
        let size = fs::metadata(&path)?.len();
        println!("{:>9} bytes  {}", size, paths.show(&path));
    }
    for (name, contents) in [
        ("conformance", Contents::Conformance),
        ("probe", Contents::Probe),
        ("probe-broken", Contents::ProbeBroken),
    ] {
        let image = image(paths, name, &contents)?;
        println!(
            "{:>9} bytes  {}  launch digest {}",
            fs::metadata(&image.path)?.len(),
            paths.show(&image.path),
            image.digest
        );
    }
    Ok(())
}

/// Makes an image of binaries that are built.
pub fn image(paths: &Paths, name: &str, contents: &Contents) -> Result<Image> {
    let tool = compile::igvm_tool(paths)?;
    fs::create_dir_all(paths.images())?;
    let path = paths.images().join(format!("{name}.igvm"));
    let mut command = Command::new(&tool);
    command.arg("build");
    match contents {
        Contents::Conformance => {
            command
                .arg("--payload")
                .arg(Program::Conformance.path(paths));
        }
        Contents::Probe | Contents::ProbeBroken | Contents::ProbeDebugger => {
            command.arg("--svsm").arg(contents.svsm().path(paths));
            command.arg("--guest").arg(Program::Probe.path(paths));
        }
        Contents::Svsm | Contents::SvsmDebugger => {
            command.arg("--svsm").arg(contents.svsm().path(paths));
        }
        Contents::Tests => {
            command.arg("--svsm").arg(contents.svsm().path(paths));
            for protocol in TEST_PROTOCOLS {
                let mut service = OsString::from(format!("broken{protocol}:{protocol}:4:1="));
                service.push(Program::Broken.path(paths));
                command.arg("--service").arg(service);
            }
        }
        Contents::Failure(name) => {
            command.arg("--svsm").arg(contents.svsm().path(paths));
            command.arg("--test-case").arg(name);
        }
        Contents::Linux(files)
        | Contents::LinuxKnownSeeds(files)
        | Contents::LinuxDebugger(files) => {
            command.arg("--svsm").arg(contents.svsm().path(paths));
            command.arg("--guest").arg(Program::Shim.path(paths));
            command.arg("--kernel").arg(&files.kernel);
            command.arg("--initrd").arg(&files.initrd);
            command.arg("--cmdline-file").arg(&files.command_line);
        }
    }
    if let Some(program) = contents.vtpm() {
        let mut service = OsString::from(match program {
            Program::Broken => BROKEN_SERVICE,
            _ => VTPM_SERVICE,
        });
        service.push(program.path(paths));
        command.arg("--service").arg(service);
    }
    if contents.has_debugger() {
        command.arg("--debugger");
    }
    command.arg("--output").arg(&path);
    process::check(&mut command, IMAGE_LIMIT, |_| {}).context("cannot make the image")?;
    let digest = measure(&tool, &path)?;
    Ok(Image { path, digest })
}

/// The launch digest of an image, as the tool computes it from the finished file.
pub fn measure(tool: &Path, image: &Path) -> Result<String> {
    let text = process::check(
        Command::new(tool).arg("measure").arg(image),
        IMAGE_LIMIT,
        |_| {},
    )?
    .stdout;
    hexadecimal(&text)
        .with_context(|| format!("`measure` printed no launch digest of 96 digits: {text:?}"))
}

/// Holds an image to the rules of the loaders it is made for.
pub fn check(paths: &Paths, image: &Path) -> Result<()> {
    let tool = compile::igvm_tool(paths)?;
    process::check(
        Command::new(tool).args(["inspect", "--check"]).arg(image),
        IMAGE_LIMIT,
        |_| {},
    )?;
    Ok(())
}

/// The first SHA-384 digest in `text`.
pub fn hexadecimal(text: &str) -> Option<String> {
    text.split(|character: char| !character.is_ascii_hexdigit())
        .find(|word| word.len() == 96)
        .map(str::to_ascii_lowercase)
}

/// Removes the cache.
pub fn clean(paths: &Paths) -> Result<()> {
    if !paths.cache.exists() {
        return Ok(());
    }
    let lock = paths.lock()?;
    fs::remove_dir_all(&paths.cache)
        .with_context(|| format!("cannot remove {}", paths.cache.display()))?;
    drop(lock);
    ui::note(format!("removed {}", paths.show(&paths.cache)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_found_among_words() {
        let digest = "0a".repeat(48);
        assert_eq!(
            hexadecimal(&format!("launch digest: {digest}\n")),
            Some(digest)
        );
        assert_eq!(hexadecimal("launch digest: 0a0b"), None);
    }
}
