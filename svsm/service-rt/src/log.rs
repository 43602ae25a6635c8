//! Lines for the console.

use core::fmt::{Arguments, Write};

use service_abi::limit::LOG_BYTES;

use crate::call;

/// Prints one line on the console, formatted as `format!` does. The host reads the console: no secrets. What is not
/// printable ASCII becomes `?`, what is too long is cut.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(::core::format_args!($($argument)*)) };
}

/// What [`log!`] calls.
pub fn line(arguments: Arguments) {
    let mut line = Line {
        bytes: [0; LOG_BYTES as usize],
        length: 0,
    };
    // An implementation of Display that fails leaves what it had written.
    let _ = line.write_fmt(arguments);
    call::log(line.bytes.get(..line.length).unwrap_or_default());
}

/// A line in the making.
struct Line {
    bytes: [u8; LOG_BYTES as usize],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let free = self.bytes.iter_mut().skip(self.length);
        for (place, character) in free.zip(text.chars()) {
            *place = match character {
                ' '..='~' => character as u8,
                _ => b'?',
            };
            self.length += 1;
        }
        Ok(())
    }
}
