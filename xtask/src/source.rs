//! Counts in Rust source: `unsafe` and lines of code. A small scanner blanks out comments, strings and test modules, so
//! that only code is counted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What is counted in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The keyword `unsafe`, wherever it stands: blocks, functions, implementations, attributes.
    pub unsafes: usize,
    /// Lines with code on them, tests left out.
    pub lines: usize,
}

/// Counts over all Rust files below `folder`.
pub fn count_folder(folder: &Path) -> Result<Counts> {
    let mut total = Counts::default();
    for path in rust_files(folder)? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let counts = count(&text);
        total.unsafes += counts.unsafes;
        total.lines += counts.lines;
    }
    Ok(total)
}

/// All Rust files below `folder`, in the order of names; a file is its own only one.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Counts in one file's text. `unsafe` in tests counts too.
pub fn count(text: &str) -> Counts {
    let code = code_only(text);
    Counts {
        unsafes: words(&code).filter(|word| *word == "unsafe").count(),
        lines: without_tests(&code)
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count(),
    }
}

/// What `text` declares to be shared by its own word: its statics (those of assembler and linker script too) by name, its
/// `unsafe impl`s as `Trait for Type`. Tests are left out.
pub fn shared_items(text: &str) -> Vec<String> {
    let code = without_tests(&code_only(text));
    let tokens: Vec<&str> = tokens(&code).collect();
    let mut items = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |before| tokens[before]);
        let after = &tokens[at + 1..];
        match *token {
            // Not the lifetime.
            "static" if before != "'" => {
                let name = after.iter().find(|&&token| token != "mut");
                items.extend(name.map(|&name| name.to_owned()));
            }
            "impl" if before == "unsafe" => items.extend(implementation(after)),
            _ => {}
        }
    }
    items
}

/// `Trait for Type` of what follows the word `impl`, without paths and parameters.
fn implementation(tokens: &[&str]) -> Option<String> {
    let mut depth = 0_usize;
    let mut names = [""; 2];
    let mut part = 0;
    for &token in tokens {
        match token {
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            "for" if depth == 0 => part = 1,
            "{" | "where" if depth == 0 => break,
            name if depth == 0 && name.starts_with(|first: char| first.is_alphabetic()) => {
                names[part] = name;
            }
            _ => {}
        }
    }
    (part == 1).then(|| format!("{} for {}", names[0], names[1]))
}

/// Identifiers, keywords and numbers as a whole, all else character by character.
fn tokens(code: &str) -> impl Iterator<Item = &str> {
    let mut rest = code.trim_start();
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let length = if is_word(first) {
            rest.find(|character| !is_word(character))
                .unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        rest = after.trim_start();
        Some(token)
    })
}

/// Identifiers and keywords.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
}

/// `text` with comments and the insides of strings and characters blanked out, line by line the same length.
pub fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest, &code) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (skipped, after) = rest.split_at(length);
        code.extend(
            skipped
                .chars()
                .map(|character| if character == '\n' { '\n' } else { ' ' }),
        );
        rest = after;
    }
    code
}

/// Bytes of the block comment at the start; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        if rest.is_empty() {
            break;
        } else if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Bytes of the raw string at the start, if one is there; `before` tells an `r` that ends an identifier from one that
/// starts a string.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|character: char| character.is_alphanumeric() || character == '_') {
        return None;
    }
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// Bytes of the quoted text at the start, with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Whether the apostrophe at the start opens a character rather than a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// `code` without what follows a `#[cfg(test)]`, up to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let after = &rest[at + MARK.len()..];
        let mut depth = 0_usize;
        let end = after.char_indices().find_map(|(at, character)| {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (depth == 0 && matches!(character, '}' | ';')).then_some(at + 1)
        });
        rest = &after[end.unwrap_or(after.len())..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keyword_in_code_counts() {
        let text = r##"
            // unsafe
            /* unsafe /* unsafe */ unsafe */
            #![forbid(unsafe_code)]
            fn quote<'a>() -> char { '"' }
            const TEXT: &str = "unsafe \" unsafe";
            const RAW: &str = r#"unsafe " unsafe"#;
            unsafe fn one() { unsafe { two() } }
        "##;
        assert_eq!(count(text).unsafes, 2);
        assert_eq!(count(text).lines, 5);
    }

    #[test]
    fn statics_and_unsafe_implementations_are_found_by_name() {
        let text = r#"
            pub(super) static MEMORY: SpinLock<Memory> = SpinLock::new(Memory { a: 0 });
            unsafe extern "C" { safe static table: [u64; 2]; static mut rt_pml4: u64; }
            fn f(x: &'static mut u8) -> &'static str { static INNER: u8 = 0; "static TEXT" }
            // static COMMENT: u8 = 0;
            unsafe impl<T: Send + Into<Vec<u8>>> Sync for Once<T> where T: Copy {}
            unsafe
            impl dlmalloc::Allocator for Pages {}
            impl Sync for Safe {}
            #[cfg(test)]
            mod tests { static TEST: u8 = 0; }
        "#;
        let expected = [
            "MEMORY",
            "table",
            "rt_pml4",
            "INNER",
            "Sync for Once",
            "Allocator for Pages",
        ];
        assert_eq!(shared_items(text), expected);
    }

    #[test]
    fn tests_are_no_lines_of_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { if x { } }\n}\n\nfn c() {}\n";
        assert_eq!(count(text).lines, 2);
        let text = "#[cfg(test)]\nmod tests;\nfn c() {}\n";
        assert_eq!(count(text).lines, 1);
    }
}
