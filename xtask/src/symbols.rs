//! Names for the addresses in a backtrace. The machine, the SVSM and the guests print bare addresses, because a table of
//! names in them would be as large as the code.

use std::path::Path;

use crate::compile::Program;
use crate::paths::Paths;

/// The backtraces in a console's text, each address with function, file and line. `programs` are those that ran; whose
/// an address is, follows from who prints it and of whom.
pub fn annotate(paths: &Paths, programs: &[Program], text: &str) -> String {
    let mut names = Names::default();
    let mut subject: Vec<Program> = Vec::new();
    let mut annotated = String::new();
    for line in text.lines() {
        if let Some(of) = subject_of(line, programs) {
            subject = of;
        }
        let Some(address) = address(line) else {
            continue;
        };
        let name = subject
            .iter()
            .find_map(|program| names.find(*program, paths, address));
        if let Some(name) = name {
            annotated.push_str(&format!("{address:#x} {name}\n"));
        }
    }
    annotated
}

/// Whose addresses follow, where a line starts something new.
fn subject_of(line: &str, programs: &[Program]) -> Option<Vec<Program>> {
    let of = |wanted: &[Program]| {
        programs
            .iter()
            .copied()
            .filter(|program| wanted.contains(program))
            .collect()
    };
    match line.strip_prefix("machine: ") {
        // The machine speaks of itself, or of the guest at some VMPL.
        Some(rest) if rest.starts_with("internal error") => Some(vec![Program::Machine]),
        Some(rest) if rest.contains("VMPL0") => Some(of(&[
            Program::Svsm,
            Program::SvsmDebugger,
            Program::SvsmTests,
            Program::Conformance,
        ])),
        Some(rest) if rest.contains("VMPL") => {
            Some(of(&[Program::Shim, Program::Probe, Program::Conformance]))
        }
        Some(_) => None,
        None if line.starts_with("loader: fatal: ") => Some(vec![Program::NativeLoader]),
        None if line.starts_with("svsm: service ") => Some(of(&[
            Program::Vtpm,
            Program::VtpmKnownSeeds,
            Program::Broken,
        ])),
        None if line.starts_with("svsm: ") => Some(of(&[
            Program::Svsm,
            Program::SvsmDebugger,
            Program::SvsmTests,
        ])),
        None => None,
    }
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
        let (_, loader) = self.loaded.iter().find(|(known, _)| *known == program)?;
        let loader = loader.as_ref()?;
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

/// The code address in a line of a backtrace: behind `called from` or `rip`, or the last `at` of a headline.
fn address(line: &str) -> Option<u64> {
    ["called from 0x", "rip 0x", " at 0x"]
        .iter()
        .find_map(|mark| line.split(mark).nth(1))
        .and_then(|rest| {
            let digits = rest.split(|character: char| !character.is_ascii_hexdigit());
            u64::from_str_radix(digits.into_iter().next()?, 16).ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_behind_its_mark() {
        assert_eq!(
            address("machine:   called from 0xffffffff80201234"),
            Some(0xffff_ffff_8020_1234)
        );
        assert_eq!(
            address("machine: vCPU 0 VMPL2 CPL0 at rip 0x82a46c: the guest asked"),
            Some(0x82_a46c)
        );
        assert_eq!(address("machine:   rax 0000000000000001"), None);
    }

    #[test]
    fn the_same_address_is_looked_up_in_whoever_it_is_of() {
        let programs = Program::LINUX;
        let of = |line| subject_of(line, programs);
        assert_eq!(
            of("machine: internal error on processor 0: oops"),
            Some(vec![Program::Machine])
        );
        assert_eq!(
            of("machine: vCPU 0 VMPL0 CPL0 at rip 0x1: why"),
            Some(vec![Program::Svsm])
        );
        assert_eq!(
            of("machine: vCPU 0 VMPL2 CPL0 at rip 0x1: why"),
            Some(vec![Program::Shim])
        );
        assert_eq!(of("svsm: fatal: oops"), Some(vec![Program::Svsm]));
        assert_eq!(
            of(
                "svsm: service vtpm: killed: #PF (exception 14, error 0x4) at 0x401000, address 0x0"
            ),
            Some(vec![Program::Vtpm])
        );
        assert_eq!(of("machine:   called from 0x1"), None);
    }
}
