//! CREATE_VCPU and DELETE_VCPU (58019 §7.3, §7.4), and what is left of a page that became a VMSA.

use crate::guest::{self, core, peek, poke, pvalidate_page};
use core::mem::offset_of;
use guest_rt::context::Context;
use guest_rt::ghcb::Ghcb;
use guest_rt::report::{check, check_that, skip};
use guest_rt::svsm::{self, NoAnswer};
use guest_rt::{memory, nae, need, paging, params, vmsa};
use snp_abi::vmsa::Vmsa;
use snp_abi::{SevFeatures, Vmpl, msr};
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU, REMAP_CA};
use svsm_abi::result;

const OK: u64 = result::SUCCESS;

/// APIC IDs of all vCPUs, the boot processor's first, by the hypervisor's list (56421 §4.1.15); the first 16 at most.
pub fn apic_ids() -> ([u32; 16], usize) {
    let mut ids = [0; 16];
    let Ok(page) = memory::shared_pages(1) else {
        return (ids, 1);
    };
    if nae::apic_ids(1, page) != Ok(1) {
        return (ids, 1);
    }
    let word = |i: usize| (peek(page + i as u64 / 2 * 8) >> (i % 2 * 32)) as u32;
    let count = (word(0) as usize).clamp(1, ids.len());
    for (i, id) in ids.iter_mut().take(count).enumerate() {
        *id = word(i + 1);
    }
    (ids, count)
}

/// What a case changes in a VMSA that is in order.
type Change = fn(&mut Vmsa);

/// A VMSA that the SVSM must accept, in a page of the guest's; it would run `entry`.
pub fn write_vmsa(page: u64, context: &'static Context, entry: vmsa::Entry, change: Change) {
    let mut state = vmsa::for_context(context, Vmpl::Vmpl2, params::sev_features(), entry, 0);
    change(&mut state);
    // SAFETY: the page is a case's own.
    unsafe { vmsa::write(page, &state) };
}

/// Never run: what VMSAs of refused calls would start.
pub extern "C" fn idle(_: u64) {}

fn create(vmsa: u64, caa: u64, apic_id: u32) -> Result<u64, NoAnswer> {
    core(CREATE_VCPU, vmsa, caa, apic_id as u64)
}

/// DELETE_VCPU.
pub fn delete(vmsa: u64) -> Result<u64, NoAnswer> {
    core(DELETE_VCPU, vmsa, 0, 0)
}

/// Runs the group.
pub fn run() {
    let (ids, count) = apic_ids();
    check_that(
        "apic-ids",
        ids[0] == 0 && count >= 1,
        "0 first",
        (ids[0], count),
    );
    let context = Context::new();
    // A vCPU that nothing runs on yet. With one vCPU there is none: then only what must be refused is asked for.
    let spare = ids[count - 1];
    state_checks(context, spare);
    places(context, spare);
    deletes();
    if count < 2 {
        return skip("vcpu-create", "one vCPU");
    }
    as_memory(context, spare);
    crate::start::run(spare);
}

/// Contents of the VMSA that the SVSM must refuse; the page stays the guest's.
fn state_checks(context: &'static Context, apic_id: u32) {
    let page = need!("create-bad-vmsa", guest::valid());
    let caa = need!("create-bad-vmsa", guest::valid());
    let cases: [(&str, Change); 12] = [
        ("create-vmpl-0", |v| v.vmpl = 0),
        ("create-vmpl-1", |v| v.vmpl = 1),
        ("create-vmpl-3", |v| v.vmpl = 3),
        ("create-vmpl-4", |v| v.vmpl = 4),
        ("create-vmpl-255", |v| v.vmpl = 0xFF),
        ("create-without-svme", |v| {
            v.efer.set(v.efer.get() & !msr::EFER_SVME)
        }),
        ("create-efer-0", |v| v.efer.set(0)),
        ("create-features-0", |v| v.sev_features.set(0)),
        ("create-features-restricted-injection", |v| {
            v.sev_features
                .set((SevFeatures::SNP_ACTIVE | SevFeatures::RESTRICTED_INJECTION).bits())
        }),
        ("create-features-vtom", |v| {
            v.sev_features
                .set((SevFeatures::SNP_ACTIVE | SevFeatures::VTOM).bits())
        }),
        ("create-features-bit-63", |v| {
            v.sev_features.set(1 << 63 | 1)
        }),
        ("create-features-all-ones", |v| v.sev_features.set(u64::MAX)),
    ];
    for (name, change) in cases {
        write_vmsa(page, context, idle, change);
        check(
            name,
            Ok(result::INVALID_PARAMETER),
            create(page, caa, apic_id),
        );
    }
    poke(page, 0x77);
    check("create-refused-page-is-the-guests", 0x77, peek(page));
    check(
        "create-refused-page-rescinds",
        Ok(OK),
        pvalidate_page(page, false),
    );
    check(
        "create-refused-area-rescinds",
        Ok(OK),
        pvalidate_page(caa, false),
    );
}

