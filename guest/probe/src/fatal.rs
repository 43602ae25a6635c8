//! What ends a guest that reaches for what is not its own: one boot each. `cases/fatal.txt` has what each must end in.

use crate::guest::{self, core, poke};
use crate::vcpu::{apic_ids, idle, write_vmsa};
use guest_rt::context::Context;
use guest_rt::paging::{self, Mapping};
use guest_rt::report::fail;
use guest_rt::{exec, msr_protocol, println};
use svsm_abi::core_call::CREATE_VCPU;

const CASES: &[(&str, fn())] = &[
    ("read-svsm", || reach(|va| drop_result(exec::read(va)))),
    ("write-svsm", || reach(poke_at)),
    ("execute-svsm", || reach(call)),
    ("write-svsm-last-page", || {
        let (base, size) = guest::svsm_memory();
        if guest::reach(base + size - 0x1000) {
            poke(base + size - 0x1000, 1);
        }
    }),
    ("shared-write-svsm", shared_write),
    ("write-vmsa", write_to_vmsa),
    ("terminate", || msr_protocol::terminate(1, 4)),
];

/// Runs the case of that name, if there is one.
pub fn run(name: &str) -> bool {
    let Some((name, case)) = CASES.iter().find(|(known, _)| *known == name) else {
        return false;
    };
    println!("begin {name}");
    case();
    fail(name, "the machine to stop", "a machine that went on");
    true
}

fn drop_result<T>(_: T) {}

fn reach(access: fn(u64)) {
    let (base, _) = guest::svsm_memory();
    if guest::reach(base) {
        access(base);
    }
}

fn poke_at(va: u64) {
    poke(va, 0);
}

fn call(va: u64) {
    // SAFETY: it must fault; what else it does is what the case asks.
    drop_result(unsafe { exec::call(va) });
}

fn shared_write() {
    let (base, _) = guest::svsm_memory();
    let va = 0x50_0000_0000;
    if paging::map(va, base, Mapping::SHARED).is_ok() {
        poke(va, 0);
    }
}

fn write_to_vmsa() {
    let (ids, count) = apic_ids();
    let (Ok(page), Ok(area)) = (guest::valid(), guest::valid()) else {
        return;
    };
    write_vmsa(page, Context::new(), idle, |_| {});
    let created = core(CREATE_VCPU, page, area, ids[count - 1] as u64);
    println!("{created:x?}");
    poke(page, 0);
}
