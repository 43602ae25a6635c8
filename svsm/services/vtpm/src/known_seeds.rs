//! A vTPM whose secrets everybody knows: the test that looks for them in the machine's memory needs to know them too.
//! Otherwise as `main.rs` has it. No image but that test's may carry it.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod serve;

#[cfg(target_os = "none")]
fn main() -> ! {
    service_rt::log!("INSECURE, FOR TESTS ONLY: every secret of it is known");
    let mut seeds = svsm_vtpm::KnownSeeds::new();
    serve::run(move || Some(seeds.next()))
}

#[cfg(target_os = "none")]
service_rt::entry!(main);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the vTPM runs in the SVSM: cargo xtask build");
}
