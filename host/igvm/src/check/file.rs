//! Rules about what is in the file.

use igvm::{IgvmFile, IsolationType};
use igvm_loader::{Body, PageKind, ParameterKind, Platform};

use super::{Facts, Rule, require};

/// Bytes that an image may have.
const SIZE_LIMIT: usize = 2 * 1024 * 1024;

pub(super) const RULES: &[Rule] = &[
    Rule {
        statement: "the headers are well-formed, and no two of them contradict each other",
        source: "igvm_defs",
        test: |facts| {
            facts
                .snp
                .launch_digest()
                .map(|_| ())
                .map_err(|error| error.to_string())
        },
    },
    Rule {
        statement: "the igvm library, which QEMU uses, reads the file and finds the same number of headers",
        source: "crate igvm 0.5",
        test: library,
    },
    Rule {
        statement: "QEMU knows the type of every header",
        source: "QEMU backends/igvm.c: handlers",
        test: known_types,
    },
    Rule {
        statement: "the SEV-SNP platform has version 1 and no shared GPA boundary",
        source: "igvm_defs: IGVM_VHS_SUPPORTED_PLATFORM; this SVSM uses no virtual top of memory",
        test: platform,
    },
    Rule {
        statement: "there is one guest policy, with the reserved bit 17 and SMT (bit 16) set, and none that KVM refuses",
        source: "Linux svm/sev.c: snp_launch_start; 56860 §4.3",
        test: policy,
    },
    Rule {
        statement: "there is one CPUID page and one secrets page",
        source: "56860 §8.17; QEMU target/i386/sev.c: cgs_set_guest_state",
        test: firmware_pages,
    },
    Rule {
        statement: "page data avoid 0xa0000 to 0x100000 and 0xc0000000 to 4 GiB, where QEMU has no plain RAM",
        source: "QEMU backends/igvm.c: qigvm_prepare_memory; hw/i386/pc.c",
        test: holes,
    },
    Rule {
        statement: "parameter areas have no initial contents: QEMU would leave them out",
        source: "QEMU backends/igvm.c: qigvm_directive_parameter_area",
        test: initial_contents,
    },
    Rule {
        statement: "the memory map and the MADT start their areas: QEMU ignores the memory map's offset",
        source: "QEMU backends/igvm.c: qigvm_directive_memory_map",
        test: offsets,
    },
    Rule {
        statement: "every parameter area is inserted, for this or another platform",
        source: "igvm_defs: IGVM_VHS_PARAMETER_INSERT",
        test: inserted,
    },
    Rule {
        statement: "the services, if there are any, are such that the SVSM takes them",
        source: "this project: svsm_core::service",
        test: |facts| {
            crate::services::list(facts.headers.iter().copied())
                .map(|_| ())
                .map_err(|error| format!("{error:#}"))
        },
    },
    Rule {
        statement: "the file has at most 2 MiB",
        source: "this project",
        test: |facts| {
            let size = facts.bytes.len();
            require(size <= SIZE_LIMIT, || format!("it has {size} bytes"))
        },
    },
];

fn library(facts: &Facts<'_>) -> Result<(), String> {
    // The library ends the process on some headers of other platforms; it gets none of those.
    let plain = |body: &Body<'_>| match body {
        Body::Platform(platform) => {
            [Platform::Native as u8, Platform::SevSnp as u8].contains(&platform.platform_type)
        }
        Body::Unsupported { .. } | Body::Ignored | Body::VersionString(_) => false,
        _ => true,
    };
    for header in facts.image.headers().flatten() {
        require(plain(&header.body), || {
            format!(
                "not tried, because of the header of type {:#x} at offset {:#x}",
                header.typ, header.offset
            )
        })?;
    }
    let file = IgvmFile::new_from_binary(facts.bytes, Some(IsolationType::Snp))
        .map_err(|error| error.to_string())?;
    let (found, expected) = (
        file.initializations().len() + file.directives().len(),
        facts.headers.len(),
    );
    require(found == expected, || {
        format!("it finds {found} headers for SEV-SNP, expected {expected}")
    })
}

