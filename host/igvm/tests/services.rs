//! Ring-3 services in an image.

mod common;

use boot_abi::{BootParams, GpaRange, layout};
use common::memory::load;
use common::{assert_refused, elf, scratch, service, service_of, svsm, tool};
use igvm_loader::PageKind;
use macadamia_igvm::build::{DEFAULT_POLICY, First, Service, build};
use macadamia_igvm::{check, inspect, measure};
use svsm_core::boot_params;
use svsm_core::service::{elf::Image, table};

const VTPM: Service<'static> = Service {
    name: "vtpm",
    protocol: 2,
    heap_pages: 256,
    request_seconds: 300,
    elf: &[],
};

fn try_image(services: &[Service<'_>]) -> anyhow::Result<Vec<u8>> {
    let kernel = svsm();
    let first = First::Svsm {
        kernel: &kernel,
        services,
        guest: None,
        debug: Default::default(),
    };
    build(&first, DEFAULT_POLICY)
}

fn two() -> Vec<u8> {
    let elf = service();
    let vtpm = Service { elf: &elf, ..VTPM };
    let other = Service {
        name: "other",
        protocol: 9,
        heap_pages: 0,
        request_seconds: 300,
        ..vtpm
    };
    try_image(&[vtpm, other]).unwrap()
}

#[test]
fn the_svsm_finds_the_services() {
    let memory = load(&two());
    let params = &memory.pages[&layout::BOOT_PARAMS_GPA].1;
    let params = boot_params::check(&params[..], layout::SVSM_BASE, layout::SVSM_BASE).unwrap();
    // The table, and one page for each file.
    assert_eq!(params.services, GpaRange::new(0x80_0067_0000, 0x3000));
    let mut region = Vec::new();
    for gpa in (layout::SERVICES_GPA..).step_by(0x1000).take(3) {
        assert_eq!(memory.kind(gpa), Some(PageKind::Normal));
        region.extend_from_slice(&memory.pages[&gpa].1[..]);
    }
    assert_eq!(memory.kind(layout::SERVICES_GPA + 0x3000), None);
    let list = table::parse(&region).unwrap();
    let services: Vec<_> = list
        .iter()
        .map(|service| (service.name, service.protocol, service.heap_pages))
        .collect();
    assert_eq!(services, [("vtpm", 2, 256), ("other", 9, 0)]);
    let original = service();
    let original = Image::parse(&original).unwrap();
    for found in list.iter() {
        // Headers and segments, without what came behind them.
        assert_eq!(found.image.len(), 64 + 2 * 56 + 0xF00 + 0x10);
        let image = Image::parse(found.image).unwrap();
        assert_eq!(image.entry(), original.entry());
        assert!(image.segments().eq(original.segments()));
    }
}

#[test]
fn without_services_nothing_is_launched_for_them() {
    let memory = load(&try_image(&[]).unwrap());
    assert_eq!(memory.kind(layout::SERVICES_GPA), None);
    let params: BootParams = memory.read(layout::BOOT_PARAMS_GPA);
    assert_eq!(params.services, GpaRange::new(layout::SERVICES_GPA, 0));
}

#[test]
fn a_service_counts_for_the_launch_digest_and_its_symbols_do_not() {
    let elf = service();
    let digest = |change: fn(&mut Service<'_>), at: Option<usize>| {
        let mut elf = elf.clone();
        if let Some(at) = at {
            elf[at] ^= 1;
        }
        let mut service = Service { elf: &elf, ..VTPM };
        change(&mut service);
        measure::measure(&try_image(&[service]).unwrap()).unwrap()
    };
    let base = digest(|_| (), None);
    assert_ne!(base, measure::measure(&try_image(&[]).unwrap()).unwrap());
    assert_eq!(base, digest(|_| (), Some(elf.len() - 1)));
    assert_ne!(base, digest(|_| (), Some(64 + 2 * 56)));
    assert_ne!(base, digest(|service| service.protocol = 3, None));
    assert_ne!(base, digest(|service| service.heap_pages = 255, None));
    assert_ne!(base, digest(|service| service.name = "vtpn", None));
}

#[test]
fn bad_services_are_refused() {
    let refused = |services: &[Service<'_>], expected: &str| {
        let error = format!("{:#}", try_image(services).unwrap_err());
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    let elf_file = service();
    let good = Service {
        elf: &elf_file,
        ..VTPM
    };
    refused(&[VTPM], "service vtpm: 0 bytes are too short");
    let writable_code = elf(0x40_0000, &[(0x40_0000, &[1], 1)]);
    let bad = Service {
        elf: &writable_code,
        ..VTPM
    };
    refused(&[bad], "service vtpm: program header 0: address is 0xff");
    let name = |name| Service { name, ..good };
    refused(&[name("")], "service 0: the name");
    refused(&[name("v tpm")], "service 0: the name");
    refused(&[name("seventeen-letters")], "more than 16 bytes");
    refused(&[good, good], "service 1 has the protocol of service 0");
    let protocol = |protocol| Service { protocol, ..good };
    refused(&[protocol(0)], "protocol 0; a service can have 1 to 31");
    refused(&[protocol(32)], "protocol 32");
    let greedy = Service {
        heap_pages: 257,
        request_seconds: 300,
        ..good
    };
    refused(&[greedy], "a heap of 257 pages; at most 256");
    refused(&[good; 9], "9 services; at most 8");
    let bytes = vec![0xC3; 0x17_F000];
    let large = service_of(0x40_0000, &[(5, (0x40_0000, &bytes, 0x17_F000))]);
    let large = Service {
        elf: &large,
        ..VTPM
    };
    refused(&[large], "of 1536 KiB that there are");
}

#[test]
fn inspect_lists_them() {
    let text = inspect::describe(&two(), false).unwrap();
    for words in [
        "page data, 0x8000670000 to 0x8000672fff (3 pages): contents from the file, measured",
        "service vtpm: protocol 2, at most 1024 KiB of heap and 300 s for a request, 4032 bytes of ELF file, entry 0x400000\n  \
         0x400000 to 0x400fff: read, execute\n  0x402000 to 0x403fff: read, write\n",
        "service other: protocol 9, at most 0 KiB of heap and 300 s for a request",
    ] {
        assert!(text.contains(words), "{text}\nlacks {words:?}");
    }
}

#[test]
fn a_changed_table_breaks_a_rule() {
    let mut image = two();
    let magic = boot_abi::SERVICE_TABLE_MAGIC;
    let at = image.windows(8).position(|bytes| *bytes == magic).unwrap();
    for (offset, expected) in [
        (0, "service table: magic"),
        (16, "service 0: the name"),
        (16 + 28, "service 0: 0xfc0 bytes at 0x"),
        (0x1000 + 26, "service vtpm: the entry point"),
    ] {
        image[at + offset] ^= 0x80;
        let error = format!("{:#}", check::refuse_bad(&image).unwrap_err());
        assert!(error.contains("such that the SVSM takes them"), "{error}");
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        let text = inspect::describe(&image, false).unwrap();
        assert!(
            text.contains(&format!("services: refused: {expected}")),
            "{text}"
        );
        image[at + offset] ^= 0x80;
    }
    check::refuse_bad(&image).unwrap();
}

#[test]
fn the_command_line_takes_services() {
    let kernel = scratch("services-svsm.elf", &svsm());
    let file = scratch("services=vtpm:1.elf", &service());
    let output = scratch("services.igvm", b"");
    let (kernel, file) = (kernel.to_str().unwrap(), file.to_str().unwrap());
    let build = |services: &[&str]| {
        let mut arguments = vec!["build", "--svsm", kernel, "-o", output.to_str().unwrap()];
        arguments.extend(services.iter().flat_map(|service| ["--service", service]));
        tool(&arguments)
    };
    let (vtpm, other) = (format!("vtpm:2:256={file}"), format!("other:9:0={file}"));
    let result = build(&[&vtpm, &other]);
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
    assert_eq!(std::fs::read(&output).unwrap(), two());
    let checked = tool(&["inspect", "--check", output.to_str().unwrap()]);
    assert!(checked.status.success());
    assert_refused(&build(&[&vtpm, &vtpm]), "service 1 has the protocol");
    assert_refused(
        &build(&["vtpm:2:256=/nonexistent/x"]),
        "cannot read /nonexistent/x",
    );
    assert_refused(
        &build(&[&format!("vtpm:2:256={kernel}")]),
        "service vtpm: program header",
    );
    for bad in [
        "vtpm:2:256",
        "vtpm:2=x",
        "vtpm:two:256=x",
        "vtpm:2:-1=x",
        "=x",
    ] {
        assert_eq!(build(&[bad]).status.code(), Some(2), "{bad}");
    }
    let payload = ["build", "--payload", kernel, "--service", &vtpm, "-o", "x"];
    assert_eq!(tool(&payload).status.code(), Some(2));
}
