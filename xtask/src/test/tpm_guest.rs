//! Linux's own TPM stack on a TPM of ours: a guest in plain QEMU, its TPM's commands executed by a program with swtpm's
//! control channel. What the guest does is in tests/tpm/guest/init; here is what must have come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::apt::{self, Unpacked};
use crate::cpio::Archive;
use crate::guest;
use crate::kernel;
use crate::packages;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::report;
use crate::test::runner::{Step, Verdict};
use crate::test::stage::Stage;
use crate::test::tpm::TpmOptions;
use crate::trusted;
use crate::userland::Userland;
use crate::watch::{End, Outcome, Watch};

/// Kernel modules that are built into some kernels.
const MODULES: [&str; 2] = ["af_alg", "algif_skcipher"];

/// Programs of the guest.
const PROGRAMS: [&str; 6] = [
    "busybox",
    "tpm2",
    "keyctl",
    "systemd-creds",
    "systemd-cryptenroll",
    "cryptsetup",
];

/// What systemd and the tools open by themselves.
const OPENED: [&str; 5] = [
    "libtss2-esys.so.0",
    "libtss2-rc.so.0",
    "libtss2-mu.so.0",
    "libtss2-tcti-device.so.0",
    "libcryptsetup.so.12",
];

/// What every boot must claim.
pub const ALWAYS: [&str; 4] = [
    "devices",
    "PCR extend",
    "resource manager",
    "kernel log without complaints",
];

/// What a boot of Debian's kernel must claim besides.
const DEBIAN: [&str; 5] = [
    "event log",
    "sealing with salted, encrypting session",
    "systemd-creds",
    "systemd-cryptenroll",
    "systemd-cryptenroll with PIN",
];

/// What a boot of Debian's kernel with trusted keys as a module must claim.
pub const TRUSTED_MODULE: [&str; 3] = [
    "trusted key",
    "trusted key with password",
    "trusted key with PCR policy",
];

/// What is left for the second boot, and found there.
pub const FIRST: &str = "persistent objects";
const SECOND: &str = "sealed before power-off";

/// What the boot of the kernel with trusted keys must claim besides.
const TRUSTED: [&str; 5] = [
    "hardware random numbers",
    "kernel sessions",
    "trusted key",
    "trusted key with password",
    "trusted key with PCR policy",
];

/// All boots with a TPM. The kernel with trusted keys is built from source, so it is for the long test.
pub fn steps<'a>(
    paths: &'a Paths,
    stage: &'a Stage,
    tpm: &'a TpmOptions,
    long: bool,
) -> Vec<Step<'a>> {
    let guest = TpmGuest { paths, stage, tpm };
    let mut steps = vec![Step::new("TPM guest, TIS and CRB", move |_| guest.debian())];
    if long {
        steps.push(Step::new(
            "TPM guest, trusted keys as a module",
            move |_| guest.trusted_module(),
        ));
        steps.push(Step::new("TPM guest, trusted keys", move |_| guest.trusted_keys()).alone());
    }
    steps
}

#[derive(Clone, Copy)]
struct TpmGuest<'a> {
    paths: &'a Paths,
    stage: &'a Stage,
    tpm: &'a TpmOptions,
}

