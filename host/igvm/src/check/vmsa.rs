//! Rules about the first state of the boot processor. QEMU does not pass a VMSA on to KVM as it is: it sets registers,
//! from which KVM makes a VMSA of its own. Both are equal only for what the rules here allow.

use igvm_loader::{Body, PageKind};
use snp_abi::vmsa::{DR7_RESET, Segment, Vmsa};
use snp_abi::{LAUNCH_VMSA_GPA, SevFeatures};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::{Facts, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        statement: "there is one VP context, for VP 0, at 0xfffffffff000",
        source: "Linux svm/sev.c: INITIAL_VMSA_GPA; QEMU target/i386/sev.c: check_vmsa_supported",
        test: place,
    },
    Rule {
        statement: "the VMSA has only fields that QEMU passes on to KVM",
        source: "QEMU target/i386/sev.c: check_vmsa_supported",
        test: fields,
    },
    Rule {
        statement: "CR0 is 0x31 (protected mode) or 0x30 (real mode), as KVM measures it",
        source: "COCONUT-SVSM igvmmeasure: --check-kvm",
        test: |facts| {
            let cr0 = vmsa(facts)?.cr0.get();
            require(matches!(cr0, 0x30 | 0x31), || format!("it is {cr0:#x}"))
        },
    },
    Rule {
        statement: "DR7 is 0x400: KVM launches no processor with breakpoints",
        source: "Linux svm/sev.c: sev_es_sync_vmsa",
        test: |facts| {
            let dr7 = vmsa(facts)?.dr7.get();
            require(dr7 == DR7_RESET, || format!("it is {dr7:#x}"))
        },
    },
    Rule {
        statement: "EFER.SVME is set: VMRUN needs it",
        source: "APM vol. 2 §15.5.1",
        test: |facts| {
            let efer = vmsa(facts)?.efer.get();
            require(efer & 1 << 12 != 0, || format!("EFER is {efer:#x}"))
        },
    },
    Rule {
        statement: "SEV_FEATURES has SNP_ACTIVE, and not both kinds of injection",
        source: "QEMU target/i386/sev.c: check_sev_features; APM vol. 2 §15.36.15",
        test: features,
    },
    Rule {
        statement: "the first instruction is in a launched page",
        source: "APM vol. 2 §15.36.7: an access to a page that is not validated faults",
        test: entry,
    },
];

fn vmsa(facts: &Facts<'_>) -> Result<Vmsa, String> {
    let (_, _, contents) = facts.vp_context()?;
    Vmsa::read_from_bytes(contents).map_err(|error| error.to_string())
}

fn place(facts: &Facts<'_>) -> Result<(), String> {
    let (gpa, vp_index, _) = facts.vp_context()?;
    require(gpa == LAUNCH_VMSA_GPA, || format!("it is at {gpa:#x}"))?;
    require(vp_index == 0, || format!("it is for VP {vp_index}"))
}

/// Takes all that is passed on away and looks whether anything is left.
fn fields(facts: &Facts<'_>) -> Result<(), String> {
    let mut rest = vmsa(facts)?;
    for segment in [
        &mut rest.es,
        &mut rest.cs,
        &mut rest.ss,
        &mut rest.ds,
        &mut rest.fs,
        &mut rest.gs,
        &mut rest.gdtr,
        &mut rest.idtr,
        &mut rest.ldtr,
        &mut rest.tr,
    ] {
        *segment = Segment::default();
    }
    for register in [
        &mut rest.efer,
        &mut rest.cr0,
        &mut rest.cr3,
        &mut rest.cr4,
        &mut rest.xcr0,
        &mut rest.dr6,
        &mut rest.dr7,
        &mut rest.rax,
        &mut rest.rcx,
        &mut rest.rdx,
        &mut rest.rbx,
        &mut rest.rsp,
        &mut rest.rbp,
        &mut rest.rsi,
        &mut rest.rdi,
        &mut rest.r8,
        &mut rest.r9,
        &mut rest.r10,
        &mut rest.r11,
        &mut rest.r12,
        &mut rest.r13,
        &mut rest.r14,
        &mut rest.r15,
        &mut rest.rip,
        &mut rest.rflags,
        &mut rest.g_pat,
        &mut rest.sev_features,
    ] {
        *register = U64::new(0);
    }
    rest.x87_fcw = U16::new(0);
    rest.mxcsr = U32::new(0);
    let left = rest.as_bytes().iter().position(|&byte| byte != 0);
    match left {
        None => Ok(()),
        Some(offset) => Err(format!(
            "the byte at offset {offset:#x} of the VMSA is not zero"
        )),
    }
}

fn features(facts: &Facts<'_>) -> Result<(), String> {
    let features = SevFeatures::from_bits_retain(vmsa(facts)?.sev_features.get());
    let both = SevFeatures::RESTRICTED_INJECTION | SevFeatures::ALTERNATE_INJECTION;
    let good = features.contains(SevFeatures::SNP_ACTIVE) && !features.contains(both);
    require(good, || format!("it is {:#x}", features.bits()))
}

fn entry(facts: &Facts<'_>) -> Result<(), String> {
    let vmsa = vmsa(facts)?;
    let at = vmsa.cs.base.get().wrapping_add(vmsa.rip.get());
    let page = at & !0xFFF;
    let launched = facts.headers.iter().any(|header| {
        matches!(header.body, Body::PageData { gpa, kind: PageKind::Normal, .. } if gpa == page)
    });
    // With paging the address is a virtual one, and the tables are in the image: not decided here.
    require(launched || vmsa.cr0.get() >> 31 == 1, || {
        format!("it is at {at:#x}")
    })
}
