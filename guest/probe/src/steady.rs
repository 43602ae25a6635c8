//! Answers that must be the same before and after everything: a check that the SVSM still is what it was.
//!
//! The guest cannot look at the SVSM's memory (an access ends it, see the fatal cases), so this is what it can see.

use crate::guest::{core, pvalidate_one, raw};
use guest_rt::params;
use guest_rt::svsm::{NoAnswer, Path, Registers, entry};
use snp_abi::PageSize;
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU, QUERY_PROTOCOL, REMAP_CA};
use svsm_abi::protocol;

/// Result codes and registers of calls that change nothing.
pub fn answers() -> [Result<u64, NoAnswer>; 8] {
    let (svsm, _) = crate::guest::svsm_memory();
    let query = |path| {
        raw(
            path,
            Registers::new(protocol::CORE, QUERY_PROTOCOL, 1, 0, 0),
        )
        .map(|r| r.rcx)
    };
    let own = params::guest().map_or(0, |p| p.region.base.get());
    [
        query(Path::Msr),
        query(Path::Nae),
        core(REMAP_CA, svsm, 0, 0),
        core(CREATE_VCPU, svsm, svsm, 0),
        core(DELETE_VCPU, svsm, 0, 0),
        core(0x1234, 0, 0, 0),
        pvalidate_one(entry(svsm, PageSize::Size4K, false)),
        pvalidate_one(entry(own, PageSize::Size4K, true)),
    ]
}
