//! What boots stand on: QEMU, the binaries, the images.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{self, Contents, Image, LinuxFiles};
use crate::compile::{self, Program};
use crate::guest;
use crate::paths::Paths;
use crate::qemu;
use crate::test::runner::{Step, Verdict, passed};

/// Options of all boots.
#[derive(Args, Clone, Debug)]
pub struct BootOptions {
    /// QEMU's program; "newer" fetches the one of bookworm-backports
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

/// What the boots share, made by the steps of [`prepare`].
#[derive(Default)]
pub struct Stage {
    /// QEMU's program.
    pub qemu: OnceLock<PathBuf>,
    /// Linux's files and the image that vouches for them.
    pub linux: OnceLock<(LinuxFiles, Image)>,
    /// The probe's image.
    pub probe: OnceLock<Image>,
    /// The probe's image with the broken service.
    pub broken: OnceLock<Image>,
    /// The image without guest and services.
    pub svsm: OnceLock<Image>,
    /// The same with a debugger.
    pub debugger: OnceLock<Image>,
    /// The image of the SVSM with its tests.
    pub tests: OnceLock<Image>,
    /// The conformance payload's image.
    pub conformance: OnceLock<Image>,
}

impl Stage {
    /// What an earlier step has made.
    pub fn need<T>(slot: &OnceLock<T>) -> Result<&T> {
        slot.get().context("not run: its image was not made")
    }
}

/// The largest image without Linux, in bytes.
pub const IMAGE_LIMIT: u64 = 2 * 1024 * 1024;

/// Steps that make what the others need.
pub fn prepare<'a>(paths: &'a Paths, stage: &'a Stage, options: &'a BootOptions) -> Vec<Step<'a>> {
    vec![
        Step::new("QEMU", |_| {
            let qemu = qemu::program(paths, options.qemu.as_deref())?;
            let version = qemu::version(&qemu)?;
            let _ = stage.qemu.set(qemu);
            Ok(Verdict::Passed(version))
        }),
        Step::new("build", |_| {
            // The image steps build again what they need, so that one broken program fails only what it is part of.
            let _lock = paths.lock()?;
            compile::bare_metal(paths, &Program::ALL)?;
            compile::igvm_tool(paths)?;
            Ok(passed())
        })
        .alone(),
        Step::new("image, conformance", |_| {
            compile::bare_metal(paths, Program::CONFORMANCE)?;
            let image = build::image(paths, "conformance", &Contents::Conformance)?;
            let _ = stage.conformance.set(image);
            Ok(passed())
        }),
        Step::new("image, SVSM", |_| {
            compile::bare_metal(paths, Program::SVSM)?;
            let image = build::image(paths, "svsm", &Contents::Svsm)?;
            build::check(paths, &image.path)?;
            let _ = stage.svsm.set(image);
            Ok(passed())
        }),
        Step::new("image, SVSM with tests", |_| {
            compile::bare_metal(paths, Program::TESTS)?;
            let image = build::image(paths, "svsm-tests", &Contents::Tests)?;
            build::check(paths, &image.path)?;
            let _ = stage.tests.set(image);
            Ok(passed())
        }),
        Step::new("image, probe", |_| {
            compile::bare_metal(paths, Program::PROBE)?;
            compile::bare_metal(paths, &[Program::NativeLoader])?;
            let image = build::image(paths, "probe", &Contents::Probe)?;
            build::check(paths, &image.path)?;
            let bytes = fs::metadata(&image.path)?.len();
            let _ = stage.probe.set(image);
            ensure!(
                bytes <= IMAGE_LIMIT,
                "{bytes} bytes; at most {IMAGE_LIMIT} are allowed"
            );
            Ok(Verdict::Passed(format!("{bytes} bytes")))
        }),
        Step::new("image, broken service", |_| {
            compile::bare_metal(paths, Program::BROKEN)?;
            let image = build::image(paths, "probe-broken", &Contents::ProbeBroken)?;
            let _ = stage.broken.set(image);
            Ok(passed())
        }),
        Step::new("image, debugger", |_| {
            compile::bare_metal(paths, Program::DEBUGGER)?;
            let image = build::image(paths, "debugger", &Contents::SvsmDebugger)?;
            let _ = stage.debugger.set(image);
            Ok(passed())
        }),
        Step::new("image, Linux", |_| {
            compile::bare_metal(paths, Program::LINUX)?;
            let files = {
                let _lock = paths.lock()?;
                let guest = guest::obtain(paths)?;
                let command_line = paths.images().join("test-cmdline");
                fs::write(&command_line, guest::COMMAND_LINE)?;
                LinuxFiles {
                    kernel: guest.kernel,
                    initrd: guest.initrd,
                    command_line,
                }
            };
            let image = build::image(paths, "test-linux", &Contents::Linux(&files))?;
            build::check(paths, &image.path)?;
            let _ = stage.linux.set((files, image));
            Ok(passed())
        }),
    ]
}

/// Whether `boot` needs what the step of [`prepare`] makes.
pub fn needs(boot: &Step, step: &Step) -> bool {
    let image = match boot.name.split([':', ',']).next() {
        Some("Linux" | "flipped byte") => "image, Linux",
        Some("probe" | "native" | "policy" | "Bochs") => "image, probe",
        Some("lying MADT" | "shuffled CPU starts") => "image, SVSM",
        Some("debugger") => "image, debugger",
        Some("SVSM tests" | "SVSM failure") => "image, SVSM with tests",
        Some("isolation") => "image, broken service",
        Some("TPM guest" | "vTPM guest" | "native loader") => "QEMU",
        // They are programs of the host.
        Some("tpm" | "MADT" | "fuzzing") => return false,
        _ => "image, conformance",
    };
    step.name == image || step.name == "QEMU"
}
