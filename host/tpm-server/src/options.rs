//! The command line. swtpm's own spellings of the options that matter are taken, so that this program can stand where
//! `swtpm socket` stands.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use crate::device::MAX_LOCALITY;
use crate::store::Durability;

/// A software TPM 2.0.
///
/// Clients: `--mssim-port` for tpm2-tss's mssim TCTI, `--swtpm-port` for its swtpm TCTI and `swtpm_ioctl --tcp`,
/// `--ctrl type=unixio,path=PATH` for QEMU's `-tpmdev emulator` and `swtpm_ioctl --unix`, `--stdio` for the cmd TCTI.
/// Without any of them: `--mssim-port 2321`.
#[derive(Parser, Debug)]
#[command(name = "macadamia-tpm-server", version)]
pub struct Options {
    /// `socket`, as swtpm has it; changes nothing.
    #[arg(value_parser = ["socket"], hide = true)]
    pub interface: Option<String>,

    /// The TPM simulator's protocol on this port, platform commands on the next one; 0 for any two free ones.
    #[arg(long, value_name = "PORT")]
    pub mssim_port: Option<u16>,

    /// swtpm's data channel on this port, its control channel on the next one; 0 for any two free ones.
    #[arg(long, value_name = "PORT", conflicts_with_all = ["ctrl", "server", "port"])]
    pub swtpm_port: Option<u16>,

    /// swtpm's control channel: type=unixio,path=PATH[,mode=0700] or type=tcp,port=PORT[,bindaddr=ADDRESS].
    #[arg(long, value_name = "HOW", value_parser = endpoint)]
    pub ctrl: Option<Endpoint>,

    /// swtpm's data channel, likewise. QEMU needs none: it brings its own.
    #[arg(long, value_name = "HOW", value_parser = endpoint)]
    pub server: Option<Endpoint>,

    /// Short for --server type=tcp,port=PORT.
    #[arg(short, long, value_name = "PORT", conflicts_with = "server")]
    pub port: Option<u16>,

    /// Commands from stdin, responses to stdout, until stdin ends.
    #[arg(long, conflicts_with_all = ["mssim_port", "swtpm_port", "ctrl", "server", "port"])]
    pub stdio: bool,

    /// Address to listen on where none is named. Whoever can connect controls the TPM.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,

    /// The file with the state; made if it is not there. Without it the state ends with the process.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// dir=DIRECTORY: short for --state DIRECTORY/macadamia-tpm.state.
    #[arg(long, value_name = "dir=DIRECTORY", conflicts_with = "state", value_parser = state_directory)]
    pub tpmstate: Option<PathBuf>,

    /// What a change of the state outlasts before the client gets the response.
    #[arg(long, value_enum, default_value = "fsync")]
    pub durability: DurabilityOption,

    /// Locality of commands that do not say theirs; also reject-locality-4, allow-set-locality.
    #[arg(long, value_name = "0-4", default_value = "0", value_parser = locality)]
    pub locality: LocalityOption,

    /// A line for each command is appended to this file. It holds no parameters.
    #[arg(long, value_name = "FILE", value_parser = log_file)]
    pub log: Option<LogFile>,

    /// Send TPM2_Startup(CLEAR) at each power-on (swtpm's --flags startup-clear).
    #[arg(long)]
    pub auto_startup: bool,

    /// Send TPM2_Shutdown(CLEAR) before power-off and at the end, if the client did not.
    #[arg(long)]
    pub auto_shutdown: bool,

    /// End when a swtpm client closes its connection.
    #[arg(short, long)]
    pub terminate: bool,

    /// swtpm's: not-need-init, startup-clear, startup-none.
    #[arg(long, value_delimiter = ',', value_parser = ["not-need-init", "startup-clear", "startup-none"])]
    pub flags: Vec<String>,

    /// file=FILE: the number of this process is written there.
    #[arg(long, value_name = "file=FILE", value_parser = pid_file)]
    pub pid: Option<PathBuf>,

    /// swtpm's; there is no other TPM here.
    #[arg(long, hide = true)]
    pub tpm2: bool,

    /// INSECURE, for tests: random numbers, and so all keys, are a function of these hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = hex)]
    pub seed: Option<Seed>,
}

impl Options {
    /// Whether the TPM is to be started without the client.
    pub fn starts_up(&self) -> bool {
        self.auto_startup || self.flags.iter().any(|flag| flag == "startup-clear")
    }

    /// The state file, if there is to be one.
    pub fn state_file(&self) -> Option<&PathBuf> {
        self.state.as_ref().or(self.tpmstate.as_ref())
    }
}

/// [`Durability`] as an option.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DurabilityOption {
    /// Loss of power.
    Fsync,
    /// The end of this process.
    None,
}

impl From<DurabilityOption> for Durability {
    fn from(option: DurabilityOption) -> Durability {
        match option {
            DurabilityOption::Fsync => Durability::Fsync,
            DurabilityOption::None => Durability::None,
        }
    }
}

/// The bytes of `--seed`.
#[derive(Clone, Debug)]
pub struct Seed(pub Vec<u8>);

/// What `--log` says; swtpm's spelling can say that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile(pub Option<PathBuf>);

/// What `--locality` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalityOption {
    /// At the start.
    pub initial: u8,
    /// The highest that a client can set.
    pub most: u8,
    /// Whether a command on the data channel can set it.
    pub by_command: bool,
}

