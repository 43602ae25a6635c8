//! Rules about the order of headers, on which the launch digest depends.

use igvm_loader::Body;

use super::{Facts, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        statement: "required memory comes before the pages in it: QEMU makes one region of it only if nothing is there",
        source: "QEMU backends/igvm.c: qigvm_prepare_memory",
        test: required_memory,
    },
    Rule {
        statement: "parameters are inserted before page data: QEMU launches page data late, when a run of pages ends",
        source: "QEMU backends/igvm.c: qigvm_process_mem_page",
        test: parameters,
    },
    Rule {
        statement: "page data are in the order of their addresses, so that QEMU makes few runs of them",
        source: "QEMU backends/igvm.c: qigvm_process_mem_page",
        test: ascending,
    },
    Rule {
        statement: "the VP context is the last directive: KVM measures VMSAs when the launch is finished",
        source: "Linux svm/sev.c: snp_launch_finish",
        test: context,
    },
];

fn required_memory(facts: &Facts<'_>) -> Result<(), String> {
    for memory in &facts.headers {
        let Body::RequiredMemory { gpa, bytes } = memory.body else {
            continue;
        };
        let range = gpa..gpa.saturating_add(bytes);
        for page in &facts.headers {
            if let Body::PageData { gpa, .. } | Body::ParameterInsert { gpa, .. } = page.body {
                require(!range.contains(&gpa) || memory.offset < page.offset, || {
                    format!(
                        "the page at {gpa:#x} comes before the memory that is required at {:#x}",
                        range.start
                    )
                })?;
            }
        }
    }
    Ok(())
}

fn parameters(facts: &Facts<'_>) -> Result<(), String> {
    let last = facts
        .places(|body| matches!(body, Body::ParameterInsert { .. }))
        .max();
    let first = facts
        .places(|body| matches!(body, Body::PageData { .. }))
        .min();
    match (last, first) {
        (Some(insert), Some(page)) => require(insert < page, || {
            format!(
                "a parameter insert at offset {insert:#x} follows page data at offset {page:#x}"
            )
        }),
        _ => Ok(()),
    }
}

fn ascending(facts: &Facts<'_>) -> Result<(), String> {
    let pages = facts.headers.iter().filter_map(|header| match header.body {
        Body::PageData { gpa, .. } => Some(gpa),
        _ => None,
    });
    let mut previous = None;
    for gpa in pages {
        require(previous < Some(gpa), || {
            format!(
                "the page at {gpa:#x} comes after {:#x}",
                previous.unwrap_or(0)
            )
        })?;
        previous = Some(gpa);
    }
    Ok(())
}

fn context(facts: &Facts<'_>) -> Result<(), String> {
    let context = facts
        .places(|body| matches!(body, Body::VpContext { .. }))
        .max();
    let last = facts.places(|_| true).max();
    require(context == last, || match context {
        Some(context) => format!("it is at offset {context:#x}, and others follow"),
        None => "there is none".to_owned(),
    })
}
