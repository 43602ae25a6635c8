//! `macadamia-tpm-server`: see `--help`.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use macadamia_tpm_server::options::{Endpoint, LogFile, Options};
use macadamia_tpm_server::serve::Server;
use macadamia_tpm_server::store::{Disk, Journal, Memory};
use macadamia_tpm_server::swtpm::Locality;
use macadamia_tpm_server::trace::Trace;
use macadamia_tpm_server::{Device, Entropy, HostPlatform, SharedDevice, raw};

fn main() -> Result<()> {
    let options = Options::parse();
    // Before anything that takes time: a signal that comes early must not be missed.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot handle signals")?;
    if let Some(path) = &options.pid {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let device = SharedDevice::new(device(&options)?);
    let mut locality = Locality::new(options.locality.initial, options.locality.most);
    locality.settable_by_command = options.locality.by_command;

    let mut server = Server::new(device.clone(), locality.clone(), options.terminate);
    let ender = server.ender();
    std::thread::spawn(move || {
        for signal in { signals }.forever() {
            ender.end(&format!("signal {signal}"));
        }
    });
    if options.stdio {
        let (ender, device) = (server.ender(), device.clone());
        std::thread::spawn(move || {
            if let Err(error) = raw::serve_stdio(&device, &locality) {
                eprintln!("stdio: {error}");
            }
            ender.end("stdin ended");
        });
    } else {
        let listening = listen(&mut server, &options)?;
        let mut stdout = std::io::stdout().lock();
        // Nobody may read it; that is no reason not to serve.
        let _ = writeln!(stdout, "listening {listening}").and_then(|()| stdout.flush());
    }
    server.wait();
    // A command that runs is finished first, and its response is dropped with the process.
    device.lock().power_off();
    drop(server);
    if let Some(path) = &options.pid {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Opens every socket that is asked for; returns what clients have to know, as `name=value` words.
fn listen(server: &mut Server, options: &Options) -> Result<String> {
    let mut words = Vec::new();
    let data = match (&options.server, options.port) {
        (Some(endpoint), _) => Some(endpoint.clone()),
        (None, port) => port.map(Endpoint::port),
    };
    let nothing = options.swtpm_port.is_none() && options.ctrl.is_none() && data.is_none();
    if let Some(port) = options.mssim_port.or(nothing.then_some(2321)) {
        let (commands, platform) = server.listen_mssim(options.bind, port)?;
        words.push(format!("mssim={commands} platform={platform}"));
    }
    if let Some(port) = options.swtpm_port {
        let (data, control) = server.listen_swtpm(options.bind, port)?;
        words.push(format!("swtpm={data} ctrl={control}"));
    }
    if let Some(endpoint) = data {
        words.push(format!(
            "swtpm={}",
            server.listen_data(&endpoint, options.bind)?
        ));
    }
    if let Some(endpoint) = &options.ctrl {
        words.push(format!(
            "ctrl={}",
            server.listen_control(endpoint, options.bind)?
        ));
    }
    Ok(words.join(" "))
}

fn device(options: &Options) -> Result<Device> {
    let entropy = match &options.seed {
        Some(seed) => {
            eprintln!("INSECURE: all keys are a function of --seed");
            Entropy::known(&seed.0)
        }
        None => Entropy::Kernel,
    };
    let platform = match options.state_file() {
        Some(path) => HostPlatform::new(journal(path, options)?, entropy),
        None => HostPlatform::new(Memory::default(), entropy),
    };
    let mut device = Device::new(platform);
    if let Some(LogFile(Some(path))) = &options.log {
        let trace = Trace::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        device.trace(trace);
    }
    if options.auto_shutdown {
        device.auto_shutdown();
    }
    if options.starts_up() {
        device.auto_startup();
    }
    Ok(device)
}

fn journal(path: &Path, options: &Options) -> Result<Journal> {
    let journal = Journal::open(Disk::new(path), options.durability.into())
        .with_context(|| format!("state file {}", path.display()))?;
    if journal.cut() != 0 {
        eprintln!(
            "state file {}: cut {} bytes of a change that was interrupted; the state is the one before it",
            path.display(),
            journal.cut()
        );
    }
    Ok(journal)
}
