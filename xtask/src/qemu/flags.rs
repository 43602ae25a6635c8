//! QEMU's command line: the one place that knows its flags.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::accel::Accelerator;
use super::{Machine, Payload};

/// The name of the object that loads an IGVM file.
pub const IGVM_OBJECT: &str = "igvm-cfg";

/// The port at which a guest ends QEMU, and how it does so: a value v makes QEMU's exit status 2 v + 1.
const EXIT_DEVICE: [&str; 2] = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"];

impl Machine {
    /// All flags but the console's. `log`: where the debug console (port 0xE9) goes.
    pub(super) fn command(&self, log: &Path) -> Command {
        let mut command = Command::new(&self.qemu);
        command
            .args(["-M", &self.board()])
            .args(["-smp", &self.cpus.to_string()])
            .args(["-m", &format!("{}M", self.memory)])
            .args(["-nodefaults", "-display", "none"])
            .arg("-no-reboot")
            .args(["-accel", self.accelerator_option()])
            .args(["-cpu", &self.processor()]);
        match &self.payload {
            Payload::Snp {
                machine,
                image,
                options,
                files,
                programs: _,
            } => {
                command
                    .args(EXIT_DEVICE)
                    .args(["-debugcon", &format!("file:{}", comma(log))]);
                kernel(&mut command, machine, image, options);
                for (name, path) in files {
                    command
                        .arg("-fw_cfg")
                        .arg(format!("name={name},file={}", comma(path)));
                }
            }
            Payload::Native {
                loader,
                image,
                options,
            } => {
                command.args(EXIT_DEVICE);
                match loader {
                    Some(loader) => kernel(&mut command, loader, image, options),
                    None => {
                        command
                            .arg("-object")
                            .arg(format!("{IGVM_OBJECT},id=igvm0,file={}", comma(image)));
                    }
                }
            }
            Payload::Plain {
                kernel: linux,
                initrd,
                command_line,
                tpm,
            } => {
                kernel(&mut command, linux, initrd, command_line);
                if let Some(tpm) = tpm {
                    command
                        .arg("-chardev")
                        .arg(format!(
                            "socket,id=tpm-control,path={}",
                            comma(&tpm.control)
                        ))
                        .args(["-tpmdev", "emulator,id=tpm,chardev=tpm-control"])
                        .args(["-device", &format!("{},tpmdev=tpm", tpm.device)]);
                }
            }
        }
        command
    }

    /// The second serial port. Nobody but this machine's own programs reach it, and QEMU does not wait for one.
    pub(super) fn debugger_port(&self) -> Vec<String> {
        let option = |port| {
            let option = format!("tcp:127.0.0.1:{port},server=on,wait=off");
            ["-serial".to_owned(), option]
        };
        self.debugger.map(option).into_iter().flatten().collect()
    }

    fn board(&self) -> String {
        match &self.payload {
            Payload::Native { loader: None, .. } => format!("q35,{IGVM_OBJECT}=igvm0"),
            _ => "q35".to_owned(),
        }
    }

    const fn accelerator_option(&self) -> &'static str {
        match (self.accelerator, &self.payload) {
            (Accelerator::Kvm, _) => "kvm",
            // One thread for all processors. With a thread each, QEMU (7.2 to 11.1) races with itself: FXRSTOR
            // on any processor rewrites the first one's hflags2 (cpu_clear_ignne), where that one keeps whether
            // it is in a guest, and under nested paging. About one 4-vCPU run in four died of it.
            (Accelerator::Tcg, Payload::Snp { .. }) => "tcg,thread=single",
            // As QEMU does it by itself: a thread each.
            (Accelerator::Tcg, _) => "tcg,thread=multi",
        }
    }

    /// The processor's model with what is added to it and taken from it.
    fn processor(&self) -> String {
        let mut processor = match self.accelerator {
            Accelerator::Tcg => "max".to_owned(),
            Accelerator::Kvm => "host".to_owned(),
        };
        match (&self.payload, self.accelerator) {
            // 48 bits, because the C-bit is bit 47 of a nested page walk's address.
            (Payload::Snp { .. }, _) => processor.push_str(",+svm,+npt,phys-bits=48"),
            (_, Accelerator::Tcg) => processor.push_str(",phys-bits=48"),
            (_, Accelerator::Kvm) => {}
        }
        for feature in &self.without {
            processor.push_str(",-");
            processor.push_str(feature);
        }
        processor
    }
}

fn kernel(command: &mut Command, kernel: &PathBuf, initrd: &PathBuf, command_line: &str) {
    command.arg("-kernel").arg(kernel);
    command.arg("-initrd").arg(initrd);
    command.args(["-append", command_line]);
}

/// The smallest machine there is, with 64 KiB of firmware and what it says on standard output.
pub(super) fn tiny(qemu: &Path, accelerator: Accelerator, firmware: &Path) -> Command {
    let mut command = Command::new(qemu);
    let (name, processor) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg", "max"),
    };
    command
        .args(["-M", "q35", "-m", "32M"])
        .args(["-nodefaults", "-display", "none"])
        .arg("-no-reboot")
        .args(["-accel", name, "-cpu", processor])
        .args(["-debugcon", "stdio"])
        .args(EXIT_DEVICE)
        .arg("-bios")
        .arg(firmware);
    command
}

/// A path inside a comma-separated option: QEMU wants commas doubled.
pub(super) fn comma(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(machine: &Machine) -> String {
        let command = machine.command(Path::new("log"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    fn native(loader: Option<&str>) -> Machine {
        let payload = Payload::Native {
            loader: loader.map(PathBuf::from),
            image: "a,b.igvm".into(),
            options: "madt=whole".to_owned(),
        };
        Machine::new("qemu".into(), payload, (4, 256))
    }

    #[test]
    fn the_native_image_is_the_loaders_initial_ram_disk() {
        let mut machine = native(Some("native-loader"));
        let text = flags(&machine);
        for part in [
            "-M q35 -smp 4 -m 256M ",
            " -accel tcg,thread=multi -cpu max,phys-bits=48 ",
            " -device isa-debug-exit,iobase=0xf4,iosize=4 ",
            " -kernel native-loader -initrd a,b.igvm -append madt=whole",
        ] {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
        machine.accelerator = Accelerator::Kvm;
        machine.without = vec!["smap".to_owned(), "smep".to_owned()];
        let text = flags(&machine);
        assert!(
            text.contains(" -accel kvm -cpu host,-smap,-smep "),
            "{text:?}"
        );
    }

    #[test]
    fn a_qemu_that_knows_igvm_files_gets_the_file_itself() {
        let text = flags(&native(None));
        assert!(text.starts_with("-M q35,igvm-cfg=igvm0 "), "{text:?}");
        assert!(
            text.ends_with(" -object igvm-cfg,id=igvm0,file=a,,b.igvm"),
            "{text:?}"
        );
        assert!(!text.contains("-kernel") && !text.contains("-append"));
    }
}
