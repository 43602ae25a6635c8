//! `macadamia-igvm`: builds, measures and inspects IGVM images.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use boot_abi::PayloadDigests;
use clap::{Args, Parser, Subcommand, ValueEnum};
use macadamia_igvm::build::{self, Debug, First, Guest, Service, sha256};
use macadamia_igvm::{check, inspect, measure};

/// Builds, measures and inspects IGVM images of the Macadamia SVSM.
///
/// An image holds everything that is launched: the SVSM, its parameters, and the guest payload that it starts. Of Linux
/// it holds only SHA-256 digests, by which the guest payload checks what it loads; so the launch digest of the image
/// vouches for the whole guest.
#[derive(Parser)]
#[command(
    version,
    after_help = "Every command ends with exit status 0 when all is well, 1 with one line on stderr when \
    a file is bad, and 2 when the command line is."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an image
    Build(Box<BuildArgs>),
    /// Print an image's SEV-SNP launch digest
    ///
    /// The digest is computed from the file alone. It is what the MEASUREMENT field of an attestation report shows for
    /// a guest that was launched from the image.
    Measure {
        /// The IGVM file
        image: PathBuf,
        /// Print a JSON object instead of the digest alone
        #[arg(long)]
        json: bool,
    },
    /// List an image's headers in words
    ///
    /// Each line starts with the header's place in the file. A mask in brackets tells which platforms it concerns.
    /// Pages that differ only in their address share a line.
    Inspect {
        /// The IGVM file
        image: PathBuf,
        /// Hold the image to the rules of QEMU's IGVM loader and of KVM instead, and print `ok` or `FAIL` for each
        /// with its source; exit status 1 when one is broken
        #[arg(long)]
        check: bool,
        /// Give every page a line of its own
        #[arg(long, conflicts_with = "check")]
        each: bool,
    },
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  An SVSM that starts Linux:
    macadamia-igvm build --svsm svsm.elf --guest shim.elf \\
        --kernel bzImage --initrd initrd.img --cmdline 'console=ttyS0' -o linux.igvm
  The same with a vTPM that may have 1 MiB of heap:
    macadamia-igvm build --svsm svsm.elf --service vtpm:2:256=vtpm.elf --guest shim.elf \\
        --kernel bzImage --initrd initrd.img --cmdline 'console=ttyS0' -o linux.igvm
  An SVSM with a test guest:
    macadamia-igvm build --svsm svsm.elf --guest probe.elf -o probe.igvm
  A test payload at VMPL0, without SVSM:
    macadamia-igvm build --payload conformance.elf -o conformance.igvm")]
struct BuildArgs {
    /// The SVSM kernel, an ELF file
    ///
    /// Its segments go to their physical addresses: the 32-bit boot stage with the entry point to low memory, the
    /// kernel to the SVSM's memory.
    #[arg(long, value_name = "ELF", required_unless_present = "payload")]
    svsm: Option<PathBuf>,
    /// A ring-3 service of the SVSM's, repeatable: its name for people, the number of the SVSM protocol that it serves (2:
    /// vTPM), most pages of its heap, its ELF file
    ///
    /// Only what is loaded of the file goes into the image, where it is measured.
    #[arg(long = "service", value_name = "NAME:PROTOCOL:HEAP_PAGES[:SECONDS]=ELF", requires = "svsm", value_parser = service)]
    services: Vec<ServiceArg>,
    /// A test payload to run at VMPL0 in the SVSM's place, an ELF file
    #[arg(long, value_name = "ELF", conflicts_with_all = ["svsm", "guest", "services"])]
    payload: Option<PathBuf>,
    /// What the SVSM starts at VMPL2, an ELF file: the shim that loads Linux, or a test guest
    #[arg(long, value_name = "ELF", requires = "svsm")]
    guest: Option<PathBuf>,
    /// What the guest is; `linux` must come with --kernel [default: linux with --kernel, else probe]
    #[arg(long, value_enum, value_name = "KIND", requires = "guest")]
    guest_kind: Option<GuestKind>,
    /// The Linux kernel (bzImage), whose digest the shim checks
    #[arg(long, value_name = "FILE", requires = "guest")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk, whose digest the shim checks; none counts as an empty one
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line, whose digest the shim checks
    #[arg(
        long,
        value_name = "STRING",
        requires = "kernel",
        conflicts_with = "cmdline_file"
    )]
    cmdline: Option<String>,
    /// A file with the command line; every byte of it counts
    #[arg(long, value_name = "FILE", requires = "kernel")]
    cmdline_file: Option<PathBuf>,
    /// Say in the measured parameters that the SVSM has a debugger in it; it refuses to start when that is not so
    #[arg(long, requires = "svsm")]
    debugger: bool,
    /// For an SVSM with tests in it: the failure to be provoked, instead of all its tests
    #[arg(long, value_name = "NAME", requires = "svsm", value_parser = test_case)]
    test_case: Option<[u8; 32]>,
    /// The SNP guest policy, hexadecimal: bit 16 allows SMT, bit 17 must be set, bit 19 allows debugging
    #[arg(long, value_name = "HEX", default_value = "0x30000", value_parser = hexadecimal)]
    policy: u64,
    /// Where to write the image
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// What a guest payload is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GuestKind {
    /// The shim, which loads Linux.
    Linux,
    /// A guest that needs nothing else.
    Probe,
}

/// A service on the command line.
#[derive(Clone)]
struct ServiceArg {
    name: String,
    protocol: u32,
    heap_pages: u32,
    request_seconds: u32,
    path: PathBuf,
}

/// Seconds for a request where none are given: a minute or so of key generation under emulation, and some.
const DEFAULT_SECONDS: &str = "300";