/// Where a channel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port, on the default address if there is no other.
    Tcp {
        /// The address.
        address: Option<IpAddr>,
        /// The port; 0 for any.
        port: u16,
    },
    /// A UNIX socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Who can connect.
        mode: u32,
    },
}

impl Endpoint {
    /// A port on the default address.
    pub fn port(port: u16) -> Endpoint {
        Endpoint::Tcp {
            address: None,
            port,
        }
    }

    /// The socket address, where it is a port.
    pub fn socket(&self, default: IpAddr) -> Option<SocketAddr> {
        match self {
            Endpoint::Tcp { address, port } => {
                Some(SocketAddr::new(address.unwrap_or(default), *port))
            }
            Endpoint::Unix { .. } => None,
        }
    }
}

/// `key=value` and `key`, separated by commas.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn endpoint(text: &str) -> Result<Endpoint> {
    let (mut kind, mut path, mut port, mut address, mut mode) = ("", None, None, None, 0o700);
    for (key, value) in pairs(text) {
        match key {
            "type" => kind = value,
            "path" => path = Some(PathBuf::from(value)),
            "port" => port = Some(value.parse().context("the port is not a number")?),
            "bindaddr" => address = Some(value.parse().context("bindaddr is no IP address")?),
            "mode" => mode = u32::from_str_radix(value, 8).context("mode is no octal number")?,
            // How connections are here anyway.
            "disconnect" => {}
            "fd" | "clientfd" => {
                bail!("{key}: descriptors cannot be passed on the command line; name a path")
            }
            other => bail!("unknown {other:?}; known: type, path, mode, port, bindaddr"),
        }
    }
    match (kind, path, port) {
        ("unixio", Some(path), None) => Ok(Endpoint::Unix { path, mode }),
        ("tcp", None, Some(port)) => Ok(Endpoint::Tcp { address, port }),
        _ => bail!("needed: type=unixio,path=PATH or type=tcp,port=PORT"),
    }
}

fn state_directory(text: &str) -> Result<PathBuf> {
    match text.split_once('=') {
        Some(("dir", directory)) if !directory.contains(',') => {
            Ok(PathBuf::from(directory).join("macadamia-tpm.state"))
        }
        _ => bail!("needed: dir=DIRECTORY"),
    }
}

fn pid_file(text: &str) -> Result<PathBuf> {
    match text.split_once('=') {
        Some(("file", path)) => Ok(PathBuf::from(path)),
        _ => bail!("needed: file=FILE"),
    }
}

fn log_file(text: &str) -> Result<LogFile> {
    let swtpm =
        pairs(text).any(|(key, value)| matches!(key, "fd" | "file" | "level") && !value.is_empty());
    if !swtpm {
        return Ok(LogFile(Some(PathBuf::from(text))));
    }
    for (key, value) in pairs(text) {
        match (key, value) {
            ("file", "-") => return Ok(LogFile(None)),
            ("file", path) => return Ok(LogFile(Some(PathBuf::from(path)))),
            ("fd", "1") => return Ok(LogFile(Some(PathBuf::from("/dev/stdout")))),
            ("fd", "2") => return Ok(LogFile(Some(PathBuf::from("/dev/stderr")))),
            ("level" | "prefix" | "truncate", _) => {}
            _ => bail!("needed: FILE or file=FILE"),
        }
    }
    Ok(LogFile(None))
}

fn locality(text: &str) -> Result<LocalityOption> {
    let mut option = LocalityOption {
        initial: 0,
        most: MAX_LOCALITY,
        by_command: false,
    };
    for word in text.split(',') {
        match word {
            "reject-locality-4" => option.most = 3,
            "allow-set-locality" => option.by_command = true,
            number => {
                option.initial = number
                    .parse()
                    .ok()
                    .filter(|number| *number <= MAX_LOCALITY)
                    .context("needed: 0 to 4, reject-locality-4, allow-set-locality")?;
            }
        }
    }
    Ok(option)
}

fn hex(text: &str) -> Result<Seed> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        bail!("needed: an even number of hexadecimal digits");
    }
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair)?;
            u8::from_str_radix(pair, 16).with_context(|| format!("{pair:?} is not hexadecimal"))
        })
        .collect::<Result<_>>()
        .map(Seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn swtpm_s_own_command_line_is_taken() {
        let line = "x socket --tpm2 -p 4000 --ctrl type=tcp,port=4001 --log fd=1,level=5 --flags not-need-init \
                    --tpmstate dir=/tmp/a --locality allow-set-locality";
        let options = Options::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(options.ctrl, Some(Endpoint::port(4001)));
        assert_eq!(options.port, Some(4000));
        assert!(options.locality.by_command && !options.starts_up());
        assert!(
            options
                .state_file()
                .unwrap()
                .ends_with("macadamia-tpm.state")
        );

        let line = "x --ctrl type=unixio,path=/run/t,mode=0770 --flags startup-clear,not-need-init --log file=/l,level=20";
        let options = Options::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(
            options.ctrl,
            Some(Endpoint::Unix {
                path: "/run/t".into(),
                mode: 0o770
            })
        );
        assert!(options.starts_up());
        assert_eq!(options.log, Some(LogFile(Some("/l".into()))));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for line in [
            "x --ctrl type=unixio",
            "x --ctrl type=tcp,fd=3",
            "x --seed abc",
            "x --seed zz",
            "x --locality 5",
            "x --stdio --mssim-port 1",
            "x --flags startup-state",
        ] {
            assert!(
                Options::try_parse_from(line.split_whitespace()).is_err(),
                "{line}"
            );
        }
    }
}
