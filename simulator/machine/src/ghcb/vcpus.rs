//! Requests about vCPUs: creation, the list of APIC IDs, the doorbell page.

use super::page::Shared;
use crate::arch::percpu;
use crate::memory;
use crate::starts;
use crate::trace;
use crate::vcpu::{self, Vcpu, requests};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, SevFeatures, Vmpl, exit};
use snp_model::ghcb::{ApAction, Malformed, Reply};
use snp_model::trace::Topic;

fn invalid(field: &'static str, value: u64) -> Reply {
    Reply::malformed(Malformed::InvalidInput {
        exit_code: exit::AP_CREATION,
        field,
        value,
    })
}

/// AP_CREATION (56421 §4.1.9; refusals as KVM's `sev_snp_ap_creation`).
pub fn create(
    vcpu: &mut Vcpu,
    action: ApAction,
    vmpl: Vmpl,
    apic_id: u32,
    vmsa: u64,
    features: u64,
) -> Reply {
    trace!(
        vcpu,
        Topic::Ap,
        "AP creation {action:?} APIC ID {apic_id} VMPL{} VMSA {vmsa:#x} features {features:#x}",
        vmpl as u8
    );
    let Some(target) = percpu::all().find(|cpu| cpu.apic_id() == apic_id) else {
        return invalid("APIC ID", apic_id.into());
    };
    // No VMPL may start one that is above it.
    if vmpl < vcpu.vmpl() {
        return invalid("VMPL", vmpl as u64);
    }
    if action == ApAction::Destroy {
        requests::destroy(target.index(), vmpl);
        return Reply::OK;
    }
    let memory_there = memory::lock().frame(vmsa).is_some();
    if !vmsa.is_multiple_of(PAGE_SIZE) || vmsa.is_multiple_of(LARGE_PAGE_SIZE) || !memory_there {
        return invalid("VMSA GPA", vmsa);
    }
    let wrong = vcpu::features_of(vmpl).is_some_and(|fixed| fixed.bits() != features);
    if wrong || features & SevFeatures::SNP_ACTIVE.bits() == 0 {
        return invalid("SEV_FEATURES in RAX", features);
    }
    if vmpl != Vmpl::Vmpl0 {
        crate::watch::begin();
    }
    vcpu::fix_features(vmpl, features);
    match starts::due(target.index()) {
        Some(due) => {
            let now = action == ApAction::Create;
            requests::start(target.index(), vmpl, vmsa, now, due);
        }
        None => trace!(vcpu, Topic::Ap, "it is dead"),
    }
    Reply::OK
}

/// GET_APIC_IDS: how many pages the list needs, or the list.
pub fn apic_ids(pages: u64, list: u64) -> Reply {
    let count = percpu::count();
    let needed = ((count as u64 + 1) * 4).div_ceil(PAGE_SIZE);
    if pages < needed {
        return Reply::rax(needed);
    }
    let page = list
        .is_multiple_of(PAGE_SIZE)
        .then(|| Shared::at(list))
        .flatten();
    let Some(page) = page else {
        return Reply::malformed(Malformed::InvalidInput {
            exit_code: exit::GET_APIC_IDS,
            field: "list's GPA",
            value: list,
        });
    };
    page.write(0, &(count as u32).to_le_bytes());
    for (i, cpu) in percpu::all().enumerate() {
        page.write(4 + i * 4, &cpu.apic_id().to_le_bytes());
    }
    Reply::rax(pages)
}

/// HV_DOORBELL (56421 §4.1.10): 0 asks for the preferred page, 1 sets it, 2 asks for it, 3 clears it. As in KVM's series for
/// restricted injection, a request that is refused leaves no page set.
pub fn doorbell(vcpu: &mut Vcpu, operation: u64, gpa: u64) -> Reply {
    let level = vcpu.level();
    match operation {
        exit::DOORBELL_PREFERRED => Reply::info2(u64::MAX),
        exit::DOORBELL_SET if gpa.is_multiple_of(PAGE_SIZE) && Shared::at(gpa).is_some() => {
            level.doorbell = Some(gpa);
            Reply::info2(gpa)
        }
        exit::DOORBELL_QUERY => Reply::info2(level.doorbell.unwrap_or(u64::MAX)),
        exit::DOORBELL_CLEAR => {
            level.doorbell = None;
            Reply::OK
        }
        _ => {
            level.doorbell = None;
            Reply::malformed(Malformed::InvalidInput {
                exit_code: exit::HV_DOORBELL,
                field: "operation or GPA",
                value: gpa,
            })
        }
    }
}
