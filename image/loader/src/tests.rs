//! Files made by hand, byte by byte from the documentation of `igvm_defs`, so that a mistake of a builder cannot hide a
//! mistake of the loader.

mod bad_headers;
mod builder;
mod faults;
mod loading;
mod native;