impl TpmGuest<'_> {
    /// Two boots with the same TPM, through both interfaces, and with loss of power between.
    fn debian(&self) -> Result<Verdict> {
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?;
            (
                guest::kernel(&linux.root)?,
                initrd(self.paths, "tpm-guest", &linux.root, &More::default())?,
            )
        };
        let server = Server::new(&self.tpm.program(self.paths)?)?;
        let boots = [
            ("tpm-tis", "tpm_tis", "first", FIRST),
            ("tpm-crb", "tpm_crb", "again", SECOND),
        ];
        let mut claims = 0;
        for (device, driver, mode, claim) in boots {
            let running = server.start()?;
            let outcome = self.boot((&kernel, &initrd), &running, device, driver, mode)?;
            drop(running);
            let expected: Vec<&str> = ALWAYS
                .iter()
                .chain(&DEBIAN)
                .copied()
                .chain([claim])
                .collect();
            check(self.paths, &outcome, &expected)?;
            claims += expected.len();
        }
        Ok(Verdict::Passed(format!("{claims} claims")))
    }

    /// A boot of a kernel with trusted keys and with sessions of its own.
    fn trusted_keys(&self) -> Result<Verdict> {
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?.root;
            (
                kernel::obtain(self.paths)?,
                initrd(self.paths, "tpm-guest-small", &linux, &More::default())?,
            )
        };
        let server = Server::new(&self.tpm.program(self.paths)?)?;
        let running = server.start()?;
        let files = (kernel.as_path(), initrd.as_path());
        let outcome = self.boot(files, &running, "tpm-tis", "tpm_tis", "trusted")?;
        let expected: Vec<&str> = ALWAYS
            .iter()
            .chain(&TRUSTED)
            .copied()
            .chain([FIRST])
            .collect();
        check(self.paths, &outcome, &expected)?;
        Ok(Verdict::Passed(format!("{} claims", expected.len())))
    }

    /// A boot of Debian's kernel with Linux's own code for trusted keys, built as a module for it.
    fn trusted_module(&self) -> Result<Verdict> {
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?;
            let mut more = More::default();
            more.add_trusted(self.paths, &linux)?;
            (
                guest::kernel(&linux.root)?,
                initrd(self.paths, "tpm-guest-trusted", &linux.root, &more)?,
            )
        };
        let server = Server::new(&self.tpm.program(self.paths)?)?;
        let running = server.start()?;
        let files = (kernel.as_path(), initrd.as_path());
        let outcome = self.boot(files, &running, "tpm-crb", "tpm_crb", "trusted-module")?;
        let expected: Vec<&str> = ALWAYS
            .iter()
            .chain(&TRUSTED_MODULE)
            .copied()
            .chain([FIRST])
            .collect();
        check(self.paths, &outcome, &expected)?;
        Ok(Verdict::Passed(format!("{} claims", expected.len())))
    }

    fn boot(
        &self,
        (kernel, initrd): (&Path, &Path),
        server: &Running,
        device: &'static str,
        driver: &str,
        mode: &str,
    ) -> Result<Outcome> {
        let machine = Machine::new(
            Stage::need(&self.stage.qemu)?.clone(),
            qemu::Payload::Plain {
                kernel: kernel.to_path_buf(),
                initrd: initrd.to_path_buf(),
                command_line: format!(
                    "{} tpm-guest={mode} tpm-driver={driver}",
                    guest::COMMAND_LINE
                ),
                tpm: Some(qemu::Tpm {
                    control: server.control.clone(),
                    device,
                }),
            },
            (1, 1024),
        );
        machine.run(
            self.paths,
            &Watch {
                name: format!("test-{device}-{mode}"),
                limit: Duration::from_secs(300),
                silence: Duration::from_secs(120),
                live: false,
                dump: None,
            },
        )
    }
}

/// What a guest gets besides what all of these tests need.
#[derive(Default)]
pub struct More {
    /// Folders of packages.
    pub roots: Vec<PathBuf>,
    /// Programs out of them.
    pub programs: Vec<&'static str>,
    /// Modules in the order they are loaded: names, and the modules.
    pub modules: Vec<(String, Vec<u8>)>,
    /// Files with their paths.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl More {
    /// The module of trusted keys.
    pub fn add_trusted(&mut self, paths: &Paths, linux: &Unpacked) -> Result<()> {
        let module = fs::read(trusted::obtain(paths, linux)?)?;
        self.modules.push(("trusted".to_owned(), module));
        Ok(())
    }
}

