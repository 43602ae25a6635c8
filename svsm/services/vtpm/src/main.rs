//! The vTPM: a TPM 2.0 for the guest, manufactured at boot, in ring 3 of the SVSM.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod serve;

#[cfg(target_os = "none")]
fn main() -> ! {
    service_rt::log!("manufactured at boot; its state is lost at power-off");
    serve::run(service_rt::call::entropy)
}

#[cfg(target_os = "none")]
service_rt::entry!(main);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the vTPM runs in the SVSM: cargo xtask build");
}
