//! A test guest that makes every SVSM call, well-formed and hostile, from one vCPU and from several at once. It runs where
//! the shim would, at VMPL2, and prints one line per case, then a closing count, and powers off.
//!
//! The expectations are those of the SVSM specification (58019 §5 to §7) and of what Linux and OVMF rely on;
//! `docs/src/core-protocol.md` has the choices that the specification leaves to an SVSM.
//!
//! The fw_cfg file [`boot_abi::fw_cfg::TEST_CASE`] chooses: absent, all groups but those that say otherwise; the name of a
//! group, that one; the name of a fatal case (`cases/fatal.txt`), that one, which the machine must end.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bench;
#[cfg(target_os = "none")]
mod concurrent;
#[cfg(target_os = "none")]
mod crew;
#[cfg(target_os = "none")]
mod fatal;
#[cfg(target_os = "none")]
mod guest;
#[cfg(target_os = "none")]
mod isolation;
#[cfg(target_os = "none")]
mod lists;
#[cfg(target_os = "none")]
mod other;
#[cfg(target_os = "none")]
mod pvalidate;
#[cfg(target_os = "none")]
mod remap;
#[cfg(target_os = "none")]
mod sha256;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod steady;
#[cfg(target_os = "none")]
mod tpm;
#[cfg(target_os = "none")]
mod vcpu;
#[cfg(target_os = "none")]
mod vtpm;
#[cfg(target_os = "none")]
mod vtpm_buffers;
#[cfg(target_os = "none")]
mod vtpm_concurrent;
#[cfg(target_os = "none")]
mod vtpm_gap;
#[cfg(target_os = "none")]
mod vtpm_slices;

#[cfg(target_os = "none")]
guest_rt::entry!(main);

/// Groups by name, in the order they run.
#[cfg(target_os = "none")]
const GROUPS: &[(&str, fn())] = &[
    ("other", other::run),
    ("remap", remap::run),
    ("pvalidate", pvalidate::run),
    ("lists", lists::run),
    ("vcpu", vcpu::run),
    ("vtpm", vtpm::run),
    ("concurrent", concurrent::run),
];

/// Groups that run only when they are chosen.
#[cfg(target_os = "none")]
const CHOSEN: &[(&str, fn())] = &[("vtpm-gap", vtpm_gap::run), ("bench", bench::run)];

#[cfg(target_os = "none")]
fn main() {
    use guest_rt::{fw_cfg, params, println, report};
    println!("probe: VMPL{}", params::vmpl() as u8);
    let mut name = [0; 64];
    let chosen = fw_cfg::find(boot_abi::fw_cfg::TEST_CASE)
        .and_then(|file| file.read_text(&mut name))
        .unwrap_or("");
    if !guest::usable() {
        println!(
            "FAIL setup: expected an SVSM's guest with 64 MiB of RAM from 16 MiB on got something else"
        );
        return;
    }
    if fatal::run(chosen) {
        return;
    }
    if isolation::run(chosen) {
        report::close("probe");
        return;
    }
    let before = steady::answers();
    let mut found = false;
    let all = GROUPS.iter().filter(|_| chosen.is_empty());
    let named = GROUPS.iter().chain(CHOSEN);
    for (_, run) in all.chain(named.filter(|(group, _)| chosen == *group)) {
        found = true;
        run();
    }
    if !found {
        println!("FAIL choice: expected a known group or case got {chosen}");
    }
    report::check("answers-the-same-at-the-end", before, steady::answers());
    report::close("probe");
}

#[cfg(not(target_os = "none"))]
fn main() {}