fn service(text: &str) -> Result<ServiceArg, String> {
    let usage = || "expected NAME:PROTOCOL:HEAP_PAGES[:SECONDS]=ELF".to_owned();
    let (what, path) = text.split_once('=').ok_or_else(usage)?;
    let parts: Vec<&str> = what.split(':').collect();
    let (name, protocol, heap_pages, seconds) = match parts[..] {
        [name, protocol, heap_pages] => (name, protocol, heap_pages, DEFAULT_SECONDS),
        [name, protocol, heap_pages, seconds] => (name, protocol, heap_pages, seconds),
        _ => return Err(usage()),
    };
    let number = |what, digits: &str| {
        digits
            .parse()
            .map_err(|error| format!("{what} {digits:?}: {error}"))
    };
    Ok(ServiceArg {
        name: name.to_owned(),
        protocol: number("protocol", protocol)?,
        heap_pages: number("heap pages", heap_pages)?,
        request_seconds: number("seconds", seconds)?,
        path: path.into(),
    })
}

fn test_case(text: &str) -> Result<[u8; 32], String> {
    let mut name = [0; 32];
    match name.get_mut(..text.len()) {
        Some(place) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            place.copy_from_slice(text.as_bytes());
            Ok(name)
        }
        _ => Err(format!(
            "{text:?}: expected at most 32 printable ASCII characters"
        )),
    }
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|error| error.to_string())
}

/// Prints a line, like `println!`, but gives an error instead of a panic.
macro_rules! say {
    ($($text:tt)*) => { write(format!("{}\n", format_args!($($text)*)).as_bytes())? };
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn write(bytes: &[u8]) -> Result<()> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Build(args) => run_build(&args),
        Command::Measure { image, json } => run_measure(&image, json),
        Command::Inspect {
            image,
            check: false,
            each,
        } => run_inspect(&image, each),
        Command::Inspect {
            image, check: true, ..
        } => run_check(&image),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("macadamia-igvm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn run_build(args: &BuildArgs) -> Result<()> {
    let (kernel, guest, files, services);
    let first = match (&args.payload, &args.svsm) {
        (Some(payload), _) => {
            kernel = read(payload)?;
            First::Payload(&kernel)
        }
        (None, Some(svsm)) => {
            kernel = read(svsm)?;
            guest = args.guest.as_deref().map(read).transpose()?;
            let digests = digests(args)?;
            let guest = guest.as_deref().map(|elf| Guest { elf, digests });
            let read = |service: &ServiceArg| read(&service.path);
            files = args.services.iter().map(read).collect::<Result<Vec<_>>>()?;
            services = args
                .services
                .iter()
                .zip(&files)
                .map(|(service, elf)| Service {
                    name: &service.name,
                    protocol: service.protocol,
                    heap_pages: service.heap_pages,
                    request_seconds: service.request_seconds,
                    elf,
                })
                .collect::<Vec<_>>();
            First::Svsm {
                kernel: &kernel,
                services: &services,
                guest,
                debug: Debug {
                    debugger: args.debugger,
                    test_case: args.test_case.unwrap_or_default(),
                },
            }
        }
        (None, None) => anyhow::bail!("there is neither --svsm nor --payload"),
    };
    let image = build::build(&first, args.policy)?;
    let digest = measure::measure(&image)?;
    fs::write(&args.output, &image)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    say!(
        "{}: {} bytes, launch digest {digest}",
        args.output.display(),
        image.len()
    );
    Ok(())
}

/// Digests of what the shim loads; of nothing, where there is no file.
fn digests(args: &BuildArgs) -> Result<PayloadDigests> {
    ensure!(
        args.guest_kind != Some(GuestKind::Linux) || args.kernel.is_some(),
        "a Linux guest needs --kernel, whose digest goes into the image"
    );
    ensure!(
        args.guest_kind != Some(GuestKind::Probe) || args.kernel.is_none(),
        "a probe loads no Linux: --kernel has no use"
    );
    let file = |path: &Option<PathBuf>| match path {
        Some(path) => {
            let hash = || sha256(File::open(path)?);
            hash().with_context(|| format!("cannot read {}", path.display()))
        }
        None => sha256(&[][..]),
    };
    Ok(PayloadDigests {
        kernel: file(&args.kernel)?,
        initrd: file(&args.initrd)?,
        cmdline: match &args.cmdline {
            Some(text) => sha256(text.as_bytes())?,
            None => file(&args.cmdline_file)?,
        },
    })
}

fn run_measure(path: &Path, json: bool) -> Result<()> {
    let bytes = read(path)?;
    let digest = measure::measure(&bytes).with_context(|| path.display().to_string())?;
    if json {
        say!(
            "{{\"platform\": \"SEV-SNP\", \"algorithm\": \"SHA-384\", \"launch_digest\": \"{digest}\"}}"
        );
    } else {
        say!("{digest}");
    }
    Ok(())
}

fn run_inspect(path: &Path, each: bool) -> Result<()> {
    let bytes = read(path)?;
    let text = inspect::describe(&bytes, each).with_context(|| path.display().to_string())?;
    write(text.as_bytes())
}

fn run_check(path: &Path) -> Result<()> {
    let bytes = read(path)?;
    let verdicts = check::check(&bytes).with_context(|| path.display().to_string())?;
    let mut broken = 0;
    for verdict in &verdicts {
        let (statement, source) = (verdict.statement, verdict.source);
        match &verdict.result {
            Ok(()) => say!("ok    {statement}\n        {source}"),
            Err(reason) => {
                broken += 1;
                say!("FAIL  {statement}: {reason}\n        {source}");
            }
        }
    }
    ensure!(
        broken == 0,
        "{}: {broken} of {} rules broken",
        path.display(),
        verdicts.len()
    );
    Ok(())
}
