//! REMAP_CA (58019 §7.1).

use crate::guest::{self, core, peek, poke};
use core::sync::atomic::Ordering;
use guest_rt::context::Context;
use guest_rt::ghcb::Ghcb;
use guest_rt::report::check;
use guest_rt::svsm::{self, NoAnswer, Path, Registers};
use guest_rt::{memory, need, paging};
use svsm_abi::core_call::{QUERY_PROTOCOL, REMAP_CA};
use svsm_abi::{protocol, result};

/// Runs the group.
pub fn run() {
    moving();
    refused();
}

fn query(area: u64) -> Result<u64, NoAnswer> {
    let mut registers = Registers::new(protocol::CORE, QUERY_PROTOCOL, 1, 0, 0);
    svsm::call_through(Path::Msr, &mut registers, area)
}

fn moving() {
    let old = svsm::caa();
    let new = need!("remap", guest::valid());
    // No call is pending in the new area, whatever was there; what follows the header stays.
    poke(new, u64::MAX);
    poke(new + 8, 0x1234);
    check(
        "remap-moves",
        Ok(result::SUCCESS),
        core(REMAP_CA, new, 0, 0),
    );
    check("remap-clears-header", 0, peek(new));
    check("remap-leaves-the-rest", 0x1234, peek(new + 8));
    check("remap-new-area-works", Ok(result::SUCCESS), query(new));
    check(
        "remap-old-area-does-not",
        Err(NoAnswer::Pending),
        query(old),
    );
    Context::current().caa.store(new, Ordering::Relaxed);
    check(
        "remap-to-itself",
        Ok(result::SUCCESS),
        core(REMAP_CA, new, 0, 0),
    );
    check("remap-to-itself-works", Ok(result::SUCCESS), query(new));
    // The old area is memory like any other again.
    check(
        "remap-old-area-rescinds",
        Ok(result::SUCCESS),
        guest::pvalidate_page(old, false),
    );
    check(
        "remap-old-area-validates",
        Ok(result::SUCCESS),
        guest::pvalidate_page(old, true),
    );
    // The one in force is not.
    check(
        "rescind-calling-area",
        Ok(result::INVALID_ADDRESS),
        guest::pvalidate_page(new, false),
    );
    check("remap-back", Ok(result::SUCCESS), core(REMAP_CA, old, 0, 0));
    Context::current().caa.store(old, Ordering::Relaxed);
    check("remap-back-works", Ok(result::SUCCESS), query(old));
}

fn refused() {
    let (svsm, size) = guest::svsm_memory();
    let (low_end, end) = guest::ram_ends();
    let page = need!("remap-refused", guest::valid());
    let unvalidated = need!("remap-refused", guest::assigned());
    let shared = need!("remap-refused", memory::shared_pages(1));
    let cases = [
        ("remap-unaligned-8", page + 8),
        ("remap-unaligned-1", page + 1),
        ("remap-unaligned-end", page + 0xFFF),
        ("remap-svsm-first-page", svsm),
        ("remap-svsm-second-page", svsm + 0x1000),
        ("remap-svsm-middle", svsm + size / 2),
        ("remap-svsm-last-page", svsm + size - 0x1000),
        ("remap-after-svsm", svsm + size),
        ("remap-before-svsm", svsm - 0x1000),
        ("remap-unvalidated", unvalidated),
        ("remap-shared", shared),
        ("remap-ghcb", Ghcb::current().gpa()),
        ("remap-hypervisor-page", guest::shared()),
        ("remap-end-of-low-ram", low_end),
        ("remap-end-of-ram", end),
        ("remap-local-apic", 0xFEE0_0000),
        ("remap-4-gib", 0xFFFF_F000),
        ("remap-with-c-bit", page | paging::c_bit()),
        ("remap-52-bits", 1 << 52),
        ("remap-all-ones-page", !0xFFF),
        ("remap-all-ones", u64::MAX),
    ];
    for (name, gpa) in cases {
        check(name, Ok(result::INVALID_ADDRESS), core(REMAP_CA, gpa, 0, 0));
    }
    check(
        "remap-refused-area-still-works",
        Ok(result::SUCCESS),
        query(svsm::caa()),
    );
}
