//! The debugger on both platforms: gdb breaks, looks, changes, steps and goes on; and noise at its port.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use svsm_abi::termination::Reason;

use crate::cli::Platform;
use crate::debug;
use crate::host;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::qemu::Machine;
use crate::test::runner::{Step, Verdict, passed};
use crate::test::stage::Stage;

/// Time for a session, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// What gdb is told first in every session.
const OPENING: &str = "\
set pagination off
set confirm off
set width 0
break svsm_kernel_gdb::boot::ready
continue
";

/// What it says then.
const STOPPED: &str = "Breakpoint 1, svsm_kernel_gdb::boot::ready";

/// What gdb is told. The stack below RSP is the stub's own, so it is its far end that is written to.
const SCRIPT: &str = "\
backtrace
set language c
set var *(unsigned long *)((char *)&__boot_stack_bottom + 64) = 0x1122334455667788
x/gx (char *)&__boot_stack_bottom + 64
set var $r11 = 0x55667788
info registers r11
x/2i $pc
stepi
next
info threads
set language rust
break svsm_kernel_gdb::fatal::stop
continue
backtrace
delete
continue
";

/// What it says then, in this order.
const SAYS: [&str; 6] = [
    " in svsm_kernel_gdb::boot::run",
    "0x1122334455667788",
    "0x55667788",
    "=> 0xffffffff8",
    "* 1 ",
    "Breakpoint 2, svsm_kernel_gdb::fatal::stop",
];

/// A call of address 0.
const EXCEPTION: &str = "\
delete
set var $r12 = 0x5afec0de
set var $rip = 0
continue
info registers rip
info registers r12
continue
";

/// What is said of it.
const EXCEPTION_SAYS: [&str; 3] = ["received signal SIGSEGV", "0x0", "0x5afec0de"];

/// An index that is out of bounds, as the compiler's own check reports it; its place in the source is made up.
const PANIC: &str = "\
delete
set language c
set var $place = (unsigned long)&__boot_stack_bottom + 64
set var *(unsigned long *)$place = $place + 64
set var *(unsigned long *)($place + 8) = 6
set var *(unsigned int *)($place + 16) = 7
set var *(unsigned int *)($place + 20) = 9
set var *(unsigned long *)($place + 64) = 0x73722e626467
set var $rdi = 5
set var $rsi = 3
set var $rdx = $place
set language rust
set var $rip = core::panicking::panic_bounds_check
continue
backtrace
continue
";

/// What is said of it.
const PANIC_SAYS: [&str; 2] = [
    "received signal SIGABRT",
    " in core::panicking::panic_bounds_check",
];

/// One session with gdb.
struct Session {
    name: &'static str,
    script: &'static str,
    /// What gdb says, in this order.
    says: &'static [&'static str],
    /// Why the SVSM ends.
    reason: Reason,
    /// Lines of the console.
    lines: &'static [&'static str],
}

const SESSIONS: [Session; 3] = [
    Session {
        name: "debugger",
        script: SCRIPT,
        says: &SAYS,
        reason: Reason::NoGuest,
        lines: &["svsm: ready: 2 vCPUs"],
    },
    Session {
        name: "debugger, exception",
        script: EXCEPTION,
        says: &EXCEPTION_SAYS,
        reason: Reason::Exception,
        lines: &["svsm: fatal: exception 14 (page fault), error 0x10, at 0x0, cr2 0x0"],
    },
    Session {
        name: "debugger, panic",
        script: PANIC,
        says: &PANIC_SAYS,
        reason: Reason::Panic,
        lines: &[
            "svsm: fatal: panic at gdb.rs:7:9: index out of bounds: the len is 3 but the index is 5",
        ],
    },
];

/// All steps.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage) -> Vec<Step<'a>> {
    let mut steps = vec![Step::new("debugger, noise", move |_| noise(paths, stage))];
    for session in &SESSIONS {
        for (platform, label) in [(Platform::Snp, "SNP"), (Platform::Native, "native")] {
            let name = format!("{}, {label}", session.name);
            steps.push(Step::new(name.clone(), move |_| {
                session.run(paths, stage, platform, &name.replace(", ", "-"))
            }));
        }
    }
    steps
}

fn machine(paths: &Paths, stage: &Stage, platform: Platform) -> Result<Machine> {
    let image = Stage::need(&stage.debugger)?;
    let qemu = Stage::need(&stage.qemu)?.clone();
    debug::machine(paths, qemu, image, platform, (2, 256))
}

