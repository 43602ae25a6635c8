//! One line for each command: time, locality, command code, sizes, response code, duration.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A log of commands. It never holds parameters: they may be secrets.
pub struct Trace {
    file: File,
}

impl Trace {
    /// Appends to the file at `path`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<Trace> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Trace { file })
    }

    /// Writes the line of one command that began at `start`.
    pub fn command(&mut self, locality: u8, command: &[u8], response: &[u8], start: Instant) {
        let line = line(locality, command, response, start.elapsed());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // A full disk stops the log, not the TPM.
        let _ = writeln!(
            self.file,
            "{}.{:06} {line}",
            now.as_secs(),
            now.subsec_micros()
        );
    }
}

fn line(locality: u8, command: &[u8], response: &[u8], took: Duration) -> String {
    let code = |bytes: &[u8]| match bytes.get(6..10) {
        Some(&[a, b, c, d]) => format!("{:#05x}", u32::from_be_bytes([a, b, c, d])),
        _ => "-".to_string(),
    };
    format!(
        "locality={locality} cc={} in={} rc={} out={} us={}",
        code(command),
        command.len(),
        code(response),
        response.len(),
        took.as_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_code_and_response_of_whatever_was_sent() {
        let startup = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
        let answer = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0];
        assert_eq!(
            line(3, &startup, &answer, Duration::from_micros(7)),
            "locality=3 cc=0x144 in=12 rc=0x100 out=10 us=7"
        );
        assert_eq!(
            line(0, &[1], &[], Duration::ZERO),
            "locality=0 cc=- in=1 rc=- out=0 us=0"
        );
    }
}