fn platform(facts: &Facts<'_>) -> Result<(), String> {
    let mut platforms = facts
        .image
        .platforms()
        .filter(|platform| platform.mask == facts.snp.mask());
    let Some(platform) = platforms.next() else {
        return Err("there is none".to_owned());
    };
    require(platform.version == 1, || {
        format!("its version is {}", platform.version)
    })?;
    let boundary = platform.shared_gpa_boundary;
    require(boundary == 0, || format!("its boundary is {boundary:#x}"))
}

fn known_types(facts: &Facts<'_>) -> Result<(), String> {
    for header in facts.image.headers().flatten() {
        let known = !matches!(
            header.body,
            Body::Unsupported { .. } | Body::Ignored | Body::VersionString(_)
        );
        let optional = header.typ & igvm_defs::IGVM_VHT_OPTIONAL_BIT != 0;
        require(known && !optional, || {
            format!(
                "it refuses type {:#x} at offset {:#x}",
                header.typ, header.offset
            )
        })?;
    }
    Ok(())
}

fn policy(facts: &Facts<'_>) -> Result<(), String> {
    let policy = facts.only("guest policy", |header| match header.body {
        Body::GuestPolicy { policy } => Some(policy),
        _ => None,
    })?;
    /// ABI version, SMT, the bit that must be one, debugging: what every KVM with SNP accepts.
    const ALLOWED: u64 = 0xB_FFFF;
    const NEEDED: u64 = 0x3_0000;
    require(policy & NEEDED == NEEDED, || {
        format!("policy {policy:#x} lacks bits of {NEEDED:#x}")
    })?;
    require(policy & !ALLOWED == 0, || {
        format!("policy {policy:#x} has bits besides {ALLOWED:#x}")
    })
}

fn firmware_pages(facts: &Facts<'_>) -> Result<(), String> {
    for (what, wanted) in [
        ("CPUID page", PageKind::Cpuid),
        ("secrets page", PageKind::Secrets),
    ] {
        facts.only(what, |header| match header.body {
            Body::PageData { kind, .. } if kind == wanted => Some(()),
            _ => None,
        })?;
    }
    Ok(())
}

fn holes(facts: &Facts<'_>) -> Result<(), String> {
    for header in &facts.headers {
        if let Body::PageData { gpa, .. } | Body::ParameterInsert { gpa, .. } = header.body {
            let hole =
                (0xA_0000..0x10_0000).contains(&gpa) || (0xC000_0000..0x1_0000_0000).contains(&gpa);
            require(!hole, || format!("there is a page at {gpa:#x}"))?;
        }
    }
    Ok(())
}

fn initial_contents(facts: &Facts<'_>) -> Result<(), String> {
    for header in &facts.headers {
        if let Body::ParameterArea {
            index,
            initial: Some(_),
            ..
        } = header.body
        {
            return Err(format!("parameter area {index} has some"));
        }
    }
    Ok(())
}

fn offsets(facts: &Facts<'_>) -> Result<(), String> {
    for header in &facts.headers {
        if let Body::Parameter {
            kind, byte_offset, ..
        } = header.body
        {
            let table = matches!(kind, ParameterKind::MemoryMap | ParameterKind::Madt);
            require(!table || byte_offset == 0, || {
                format!("the {} is at offset {byte_offset:#x}", kind.name())
            })?;
        }
    }
    Ok(())
}

fn inserted(facts: &Facts<'_>) -> Result<(), String> {
    let inserted = |wanted| {
        facts.image.headers().flatten().any(
            |header| matches!(header.body, Body::ParameterInsert { index, .. } if index == wanted),
        )
    };
    for header in &facts.headers {
        if let Body::ParameterArea { index, .. } = header.body {
            require(inserted(index), || format!("parameter area {index} is not"))?;
        }
    }
    Ok(())
}
