//! Names for the addresses in a backtrace. The machine and the SVSM print bare addresses, because a table of names in
//! them would be as large as the code.

use std::path::Path;

use crate::compile::Program;
use crate::paths::Paths;

/// The lines of `text` that are a backtrace's, with function, file and line behind each address.
///
/// A line that starts with `machine: ` is the machine's; of the others the address tells whose it is.
pub fn annotate(paths: &Paths, text: &str) -> String {
    let mut names = Names::default();
    text.lines()
        .filter_map(|line| {
            let addresses = addresses(line);
            if addresses.is_empty() {
                return None;
            }
            let program = if line.starts_with("machine: ") {
                &[Program::Machine][..]
            } else {
                &[Program::Svsm, Program::Shim, Program::Probe]
            };
            let found: Vec<String> = addresses
                .iter()
                .filter_map(|address| {
                    program
                        .iter()
                        .find_map(|program| names.find(*program, paths, *address))
                        .map(|name| format!("{address:#x} {name}"))
                })
                .collect();
            (!found.is_empty()).then(|| format!("{line}\n    = {}\n", found.join("\n    = ")))
        })
        .collect()
}

/// Debug information, loaded as it is needed.
#[derive(Default)]
struct Names {
    loaded: Vec<(Program, Option<addr2line::Loader>)>,
}

impl Names {
    fn find(&mut self, program: Program, paths: &Paths, address: u64) -> Option<String> {
        if !self.loaded.iter().any(|(known, _)| *known == program) {
            let loader = load(&program.path(paths));
            self.loaded.push((program, loader));
        }
        let loader = self
            .loaded
            .iter()
            .find(|(known, _)| *known == program)?
            .1
            .as_ref()?;
        // A return address may already be the next function's.
        let inside = address.checked_sub(1)?;
        let symbol = loader.find_symbol(inside)?;
        // Code has a line; what has none is data or the end of a section.
        let location = loader.find_location(inside).ok()??;
        Some(format!(
            "{} ({}:{})",
            addr2line::demangle_auto(symbol.into(), None),
            location.file.unwrap_or("?"),
            location.line.unwrap_or(0)
        ))
    }
}

fn load(path: &Path) -> Option<addr2line::Loader> {
    addr2line::Loader::new(path).ok()
}

/// Hexadecimal numbers that look like code addresses: `0x` and at least six digits.
fn addresses(line: &str) -> Vec<u64> {
    line.split(|character: char| !character.is_ascii_alphanumeric())
        .filter_map(|word| word.strip_prefix("0x"))
        .filter(|digits| digits.len() >= 6)
        .filter_map(|digits| u64::from_str_radix(digits, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_between_words() {
        assert_eq!(
            addresses("machine:   called from 0xffffffff80201234, then (0x812345)."),
            [0xffff_ffff_8020_1234, 0x81_2345]
        );
        assert!(addresses("error code 0x4, vector 13").is_empty());
    }
}