impl Session {
    /// In batch mode, to the boot's end.
    fn run(&self, paths: &Paths, stage: &Stage, platform: Platform, name: &str) -> Result<Verdict> {
        host::require(&[packages::GDB])?;
        let machine = machine(paths, stage, platform)?;
        let name = format!("test-{name}");
        let script = paths.images().join(format!("{name}.gdb"));
        fs::write(&script, format!("{OPENING}{}", self.script))?;
        let mut running = machine.start(paths, &name)?;
        let mut gdb = debug::gdb(paths, &machine)?;
        gdb.args(["-nx", "-batch", "-x"]).arg(&script);
        let said = process::run(&mut gdb, LIMIT, |_| {})?.all;
        fs::write(paths.logs().join(format!("{name}.gdb.log")), &said)?;
        let mut rest = said.as_str();
        let ended = match self.reason {
            Reason::NoGuest => "exited normally".to_owned(),
            // gdb's number is octal.
            reason => format!("exited with code {:02o}", reason as u8),
        };
        let says = self.says.iter().copied();
        for text in [STOPPED].into_iter().chain(says).chain([ended.as_str()]) {
            let Some((_, after)) = rest.split_once(text) else {
                bail!(
                    "gdb did not say {text:?}:\n{said}\nThe console:\n{}",
                    running.console()
                );
            };
            rest = after;
        }
        let end = running.wait(Duration::from_secs(20))?;
        ensure!(end.is_some(), "the boot did not end after gdb");
        let console = running.console();
        let on = "svsm: debugger: on, at COM2: this image keeps no secret";
        for line in [&on].into_iter().chain(self.lines) {
            ensure!(console.contains(line), "no line {line:?}:\n{console}");
        }
        Ok(passed())
    }
}

/// Bytes that no debugger sends, then what one does: the stub answers, and the boot goes on.
fn noise(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    let machine = machine(paths, stage, Platform::Native)?;
    let mut running = machine.start(paths, "test-debugger-noise")?;
    let mut line = connect(machine.debugger.context("no port")?)?;
    // Noise, by a fixed generator.
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut bytes = Vec::new();
    for _ in 0..16 * 1024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push(state as u8);
    }
    bytes.push(b'$');
    bytes.extend([b'a'; 5000]);
    bytes.extend(b"#00");
    for body in [
        "mzz,1",
        "mffffffff80000000,ffffffffffff",
        "m0,10",
        "Z0,0,1",
        "vCont;x",
        "Hg99999",
        "qXfer:features:read:x:0,ffffffffffffffff",
        "G00",
        "",
    ] {
        bytes.extend(packet(body));
    }
    // Ends what is left of a packet.
    bytes.extend(b"#00++");
    let sent = bytes.len();
    let mut writer = line.try_clone()?;
    let writing = thread::spawn(move || writer.write_all(&bytes));
    let mut answer = Vec::new();
    let begun = Instant::now();
    let mut asked = Instant::now();
    while begun.elapsed() < LIMIT {
        // Again and again: the noise may have eaten it.
        if writing.is_finished() && asked.elapsed() > Duration::from_secs(2) {
            line.write_all(&packet("?"))?;
            asked = Instant::now();
        }
        read(&mut line, &mut answer)?;
        if find(&answer, b"$T05thread:") {
            break;
        }
    }
    ensure!(
        find(&answer, b"$T05thread:"),
        "no answer after noise:\n{}",
        running.console()
    );
    line.write_all(&packet("D"))?;
    let end = running.wait(LIMIT)?;
    let console = running.console();
    ensure!(
        end.is_some() && console.contains("svsm: ready: 2 vCPUs"),
        "the boot did not go on after the debugger had gone:\n{console}"
    );
    Ok(Verdict::Passed(format!("{sent} bytes")))
}

fn packet(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0u8, u8::wrapping_add);
    format!("${body}#{sum:02x}").into_bytes()
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What has come; none is no error.
fn read(line: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    let mut buffer = [0; 4096];
    match line.read(&mut buffer) {
        Ok(0) => bail!("QEMU closed the line"),
        Ok(count) => answer.extend(&buffer[..count]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn connect(port: u16) -> Result<TcpStream> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(line) => {
                line.set_read_timeout(Some(Duration::from_millis(100)))?;
                return Ok(line);
            }
            Err(error) if begun.elapsed() > Duration::from_secs(20) => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
