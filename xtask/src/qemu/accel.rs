//! What executes a guest's instructions: TCG everywhere, KVM where a small guest shows that it can.
//!
//! That `/dev/kvm` is there, or that QEMU starts, says little: a KVM without hardware behind it may emulate each instruction, which
//! is far slower than TCG, or give up at one that it does not know. So the probe is a guest that goes from reset into long mode,
//! executes a hundred million instructions, and ends QEMU with a status of its own. A processor takes 50 ms for it, TCG half a
//! second.

use std::env;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::flags;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where it is there and able, else TCG
    #[default]
    Auto,
    /// QEMU's own translator
    Tcg,
    /// The host's processor; an error where it is not able
    Kvm,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's own translator.
    Tcg,
    /// The host's processor.
    Kvm,
}

impl Accelerator {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Accelerator::Tcg => "TCG",
            Accelerator::Kvm => "KVM",
        }
    }
}

/// What a guest needs of KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// To run.
    Nothing,
    /// To run guests of its own, as the software SNP machine does.
    Svm,
}

/// What KVM can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Run a guest; `svm` if that one could run guests itself.
    Runs {
        /// The guest's CPUID has SVM.
        svm: bool,
    },
    /// It cannot, for this reason.
    Cannot(String),
}

impl Ability {
    /// Why it does not suffice, if it does not.
    pub fn problem(&self, needs: Needs) -> Option<String> {
        match self {
            Ability::Cannot(reason) => Some(reason.clone()),
            Ability::Runs { svm: false } if needs == Needs::Svm => Some(
                "its guests have no SVM, which the software SNP machine needs (kvm_amd's parameter `nested`)"
                    .to_owned(),
            ),
            Ability::Runs { .. } => None,
        }
    }
}

impl Accel {
    /// What it comes to with this QEMU, and why it is not KVM, where that was looked at.
    ///
    /// The machine has not been run on nested SVM yet, so KVM for it is only what somebody asks for.
    pub fn choose(self, qemu: &Path, needs: Needs) -> Result<(Accelerator, Option<String>)> {
        match (self, needs) {
            (Accel::Tcg, _) | (Accel::Auto, Needs::Svm) => Ok((Accelerator::Tcg, None)),
            (Accel::Auto, Needs::Nothing) => Ok(match probe(qemu)?.problem(needs) {
                None => (Accelerator::Kvm, None),
                reason => (Accelerator::Tcg, reason),
            }),
            (Accel::Kvm, _) => match probe(qemu)?.problem(needs) {
                None => Ok((Accelerator::Kvm, None)),
                Some(reason) => bail!("KVM cannot be used here: {reason}"),
            },
        }
    }
}

/// Time for the probe's guest.
const LIMIT: Duration = Duration::from_secs(3);

/// Its exit values, doubled and made odd by QEMU; the second one if it has SVM.
const STATUS: i32 = 0x10 << 1 | 1;
const STATUS_SVM: i32 = 0x11 << 1 | 1;

/// What KVM can, as a guest shows.
pub fn probe(qemu: &Path) -> Result<Ability> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let firmware = env::temp_dir().join(format!("macadamia-kvm-{}-{number}", process::id()));
    fs::write(&firmware, guest())
        .with_context(|| format!("cannot write {}", firmware.display()))?;
    let ability = run(qemu, Accelerator::Kvm, &firmware, LIMIT);
    let _ = fs::remove_file(&firmware);
    ability
}

fn run(qemu: &Path, accelerator: Accelerator, firmware: &Path, limit: Duration) -> Result<Ability> {
    let mut child = flags::tiny(qemu, accelerator, firmware)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", qemu.display()))?;
    let mut errors = child.stderr.take().context("no standard error")?;
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        text
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let errors = reader.join().unwrap_or_default();
    let errors = String::from_utf8_lossy(&errors);
    Ok(match status.map(|status| status.code()) {
        Some(Some(STATUS)) => Ability::Runs { svm: false },
        Some(Some(STATUS_SVM)) => Ability::Runs { svm: true },
        Some(code) => Ability::Cannot(complaint(&errors).unwrap_or_else(|| {
            let end = code.map_or("a signal".to_owned(), |code| format!("status {code}"));
            format!("QEMU ended with {end}")
        })),
        // QEMU stops the guest and stays when KVM gives up.
        None => Ability::Cannot(complaint(&errors).unwrap_or_else(|| {
            format!(
                "a small guest did not get done in {} s, as where KVM emulates each instruction",
                limit.as_secs()
            )
        })),
    })
}

