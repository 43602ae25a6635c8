//! Builds, measures and inspects Macadamia's IGVM images; the binary `macadamia-igvm` is a thin command line over it.
//!
//! - [`build`](mod@build) lays an image out and writes it with the `igvm` crate.
//! - [`measure`] computes the SEV-SNP launch digest from the file alone, with this project's own parser.
//! - [`inspect`] says in words what is in a file.
//! - [`check`] holds a file to the rules of QEMU's IGVM loader and of KVM, one by one.
#![forbid(unsafe_code)]

pub mod build;
pub mod check;
pub mod inspect;
pub mod measure;
mod services;
