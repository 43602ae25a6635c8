//! Fuzzing of everything that parses foreign bytes, on stable Rust: LLVM's coverage pass, whose hooks are in
//! `coverage-hooks`, tells which inputs are new; the rest is here, in safe code.
//!
//! Each [`target::Target`] is a parser with what must hold for any input, beyond that nothing panics: what was accepted
//! lies within its bounds, two parsers of the same thing agree, a refused request has changed nothing.
//! `docs/src/fuzzing.md` says how to use it.
#![forbid(unsafe_code)]

pub mod corpus;
pub mod engine;
pub mod failure;
mod mutate;
pub mod target;
pub mod targets;
