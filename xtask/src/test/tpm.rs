//! End-to-end flows with strangers' programs: shell scripts in `tests/tpm/flows` that drive the TPM server with Debian's
//! tpm2-tools and check with openssl. Each gets a server of its own with a fresh state. `--tpm swtpm` puts Debian's swtpm
//! in its place, to see whether a flow itself is right.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::compile;
use crate::host;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::test::runner::{Step, Verdict};
use crate::ui::Progress;

/// Where the flows are.
pub const FLOWS: &str = "tests/tpm/flows";
/// What a flow does to cycle its TPM's power.
const POWER_CYCLE: &str = "tests/tpm/power-cycle.bash";
/// Time for one flow; most take a second or two.
const LIMIT: Duration = Duration::from_secs(60);
/// Time for a server to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Options of the flows.
#[derive(Args, Clone, Debug)]
pub struct TpmOptions {
    /// The TPM that the flows with tpm2-tools and the guests talk to
    #[arg(long, value_name = "TPM", default_value = "server", hide = true)]
    tpm: Kind,
}

/// A TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The project's.
    Server,
    /// Debian's.
    Swtpm,
}

impl TpmOptions {
    /// The TPM's program, built or installed where it is missing.
    pub fn program(&self, paths: &Paths) -> Result<PathBuf> {
        match self.tpm {
            Kind::Server => {
                compile::host_program(paths, "macadamia-tpm-server", "building the TPM server")
            }
            Kind::Swtpm => {
                host::require(&packages::SWTPM)?;
                Ok(PathBuf::from("swtpm"))
            }
        }
    }
}

/// The program that the flows share, found or built by the step of [`prepare`].
pub type Program = OnceLock<PathBuf>;

/// The step that installs the tools and makes the server.
pub fn prepare<'a>(paths: &'a Paths, program: &'a Program, options: &'a TpmOptions) -> Step<'a> {
    Step::new("tools and TPM server", move |_| {
        host::require(&packages::TPM_TOOLS)?;
        let path = options.program(paths)?;
        let version = process::output(Command::new("tpm2_getrandom").arg("--version"))?;
        let version = version.split('"').nth(3).unwrap_or("unknown").to_owned();
        let _ = program.set(path);
        Ok(Verdict::Passed(format!("tpm2-tools {version}")))
    })
}

/// A step for every flow.
pub fn steps<'a>(
    paths: &'a Paths,
    program: &'a Program,
    options: &'a TpmOptions,
) -> Result<Vec<Step<'a>>> {
    let kind = options.tpm;
    Ok(flows(&paths.root.join(FLOWS))?
        .into_iter()
        .map(|flow| {
            Step::new(format!("tpm: {}", flow.name), move |progress| {
                let program = program.get().context("not run: there is no TPM server")?;
                flow.run(paths, kind, program, progress)
            })
        })
        .collect())
}

/// One script.
pub struct Flow {
    /// Its name without ending.
    pub name: String,
    /// Its path.
    pub script: PathBuf,
    /// What it says that it needs.
    needs: Vec<String>,
}

/// All scripts of `folder` but what they share.
pub fn flows(folder: &Path) -> Result<Vec<Flow>> {
    let mut flows = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let script = entry?.path();
        let name = script.file_stem().unwrap_or_default().to_string_lossy();
        if script.extension().is_none_or(|end| end != "sh") || name == "lib" {
            continue;
        }
        let text = fs::read_to_string(&script)?;
        flows.push(Flow {
            name: name.into_owned(),
            needs: needs(&text).map(str::to_owned).collect(),
            script,
        });
    }
    flows.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(!flows.is_empty(), "{} has no flows", folder.display());
    Ok(flows)
}

/// The words of a script's lines `# needs:`.
fn needs(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# needs:"))
        .flat_map(str::split_whitespace)
}

impl Flow {
    /// Whether it says that it needs this; the words are in the flows' `lib.sh`.
    pub fn needs(&self, word: &str) -> bool {
        self.needs.iter().any(|need| need == word)
    }

