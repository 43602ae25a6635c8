//! Debian's swtpm as a process: its data channel for commands, its control channel for power and locality.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::backend::Backend;

const WAIT: Duration = Duration::from_secs(20);
const CMD_INIT: u32 = 2;
const CMD_SET_LOCALITY: u32 = 5;
const CMD_HASH_START: u32 = 6;
const CMD_HASH_DATA: u32 = 7;
const CMD_HASH_END: u32 = 8;

/// A running swtpm, ended when dropped.
pub struct Swtpm {
    child: Child,
    dir: PathBuf,
    data: TcpStream,
    control: TcpStream,
    locality: u8,
}

impl Swtpm {
    /// Starts one without state.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub fn start() -> Result<Swtpm> {
        let mut last = None;
        for _ in 0..5 {
            match Self::try_start() {
                Ok(swtpm) => return Ok(swtpm),
                Err(err) => last = Some(err), // somebody may have taken the port in between
            }
        }
        Err(last.context("never tried")?)
    }

    fn try_start() -> Result<Swtpm> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let shm = PathBuf::from("/dev/shm");
        let base = if shm.is_dir() {
            shm
        } else {
            std::env::temp_dir()
        };
        let dir = base.join(format!("tpm-differential.{}.{number}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let [port, control_port] = free_ports()?;
        let mut child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init"])
            .args(["--tpmstate", &format!("dir={}", dir.display())])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={control_port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("swtpm: is it installed?")?;
        let channels = connect(&mut child, port)
            .and_then(|data| Ok((data, connect(&mut child, control_port)?)));
        match channels {
            Ok((data, control)) => {
                let mut swtpm = Swtpm {
                    child,
                    dir,
                    data,
                    control,
                    locality: 0,
                };
                swtpm.take_profile()?;
                Ok(swtpm)
            }
            Err(err) => {
                let _ = child.kill();
                let _ = child.wait();
                let _ = std::fs::remove_dir_all(&dir);
                Err(err)
            }
        }
    }

    /// Gives it the banks that the engine has from the beginning: SHA-1 and SHA-512 off.
    fn take_profile(&mut self) -> Result<()> {
        const STARTUP: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x44\0\0";
        const SHUTDOWN: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x45\0\0";
        const ALLOCATE: &[u8] =
            b"\x80\x02\0\0\0\x2B\0\0\x01\x2B\x40\0\0\x0C\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\
            \0\0\0\x02\0\x04\x03\0\0\0\0\x0D\x03\0\0\0";
        for command in [STARTUP, ALLOCATE, SHUTDOWN] {
            let response = self.execute(0, command)?;
            ensure!(
                response.get(6..10) == Some(&[0; 4]),
                "swtpm does not take {command:02x?}: {response:02x?}"
            );
        }
        self.power_cycle()
    }

    fn control(&mut self, command: u32, arguments: &[u8]) -> Result<()> {
        let mut request = command.to_be_bytes().to_vec();
        request.extend(arguments);
        self.control.write_all(&request)?;
        let mut answer = [0; 4];
        self.control.read_exact(&mut answer)?;
        ensure!(
            answer == [0; 4],
            "swtpm's control command {command} failed: {answer:02x?}"
        );
        Ok(())
    }
}

impl Backend for Swtpm {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        if locality != self.locality {
            self.control(CMD_SET_LOCALITY, &[locality])?;
            self.locality = locality;
        }
        // It takes what one read() gives as one command: a single write of less than a loopback segment.
        self.data.write_all(command)?;
        let mut response = vec![0; 4096];
        let mut len = 0;
        loop {
            let got = self.data.read(&mut response[len..])?;
            ensure!(got > 0, "swtpm closed the connection");
            len += got;
            if len >= 10 {
                let size = u32::from_be_bytes([response[2], response[3], response[4], response[5]])
                    as usize;
                if len >= size {
                    response.truncate(len);
                    return Ok(response);
                }
            }
        }
    }

    fn power_cycle(&mut self) -> Result<()> {
        self.control(CMD_INIT, &[0; 4])?;
        self.locality = 0xFF; // whatever it is now
        Ok(())
    }

    fn hash_sequence(&mut self, data: &[Vec<u8>]) -> Result<()> {
        self.control(CMD_HASH_START, &[])?;
        for data in data {
            let mut arguments = (data.len() as u32).to_be_bytes().to_vec();
            arguments.extend(data);
            self.control(CMD_HASH_DATA, &arguments)?;
        }
        self.locality = 0xFF;
        self.control(CMD_HASH_END, &[])
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_ports() -> Result<[u16; 2]> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let two = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok([one.local_addr()?.port(), two.local_addr()?.port()])
}

fn connect(child: &mut Child, port: u16) -> Result<TcpStream> {
    let end = Instant::now() + WAIT;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            bail!("swtpm ended: {status}");
        }
        if let Ok(stream) = TcpStream::connect_timeout(&address, WAIT) {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(WAIT))?;
            stream.set_write_timeout(Some(WAIT))?;
            return Ok(stream);
        }
        sleep(Duration::from_millis(5));
    }
    bail!("swtpm does not listen on port {port}")
}