/// The initial RAM disk: busybox, the tools, and the init of the test.
pub fn initrd(paths: &Paths, name: &str, linux: &Path, more: &More) -> Result<PathBuf> {
    let mut roots = Vec::new();
    for bundle in packages::TPM_GUEST {
        roots.push(apt::obtain(paths, &bundle)?.root);
    }
    roots.push(apt::obtain(paths, &packages::BUSYBOX)?.root);
    roots.extend_from_slice(&more.roots);
    let mut archive = Archive::default();
    let mut folders: BTreeSet<&str> = ["dev", "proc", "run", "sys", "tmp", "lib/modules"].into();
    folders.extend(Userland::FOLDERS);
    for path in more.files.keys() {
        // All that end before a slash.
        folders.extend(path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
    }
    // In the order of names parents come first.
    for folder in folders {
        archive.directory(folder);
    }
    archive.character_device("dev/console", 5, 1);
    let init = paths.root.join("tests/tpm/guest/init");
    archive.file("init", 0o755, &fs::read(init)?);
    for (path, content) in &more.files {
        archive.file(path, 0o755, content);
    }
    let mut userland = Userland::new(roots);
    for program in PROGRAMS.iter().chain(&more.programs) {
        userland.program(&mut archive, program)?;
    }
    for library in OPENED {
        userland.library(library);
    }
    userland.cryptsetup_plugin(&mut archive, "libcryptsetup-token-systemd-tpm2.so")?;
    userland.finish(&mut archive)?;
    let mut order = String::new();
    let mut module = |name: &str, bytes: &[u8]| {
        order.push_str(&format!("{name}\n"));
        archive.file(&format!("lib/modules/{name}.ko"), 0o644, bytes);
    };
    for name in MODULES {
        module(name, &guest::module(linux, name)?);
    }
    for (name, bytes) in &more.modules {
        module(name, bytes);
    }
    archive.file("lib/modules/order", 0o644, order.as_bytes());
    let initrd = paths.images().join(format!("{name}.cpio"));
    fs::create_dir_all(paths.images())?;
    fs::write(&initrd, archive.finish())?;
    Ok(initrd)
}

/// Every expected claim must have been made, and none refuted.
pub fn check(paths: &Paths, outcome: &Outcome, expected: &[&str]) -> Result<()> {
    let log = paths.show(&outcome.serial_log);
    if outcome.end != End::Status(0) {
        bail!(
            "the guest ended as {:?}; {}",
            outcome.end,
            report::explanation(paths, outcome, "it did not power off")
        );
    }
    let texts: Vec<&str> = outcome.texts().collect();
    if let Some(at) = texts
        .iter()
        .position(|text| text.contains("tpm-guest: FAIL"))
    {
        let end = texts.len().min(at + 12);
        bail!("{}\n({log})", texts[at..end].join("\n"));
    }
    for claim in expected {
        let line = format!("tpm-guest: ok {claim}");
        ensure!(
            texts.iter().any(|text| *text == line),
            "the guest does not claim {claim:?} ({log})"
        );
    }
    Ok(())
}

/// A program with swtpm's options, and a folder for the TPM's state.
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
}

impl Server {
    /// In the system's folder for such things, because a socket's path may have 107 bytes only.
    pub fn new(program: &Path) -> Result<Server> {
        let folder = env::temp_dir().join(format!("macadamia-tpm-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Server {
            program: program.to_path_buf(),
            folder,
        })
    }

    /// Power on: with the state that the last one left.
    pub fn start(&self) -> Result<Running> {
        let control = self.folder.join("control");
        let _ = fs::remove_file(&control);
        let errors = self.folder.join("errors");
        let child = Command::new(&self.program)
            .args(["socket", "--tpm2"])
            .arg("--tpmstate")
            .arg(format!("dir={}", self.folder.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let running = Running { child, control };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !running.control.exists() {
            ensure!(
                Instant::now() < deadline,
                "{} makes no control channel: {}",
                self.program.display(),
                fs::read_to_string(&errors).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One run of it, ended the hard way: a TPM loses power without warning.
pub struct Running {
    child: Child,
    /// QEMU's way to it.
    pub control: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
