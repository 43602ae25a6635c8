//! A VMPL0 payload that holds a SEV-SNP machine to its specification: it prints one line per case, `ok NAME` or
//! `FAIL NAME: expected .. got ..`, then a closing count, and powers off.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
guest_rt::entry!(main);

#[cfg(target_os = "none")]
fn main() {
    guest_rt::println!(
        "conformance: VMPL{}, C-bit {:#x}",
        guest_rt::params::vmpl() as u8,
        guest_rt::paging::c_bit()
    );
}

#[cfg(not(target_os = "none"))]
fn main() {}
