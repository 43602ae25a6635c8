//! A look at QEMU's processors when a run hangs: what they execute is the first thing one wants to know, and it is gone
//! once QEMU is ended. And one at its memory.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// QEMU's monitor, on a socket of its own. In the system's folder for such things, because a socket's path may have
/// 107 bytes only.
pub struct Monitor {
    socket: PathBuf,
}

/// Time for each gigabyte or so of it.
const DUMP_LIMIT: Duration = Duration::from_secs(60);

/// A look at a machine's memory while it runs.
#[derive(Clone, Debug)]
pub struct Dump {
    /// The line of the console after which it is taken; it is the run's last.
    pub after: &'static str,
    /// Where it goes.
    pub file: PathBuf,
    /// How much, from physical address 0 on.
    pub bytes: u64,
}

impl Monitor {
    /// One for a QEMU that is about to be started.
    pub fn new() -> Monitor {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Monitor {
            socket: env::temp_dir().join(format!("macadamia-{}-{number}", process::id())),
        }
    }

    /// The value of QEMU's option `-monitor`.
    pub fn option(&self) -> String {
        format!("unix:{},server=on,wait=off", self.socket.display())
    }

    /// The registers of all processors, as QEMU prints them; nothing where it does not answer.
    pub fn registers(&self) -> String {
        self.ask("info registers -a").unwrap_or_default()
    }

    /// Stops the machine, writes its memory from address 0 on to a file, and ends QEMU. The last is what tells when the file
    /// is complete.
    pub fn dump(&self, dump: &Dump) -> io::Result<()> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(DUMP_LIMIT))?;
        let file = dump.file.display();
        let commands = format!("stop\npmemsave 0 {} \"{file}\"\nquit\n", dump.bytes);
        stream.write_all(commands.as_bytes())?;
        // Until QEMU ends: a connection that is closed takes with it what has not been read from it.
        io::copy(&mut stream, &mut io::sink()).map(|_| ())
    }

    fn ask(&self, question: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .ok()?;
        stream.write_all(format!("{question}\n").as_bytes()).ok()?;
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // The monitor never closes the connection; half a second of silence ends its answer.
        while Instant::now() < deadline {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

/// The lines of a register dump that tell where each processor is.
pub fn places(registers: &str) -> String {
    registers
        .lines()
        .filter(|line| {
            line.starts_with("CPU#") || line.contains("RIP=") || line.starts_with("CR0=")
        })
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_processors_are_is_picked_out() {
        let dump = "CPU#0\r\nRAX=1 RBX=2\r\nRIP=0012 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\nES =0\r\n";
        assert_eq!(
            places(dump),
            "CPU#0\nRIP=0012 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n"
        );
    }
}