/// Pages that cannot be a VMSA or a calling area.
fn places(context: &'static Context, apic_id: u32) {
    let (svsm, size) = guest::svsm_memory();
    let (low_end, end) = guest::ram_ends();
    let good = need!("create-bad-place", guest::valid());
    let area = need!("create-bad-place", guest::valid());
    write_vmsa(good, context, idle, |_| {});
    let unvalidated = need!("create-bad-place", guest::assigned());
    let shared = need!("create-bad-place", memory::shared_pages(1));
    let bad = [
        ("create-vmsa-svsm", "create-area-svsm", svsm),
        (
            "create-vmsa-svsm-second-page",
            "create-area-svsm-second-page",
            svsm + 0x1000,
        ),
        (
            "create-vmsa-svsm-middle",
            "create-area-svsm-middle",
            svsm + size / 2,
        ),
        (
            "create-vmsa-svsm-last-page",
            "create-area-svsm-last-page",
            svsm + size - 0x1000,
        ),
        (
            "create-vmsa-unvalidated",
            "create-area-unvalidated",
            unvalidated,
        ),
        ("create-vmsa-shared", "create-area-shared", shared),
        (
            "create-vmsa-ghcb",
            "create-area-ghcb",
            Ghcb::current().gpa(),
        ),
        (
            "create-vmsa-own-calling-area",
            "create-area-own-calling-area",
            svsm::caa(),
        ),
        (
            "create-vmsa-end-of-low-ram",
            "create-area-end-of-low-ram",
            low_end,
        ),
        ("create-vmsa-end-of-ram", "create-area-end-of-ram", end),
        (
            "create-vmsa-local-apic",
            "create-area-local-apic",
            0xFEE0_0000,
        ),
        ("create-vmsa-52-bits", "create-area-52-bits", 1 << 52),
        ("create-vmsa-last-page", "create-area-last-page", !0xFFF),
        (
            "create-vmsa-unaligned",
            "create-area-unaligned",
            good + 0x10,
        ),
        (
            "create-vmsa-unaligned-1",
            "create-area-unaligned-1",
            area + 1,
        ),
        (
            "create-vmsa-with-c-bit",
            "create-area-with-c-bit",
            good | paging::c_bit(),
        ),
    ];
    for (vmsa_name, area_name, gpa) in bad {
        check(
            vmsa_name,
            Ok(result::INVALID_ADDRESS),
            create(gpa, area, apic_id),
        );
        // On one vCPU the boot processor keeps its own calling area, which is then in order.
        if gpa != svsm::caa() || apic_id != 0 {
            check(
                area_name,
                Ok(result::INVALID_ADDRESS),
                create(good, gpa, apic_id),
            );
        }
    }
    check(
        "create-vmsa-is-area",
        Ok(result::INVALID_ADDRESS),
        create(good, good, apic_id),
    );
    for (name, id) in [
        ("create-apic-id-unknown", 0xFFFF),
        ("create-apic-id-256", 256),
        ("create-apic-id-all-ones", u32::MAX),
    ] {
        check(name, Ok(result::INVALID_PARAMETER), create(good, area, id));
    }
    poke(good, 0x78);
    check("create-refused-places-page-is-the-guests", 0x78, peek(good));
}

