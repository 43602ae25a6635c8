//! A vTPM whose secrets everybody knows: the test that looks for them in the machine's memory needs to know them too.
//! Otherwise as `main.rs` has it. No image but that test's may carry it.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
mod secrets;
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

/// On a host: what those secrets are.
#[cfg(not(target_os = "none"))]
fn main() {
    if secrets::print().is_none() {
        eprintln!("the engine does not do what it should");
        std::process::exit(1);
    }
}
