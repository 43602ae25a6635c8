//! Passes the payloads' linker script to the linker.
fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../rt/payload.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");
}