/// What is no VMSA cannot be deleted.
fn deletes() {
    let (svsm, size) = guest::svsm_memory();
    let page = need!("delete-bad", guest::valid());
    for (name, gpa) in [
        ("delete-ordinary-page", page),
        ("delete-calling-area", svsm::caa()),
        ("delete-svsm", svsm),
        ("delete-svsm-second-page", svsm + 0x1000),
        ("delete-svsm-last-page", svsm + size - 0x1000),
        ("delete-unaligned", page + 8),
        ("delete-0-plus-1", 1),
        ("delete-52-bits", 1 << 52),
        ("delete-all-ones", u64::MAX),
        ("delete-local-apic", 0xFEE0_0000),
    ] {
        let got = delete(gpa);
        let refused = matches!(got, Ok(result::INVALID_PARAMETER | result::INVALID_ADDRESS));
        check_that(name, refused, "INVALID_PARAMETER or INVALID_ADDRESS", got);
    }
}

/// A page that is a VMSA is nothing else until it is deleted.
fn as_memory(context: &'static Context, apic_id: u32) {
    let page = need!("vmsa-page", guest::valid());
    let caa = need!("vmsa-page", guest::valid());
    let other = need!("vmsa-page", guest::valid());
    let other_caa = need!("vmsa-page", guest::valid());
    write_vmsa(page, context, idle, |_| {});
    poke(caa, u64::MAX);
    check("create", Ok(OK), create(page, caa, apic_id));
    check("create-clears-area-header", 0, peek(caa));
    let features = peek(page + offset_of!(Vmsa, sev_features) as u64);
    check(
        "vmsa-page-readable",
        params::sev_features().bits(),
        features,
    );
    let refused = Ok(result::INVALID_ADDRESS);
    check("vmsa-page-rescind", refused, pvalidate_page(page, false));
    check("vmsa-page-validate", refused, pvalidate_page(page, true));
    check(
        "vmsa-page-as-calling-area",
        refused,
        core(REMAP_CA, page, 0, 0),
    );
    check(
        "vmsa-page-as-vmsa-again",
        refused,
        create(page, other_caa, apic_id),
    );
    check("vmsa-page-as-list", refused, guest::pvalidate_list(page));
    write_vmsa(other, context, idle, |_| {});
    check(
        "vmsa-page-as-area-of-another",
        refused,
        create(other, page, apic_id),
    );
    check("other-area-rescind", refused, pvalidate_page(caa, false));
    check("other-area-as-own", refused, core(REMAP_CA, caa, 0, 0));
    check(
        "other-area-as-vmsa",
        refused,
        create(caa, other_caa, apic_id),
    );
    let large = svsm::entry(page & !0x1F_FFFF, snp_abi::PageSize::Size2M, false);
    let got = guest::pvalidate_one(large);
    let kept = matches!(
        got,
        Ok(result::INVALID_ADDRESS | result::PVALIDATE_SIZE_MISMATCH)
    );
    check_that(
        "vmsa-page-in-large-rescind",
        kept,
        "INVALID_ADDRESS or size mismatch",
        got,
    );
    // The same vCPU again, with another VMSA: the first one is no longer what it runs, but still a VMSA.
    check(
        "create-again-same-area",
        Ok(OK),
        create(other, caa, apic_id),
    );
    check("delete-first", Ok(OK), delete(page));
    check(
        "delete-first-again",
        Ok(result::INVALID_PARAMETER),
        delete(page),
    );
    check("delete-second", Ok(OK), delete(other));
    poke(page, 0x79);
    check("deleted-page-writable", 0x79, peek(page));
    check("deleted-page-rescinds", Ok(OK), pvalidate_page(page, false));
    check("deleted-area-rescinds", Ok(OK), pvalidate_page(caa, false));
    check("deleted-page-validates", Ok(OK), pvalidate_page(page, true));
    check("deleted-page-cleared", 0, peek(page));
}
