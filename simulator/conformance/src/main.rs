//! A VMPL0 payload that holds a SEV-SNP machine to its specification: it prints one line per case, `ok NAME` or
//! `FAIL NAME: expected .. got ..`, then a closing count, and powers off.
//!
//! The expectations are the specification's (APM vol. 2 and 3, 56421, and what KVM and Linux make of them), not this
//! project's machine's: nothing of `simulator/` is linked.
//!
//! The fw_cfg file [`boot_abi::fw_cfg::TEST_CASE`] chooses: absent, all ordinary cases; the name of a group, that group;
//! the name of a fatal case (see [`fatal`]), that case, which the machine must end with a diagnosis. `cases/fatal.txt`
//! beside this crate's `src` lists the fatal cases with what each must end in.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod cases;
#[cfg(target_os = "none")]
mod fatal;
#[cfg(target_os = "none")]
mod ram;

#[cfg(target_os = "none")]
guest_rt::entry!(main);

#[cfg(target_os = "none")]
fn main() {
    use guest_rt::{fw_cfg, paging, params, println, report};
    println!(
        "conformance: VMPL{}, C-bit {:#x}",
        params::vmpl() as u8,
        paging::c_bit()
    );
    let mut name = [0; 64];
    let chosen = fw_cfg::find(boot_abi::fw_cfg::TEST_CASE)
        .and_then(|file| file.read_text(&mut name))
        .unwrap_or("");
    if !ram::available() {
        println!("FAIL memory: expected 64 MiB of RAM from 16 MiB on got less in the memory map");
        return;
    }
    if fatal::run(chosen) {
        return;
    }
    if let Err(error) = guest_rt::levels::set_up() {
        println!("FAIL levels-set-up: expected VMPL1 to VMPL3 to start got {error:?}");
        return;
    }
    let mut found = false;
    for (group, run) in cases::GROUPS {
        if chosen.is_empty() || chosen == *group {
            found = true;
            run();
        }
    }
    if !found {
        println!("FAIL choice: expected a known group or case got {chosen}");
    }
    report::close("conformance");
}

#[cfg(not(target_os = "none"))]
fn main() {}
