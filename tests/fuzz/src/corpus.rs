//! The corpus: a folder for each target, an input in each file.

use std::fs;
use std::path::Path;

/// Files whose names start so are kept, whatever they cover.
pub const KEPT: [&str; 2] = ["seed-", "regression-"];

/// A target's inputs by name, in the order of names.
///
/// # Errors
/// A folder or file that cannot be read; a folder that is not there is empty.
pub fn read(corpus: &Path, target: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let folder = corpus.join(target);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let bytes = fs::read(entry.path()).map_err(wrong)?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), bytes));
    }
    inputs.sort();
    Ok(inputs)
}

/// Puts these inputs into a target's folder, in place of those that have no name of their own.
///
/// # Errors
/// A file that cannot be written or removed.
pub fn write(corpus: &Path, target: &str, inputs: &[Vec<u8>]) -> Result<(), String> {
    let folder = corpus.join(target);
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(wrong)?;
    let mut known = Vec::new();
    for (name, bytes) in read(corpus, target)? {
        if KEPT.iter().any(|kept| name.starts_with(kept)) {
            known.push(bytes);
        } else {
            fs::remove_file(folder.join(name)).map_err(wrong)?;
        }
    }
    for input in inputs.iter().filter(|input| !known.contains(input)) {
        fs::write(folder.join(name(input)), input).map_err(wrong)?;
    }
    Ok(())
}

/// A name for an input: its FNV-1a hash.
pub fn name(input: &[u8]) -> String {
    let hash = input.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    format!("{hash:016x}")
}