/// The first of QEMU's lines that is more than a warning, without the program's name.
fn complaint(errors: &str) -> Option<String> {
    let line = errors
        .lines()
        .find(|line| !line.trim().is_empty() && !line.contains("warning:"))?;
    let line = match line.split_once(": ") {
        Some((program, rest)) if !program.contains(' ') => rest,
        _ => line,
    };
    Some(format!(
        "QEMU says: {}",
        line.trim_start_matches("error: ").trim()
    ))
}

/// Firmware of 64 KiB at the end of the first 4 GiB, with the guest in its last 256 bytes.
fn guest() -> Vec<u8> {
    const BYTES: usize = 0x1_0000;
    const START: usize = 0xFF00;
    const RESET: usize = 0xFFF0;
    // HLT: what is reached by mistake ends there.
    let mut firmware = vec![0xF4; BYTES];
    firmware[START..START + GUEST.len()].copy_from_slice(&GUEST);
    // jmp START
    firmware[RESET..RESET + 3].copy_from_slice(&[0xE9, 0x0D, 0xFF]);
    firmware
}

/// At 0xFFFF_FF00; the processor is as after reset, in real mode.
#[rustfmt::skip]
const GUEST: [u8; 189] = [
    0x2E, 0x66, 0x0F, 0x01, 0x16, 0x97, 0xFF,                   // lgdt cs:[descriptor table register]
    0xB8, 0x11, 0x00, 0x0F, 0x22, 0xC0,                         // cr0 = PE, ET
    0x66, 0xEA, 0x15, 0xFF, 0xFF, 0xFF, 0x08, 0x00,             // jmp 8:next, 32 bits
    0xB8, 0x10, 0x00, 0x00, 0x00, 0x8E, 0xD8,                   // ds = 0x10
    // Tables at 0x1000 to 0x3fff: the lowest 2 MiB, and the highest of the first 4 GiB at its own address.
    0xC7, 0x05, 0x00, 0x10, 0x00, 0x00, 0x03, 0x20, 0x00, 0x00, // [0x1000] = 0x2003
    0xC7, 0x05, 0x00, 0x20, 0x00, 0x00, 0x03, 0x30, 0x00, 0x00, // [0x2000] = 0x3003
    0xC7, 0x05, 0x18, 0x20, 0x00, 0x00, 0x03, 0x30, 0x00, 0x00, // [0x2018] = 0x3003
    0xC7, 0x05, 0x00, 0x30, 0x00, 0x00, 0x83, 0x00, 0x00, 0x00, // [0x3000] = 0x83
    0xC7, 0x05, 0xF8, 0x3F, 0x00, 0x00, 0x83, 0x00, 0xE0, 0xFF, // [0x3ff8] = 0xffe0_0083
    0xB8, 0x20, 0x00, 0x00, 0x00, 0x0F, 0x22, 0xE0,             // cr4 = PAE
    0xB8, 0x00, 0x10, 0x00, 0x00, 0x0F, 0x22, 0xD8,             // cr3 = 0x1000
    0xB9, 0x80, 0x00, 0x00, 0xC0,                               // ecx = EFER
    0x0F, 0x32, 0x80, 0xCC, 0x01, 0x0F, 0x30,                   // rdmsr; or ah, LME >> 8; wrmsr
    0xB8, 0x11, 0x00, 0x00, 0x80, 0x0F, 0x22, 0xC0,             // cr0 = PG, ET, PE
    0xEA, 0x79, 0xFF, 0xFF, 0xFF, 0x18, 0x00,                   // jmp 0x18:next, 64 bits
    0xB9, 0x80, 0xF0, 0xFA, 0x02,                               // ecx = 50,000,000
    0xFF, 0xC9, 0x75, 0xFC,                                     // dec ecx; jnz to it
    0xB8, 0x01, 0x00, 0x00, 0x80, 0x0F, 0xA2,                   // cpuid 0x8000_0001
    0xC1, 0xE9, 0x02, 0x83, 0xE1, 0x01,                         // ecx = its SVM
    0x8D, 0x41, 0x10, 0xE6, 0xF4,                               // out 0xf4, 0x10 + ecx
    0xF4, 0xEB, 0xFD,                                           // hlt, again and again
    0x1F, 0x00, 0x9D, 0xFF, 0xFF, 0xFF,                         // descriptor table register
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,             // null
    0xFF, 0xFF, 0x00, 0x00, 0x00, 0x9B, 0xCF, 0x00,             // code, 32 bits
    0xFF, 0xFF, 0x00, 0x00, 0x00, 0x93, 0xCF, 0x00,             // data
    0xFF, 0xFF, 0x00, 0x00, 0x00, 0x9B, 0xAF, 0x00,             // code, 64 bits
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::fake::Fake;

    #[test]
    fn kvm_is_used_where_its_guest_gets_done() {
        let fake = Fake::new("able", "exit 33");
        let chosen = Accel::Auto.choose(&fake.program(), Needs::Nothing).unwrap();
        assert_eq!(chosen, (Accelerator::Kvm, None));
        let refused = Accel::Kvm.choose(&fake.program(), Needs::Svm).unwrap_err();
        assert!(refused.to_string().contains("nested"), "{refused}");
        let nested = Fake::new("nested", "exit 35");
        let chosen = Accel::Kvm.choose(&nested.program(), Needs::Svm).unwrap();
        assert_eq!(chosen, (Accelerator::Kvm, None));
    }

    #[test]
    fn without_an_able_kvm_it_is_tcg_with_the_reason() {
        let words = "echo 'qemu: warning: no pni' >&2\n\
                     echo 'Could not access KVM kernel module: No such file or directory' >&2\n\
                     echo 'qemu: failed to initialize kvm' >&2\nexit 1";
        let fake = Fake::new("absent", words);
        let (chosen, reason) = Accel::Auto.choose(&fake.program(), Needs::Nothing).unwrap();
        assert_eq!(chosen, Accelerator::Tcg);
        assert!(reason.unwrap().contains("No such file"));
        let refused = Accel::Kvm
            .choose(&fake.program(), Needs::Nothing)
            .unwrap_err();
        assert!(refused.to_string().contains("No such file"), "{refused}");
    }

    #[test]
    fn a_guest_that_does_not_get_done_in_time_is_ended() {
        let fake = Fake::new("slow", "exec sleep 60");
        let started = Instant::now();
        let (chosen, reason) = Accel::Auto.choose(&fake.program(), Needs::Nothing).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(chosen, Accelerator::Tcg);
        assert!(reason.unwrap().contains("3 s"));
    }

    #[test]
    fn nothing_is_probed_where_nothing_depends_on_it() {
        let absent = Path::new("/nonexistent/qemu");
        for (accel, needs) in [
            (Accel::Tcg, Needs::Nothing),
            (Accel::Tcg, Needs::Svm),
            (Accel::Auto, Needs::Svm),
        ] {
            let chosen = accel.choose(absent, needs).unwrap();
            assert_eq!(chosen, (Accelerator::Tcg, None));
        }
    }

    #[test]
    fn the_probes_guest_gets_done_where_tcg_executes_it() {
        let qemu = crate::packages::QEMU.program;
        if !crate::process::exists(qemu) {
            return;
        }
        let fake = Fake::new("firmware", "");
        let firmware = fake.file("firmware");
        fs::write(&firmware, guest()).unwrap();
        let ability = run(
            Path::new(qemu),
            Accelerator::Tcg,
            &firmware,
            Duration::from_secs(60),
        )
        .unwrap();
        assert_eq!(ability, Ability::Runs { svm: true });
    }
}