    fn run(
        &self,
        paths: &Paths,
        kind: Kind,
        program: &Path,
        progress: &Progress,
    ) -> Result<Verdict> {
        let folder = paths.cache.join("tpm").join(&self.name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(paths.logs())?;
        let log = |what: &str| paths.logs().join(format!("test-tpm-{}{what}", self.name));
        let result = (|| {
            let first = Tpm::start(kind, program, &folder.join("1"), &log(".server.log"))?;
            let second = self
                .needs("second")
                .then(|| Tpm::start(kind, program, &folder.join("2"), &log(".server2.log")))
                .transpose()?;
            let mut output = File::create(log(".log"))?;
            let mut command = Command::new("sh");
            command
                .arg(&self.script)
                .current_dir(&folder)
                .env("TMPDIR", &folder)
                .env("TPM2TOOLS_TCTI", first.tcti())
                .env(
                    "TPM_SECOND",
                    second.as_ref().map_or_else(String::new, Tpm::tcti),
                )
                .env(
                    "TPM_RESET",
                    first.power_cycle(&paths.root.join(POWER_CYCLE)),
                )
                .env_remove("TPM_CLEAR");
            process::run(&mut command, LIMIT, |line| {
                progress.detail(line);
                let _ = writeln!(output, "{line}");
            })
        })();
        let _ = fs::remove_dir_all(&folder);
        let finished = result?;
        if !finished.status.success() {
            bail!(
                "{} ({})\n{}",
                paths.show(&log(".log")),
                finished.status,
                process::last_lines(&finished.all, 12)
            );
        }
        Ok(Verdict::Passed(String::new()))
    }
}

/// A running TPM; it ends with this.
struct Tpm {
    child: Child,
    kind: Kind,
    /// For commands; the platform's or control channel is the next one.
    port: u16,
}

impl Tpm {
    fn start(kind: Kind, program: &Path, state: &Path, log: &Path) -> Result<Tpm> {
        fs::create_dir_all(state)?;
        match kind {
            Kind::Server => Tpm::start_server(program, state, log),
            Kind::Swtpm => Tpm::start_swtpm(program, state, log),
        }
    }

    /// The server chooses its ports and says which.
    fn start_server(program: &Path, state: &Path, log: &Path) -> Result<Tpm> {
        let child = Command::new(program)
            // Nothing of it is wanted after the flow, so it need not wait for the disk.
            .args(["--durability", "none", "--mssim-port", "0", "--state"])
            .arg(state.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut tpm = Tpm {
            child,
            kind: Kind::Server,
            port: 0,
        };
        let stdout = tpm.child.stdout.take().context("no standard output")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = receiver.recv_timeout(START_LIMIT).unwrap_or_default();
        tpm.port = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("mssim=")?.parse().ok())
            .with_context(|| {
                format!(
                    "the server does not listen: {line:?}; see {}",
                    log.display()
                )
            })?;
        Ok(tpm)
    }

    /// swtpm takes the ports it is given, and somebody else may be quicker.
    fn start_swtpm(program: &Path, state: &Path, log: &Path) -> Result<Tpm> {
        for _ in 0..5 {
            let port = two_free_ports()?;
            let child = Command::new(program)
                .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
                .args(["--seccomp", "action=none", "--tpmstate"])
                .arg(format!("dir={}", state.display()))
                .args(["--server", &format!("type=tcp,port={port}")])
                .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(log)?)
                .spawn()
                .context("cannot start swtpm")?;
            let mut tpm = Tpm {
                child,
                kind: Kind::Swtpm,
                port,
            };
            let deadline = Instant::now() + START_LIMIT;
            while tpm.child.try_wait()?.is_none() && Instant::now() < deadline {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
                    return Ok(tpm);
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        bail!("swtpm does not start; see {}", log.display())
    }

    fn protocol(&self) -> &'static str {
        match self.kind {
            Kind::Server => "mssim",
            Kind::Swtpm => "swtpm",
        }
    }

    /// What tpm2-tools have to know.
    fn tcti(&self) -> String {
        format!("{}:host=127.0.0.1,port={}", self.protocol(), self.port)
    }

    /// The command that cycles its power.
    fn power_cycle(&self, script: &Path) -> String {
        format!(
            "bash {} {} {}",
            script.display(),
            self.protocol(),
            self.port
        )
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two ports in a row that nobody listens on.
fn two_free_ports() -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two free ports in a row")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read_from_the_head_of_a_script() {
        let text = "# What it does.\n# needs: reset second\n. lib.sh\n# needs: fresh\n";
        let words: Vec<&str> = needs(text).collect();
        assert_eq!(words, ["reset", "second", "fresh"]);
    }

    #[test]
    fn every_flow_sources_what_they_share_and_says_what_it_is_for() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FLOWS);
        let words = ["reset", "second", "fresh", "platform", "raw"];
        for flow in flows(&folder).unwrap() {
            let text = fs::read_to_string(&flow.script).unwrap();
            assert!(text.starts_with("# "), "{}", flow.name);
            assert!(
                text.lines().any(|line| line == ". \"${0%/*}/lib.sh\""),
                "{}",
                flow.name
            );
            for word in needs(&text) {
                assert!(words.contains(&word), "{}: needs {word}", flow.name);
            }
        }
    }
}
