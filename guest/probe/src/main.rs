//! A test guest that makes every SVSM call, well-formed and hostile.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
guest_rt::entry!(main);

#[cfg(target_os = "none")]
fn main() {
    guest_rt::println!("probe: VMPL{}", guest_rt::params::vmpl() as u8);
}

#[cfg(not(target_os = "none"))]
fn main() {}
