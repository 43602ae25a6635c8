//! An IGVM image without confidential computing: which program loads it, and how its boot ends.

use std::path::{Path, PathBuf};

use anyhow::Result;
use svsm_abi::termination::Reason;

use crate::compile::Program;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::watch::{End, Line, Outcome};

/// The SVSM's line once it is up.
pub const READY: &str = "svsm: ready: ";
/// Its line about the processor's protections.
pub const POLICY: &str = "svsm: policy: ";

/// A machine for `image`. QEMU loads it where it can; what it cannot is take the loader's options.
pub fn machine(
    paths: &Paths,
    qemu: PathBuf,
    image: &Path,
    size: (u32, u64),
    options: &str,
) -> Result<Machine> {
    let by_qemu = options.is_empty() && qemu::loads_igvm(&qemu)?;
    let payload = qemu::Payload::Native {
        loader: (!by_qemu).then(|| Program::NativeLoader.path(paths)),
        image: image.to_path_buf(),
        options: options.to_owned(),
    };
    Ok(Machine::new(qemu, payload, size))
}

/// Why a boot is no success, if it is none: the SVSM must come up, see all processors, and end the machine because there is
/// nothing to run.
pub fn problem(outcome: &Outcome, cpus: u32) -> Option<String> {
    problem_with_end(outcome, cpus, End::Status(status(Reason::NoGuest)))
}

/// The same where that end is `wanted`.
pub fn problem_with_end(outcome: &Outcome, cpus: u32, wanted: End) -> Option<String> {
    ready_problem(outcome, cpus).or_else(|| (outcome.end != wanted).then(|| end(outcome.end)))
}

/// Why the SVSM did not come up with all processors, if it did not; on either platform.
pub fn ready_problem(outcome: &Outcome, cpus: u32) -> Option<String> {
    let fatal = |line: &&Line| {
        ["svsm: fatal: ", "loader: fatal: "]
            .iter()
            .any(|start| line.text.starts_with(start))
    };
    if let Some(line) = outcome.lines.iter().find(fatal) {
        return Some(line.text.clone());
    }
    let Some(ready) = outcome.line(READY) else {
        return Some(format!(
            "the SVSM did not say that it is ready; {}",
            end(outcome.end)
        ));
    };
    (online(&ready.text) != Some(cpus)).then(|| format!("not {cpus} processors: {:?}", ready.text))
}

/// QEMU's status when the SVSM ends a native boot for this reason.
pub const fn status(reason: Reason) -> i32 {
    (reason as i32) << 1 | 1
}

/// An end in words.
fn end(end: End) -> String {
    let reason = match end {
        End::Status(status) if status & 1 == 1 => {
            u8::try_from(status >> 1).ok().and_then(Reason::from_code)
        }
        _ => None,
    };
    match (reason, end) {
        (Some(reason), _) => format!("it ended: {}", reason.meaning()),
        (None, End::Status(0)) => "the machine was reset or powered off".to_owned(),
        (None, End::Status(status)) => format!("QEMU ended with status {status}"),
        (None, End::Signal) => "QEMU was ended by a signal".to_owned(),
        (None, End::TimedOut) => "the time limit passed".to_owned(),
        (None, End::Silent) => "no output for too long".to_owned(),
    }
}

/// Processors in the line [`READY`]: `svsm: ready: 4 vCPUs, …`.
pub fn online(ready: &str) -> Option<u32> {
    ready
        .split_once(READY)?
        .1
        .split_once(" vCPU")?
        .0
        .parse()
        .ok()
}

/// KiB in use in the same line: `…, 3412 KiB of 8192 KiB used`.
pub fn used(ready: &str) -> Option<f64> {
    ready
        .split(" KiB of ")
        .next()?
        .rsplit(' ')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::fake::Fake;

    /// A QEMU that answers `-object help`, and nothing else.
    fn qemu(name: &str, objects: &str) -> Fake {
        let script = format!(
            "[ \"$*\" = '-object help' ] || exit 1\n\
             echo 'List of user creatable objects:'\necho '  {objects}'"
        );
        Fake::new(name, &script)
    }

    fn loader(qemu: &Fake, options: &str) -> Option<PathBuf> {
        let paths = Paths::find().unwrap();
        let image = Path::new("image.igvm");
        let machine = machine(&paths, qemu.program(), image, (1, 256), options).unwrap();
        match machine.payload {
            qemu::Payload::Native { loader, .. } => loader,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_qemu_that_loads_igvm_files_needs_no_loader_unless_that_has_options() {
        let knows = qemu("igvm", "igvm-cfg");
        assert_eq!(loader(&knows, ""), None);
        assert!(loader(&knows, "madt=none").is_some());
        let other = qemu("no-igvm", "iothread");
        assert!(loader(&other, "").is_some());
    }

    #[test]
    fn processors_and_memory_are_in_the_ready_line() {
        assert_eq!(online("svsm: ready: 16 vCPUs, 983 MiB guest RAM"), Some(16));
        assert_eq!(online("svsm: ready: many"), None);
        let memory = "svsm: ready: 2 vCPUs, 1015 MiB guest RAM, 3412 KiB of 8192 KiB used";
        assert_eq!(used(memory), Some(3412.0));
    }

    #[test]
    fn an_end_for_a_reason_says_it() {
        let status = status(Reason::NoGuest);
        assert_eq!(status, 31);
        assert!(end(End::Status(status)).contains(Reason::NoGuest.meaning()));
        assert_eq!(end(End::Status(2)), "QEMU ended with status 2");
        assert!(end(End::Status(0x1FF)).contains("status 511"));
    }
}
