//! `#[svsm_tests]` and `#[svsm_test]`: tests that run inside the SVSM's kernel.
//!
//! The first stands on a module with a name for the group, the second on those of its functions that are tests. The module
//! gets a constant `TESTS` with all of them by name: neither a list by hand, which would miss one, nor a section of the
//! linker's, which would need `unsafe`.
//!
//! A test takes nothing and returns nothing. What it says by the kernel's macros `check!`, `check_eq!` and `skip!` ends it by
//! `return`; one that reaches its end has passed.
#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// On a module: `#[svsm_tests(GROUP)] mod NAME { … }`.
#[proc_macro_attribute]
pub fn svsm_tests(group: TokenStream, module: TokenStream) -> TokenStream {
    let group = group.to_string();
    let mut tokens: Vec<TokenTree> = module.into_iter().collect();
    match tokens.pop() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
            let (mut inside, names) = body_with_outcomes(body.stream());
            if names.is_empty() {
                return error("a module without a #[svsm_test]");
            }
            inside.extend(list(&group, &names));
            tokens.push(Group::new(Delimiter::Brace, inside).into());
            tokens.into_iter().collect()
        }
        _ => error("#[svsm_tests] belongs on a module with its contents in braces"),
    }
}

/// On a function in such a module.
#[proc_macro_attribute]
pub fn svsm_test(_: TokenStream, _: TokenStream) -> TokenStream {
    error("#[svsm_test] belongs directly into a module with #[svsm_tests]")
}

/// The module's contents: each test returns an outcome, and has lost its mark. The names of the tests.
fn body_with_outcomes(body: TokenStream) -> (TokenStream, Vec<String>) {
    let mut names = Vec::new();
    let mut out: Vec<TokenTree> = Vec::new();
    let mut is_test = false;
    let mut tokens = body.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if tokens.peek().is_some_and(is_mark) {
                    tokens.next();
                    is_test = true;
                    continue;
                }
                out.push(token);
            }
            TokenTree::Ident(word) if is_test && word.to_string() == "fn" => {
                if let Some(name) = tokens.peek() {
                    names.push(name.to_string());
                }
                out.push(token);
            }
            TokenTree::Group(group) if is_test && group.delimiter() == Delimiter::Brace => {
                is_test = false;
                out.extend(stream("-> crate::tests::Outcome"));
                let mut inside: TokenStream = [token].into_iter().collect();
                inside.extend(stream("Ok(())"));
                out.push(Group::new(Delimiter::Brace, inside).into());
            }
            _ => out.push(token),
        }
    }
    (out.into_iter().collect(), names)
}

/// Whether it is `[svsm_test]`.
fn is_mark(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket
        && group.stream().to_string() == "svsm_test")
}

/// The constant.
fn list(group: &str, names: &[String]) -> TokenStream {
    let entries: String = names
        .iter()
        .map(|name| format!("crate::tests::Test {{ name: \"{group}::{name}\", run: {name} }},"))
        .collect();
    stream(&format!(
        "/// The tests.\npub const TESTS: &[crate::tests::Test] = &[{entries}];"
    ))
}

/// A compile error with this text.
fn error(text: &str) -> TokenStream {
    stream(&format!("compile_error!({text:?});"))
}

/// Rust from text that is written here.
fn stream(text: &str) -> TokenStream {
    text.parse().unwrap_or_default()
}
