//! What an image holds, and what goes wrong when its parts are bad.

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;

use boot_abi::{BootParams, GpaRange, GuestParams, entry_mode, layout};
use common::{assert_refused, digests, elf, guest, image, scratch, svsm, tool};
use igvm_loader::{
    HostParameters, Image, Machine, MemoryMapEntry, MemoryMapEntryType, Page, PageKind, Platform,
};
use macadamia_igvm::build::{DEFAULT_POLICY, First, Guest, build};
use snp_abi::SevFeatures;
use snp_abi::vmsa::Vmsa;
use zerocopy::FromBytes;

/// What a machine has in memory after loading.
#[derive(Default)]
struct Memory {
    pages: BTreeMap<u64, (PageKind, Box<Page>)>,
    vmsa: Option<(u16, u64, Box<Page>)>,
    policy: Option<u64>,
    required: Vec<(u64, u64)>,
}

impl Machine for Memory {
    type Error = Infallible;

    fn guest_policy(&mut self, policy: u64) -> Result<(), Infallible> {
        self.policy = Some(policy);
        Ok(())
    }

    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), Infallible> {
        self.required.push((gpa, bytes));
        Ok(())
    }

    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), Infallible> {
        assert!(
            self.pages
                .insert(gpa, (kind, Box::new(*contents)))
                .is_none()
        );
        Ok(())
    }

    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), Infallible> {
        self.vmsa = Some((vp_index, gpa, Box::new(*contents)));
        Ok(())
    }
}

fn load(bytes: &[u8]) -> Memory {
    let memory_map = [MemoryMapEntry {
        starting_gpa_page_number: 0,
        number_of_pages: 0x2_0000,
        entry_type: MemoryMapEntryType::MEMORY,
        flags: 0,
        reserved: 0,
    }];
    let host = HostParameters {
        vp_count: 3,
        memory_map: &memory_map,
        madt: b"the MADT",
        memory_is_shared: true,
        gpa_limit: 1 << 47,
    };
    let mut memory = Memory::default();
    Image::parse(bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap()
        .load(&host, &mut memory)
        .unwrap();
    memory
}

impl Memory {
    fn kind(&self, gpa: u64) -> Option<PageKind> {
        self.pages.get(&gpa).map(|(kind, _)| *kind)
    }

    fn read<T: FromBytes>(&self, gpa: u64) -> T {
        T::read_from_prefix(&self.pages[&gpa].1[..]).unwrap().0
    }

    fn vmsa(&self) -> Vmsa {
        Vmsa::read_from_bytes(&self.vmsa.as_ref().unwrap().2[..]).unwrap()
    }
}

#[test]
fn every_page_is_where_the_layout_has_it() {
    let memory = load(&image());
    let mut expected = BTreeMap::new();
    let mut pages = |start: u64, count: u64, kind| {
        expected.extend((0..count).map(|index| (start + index * 4096, kind)));
    };
    use PageKind::{Cpuid, Normal, Secrets, Unmeasured, Zero};
    pages(0x1_0000, 2, Normal); // boot stage
    pages(0x1_E000, 1, Cpuid);
    pages(0x1_F000, 1, Secrets);
    pages(0x80_0000, 1, Normal); // guest parameters
    pages(0x80_1000, 0x1F, Zero); // up to the guest's image
    pages(0x82_0000, 1, Normal); // guest
    pages(0x82_1000, 1, Zero); // its bss
    pages(0x80_0000_0000, 1, Normal); // kernel text
    pages(0x80_0000_1000, 1, Zero); // gap
    pages(0x80_0000_2000, 1, Normal); // kernel data
    pages(0x80_0000_3000, 3, Zero); // its bss, which starts at 0x10 of a page
    pages(0x80_007F_0000, 1, Normal); // boot parameters
    pages(0x80_007F_1000, 1, Unmeasured); // general parameters
    pages(0x80_007F_2000, 2, Unmeasured); // memory map
    pages(0x80_007F_4000, 4, Zero);
    pages(0x80_007F_8000, 8, Unmeasured); // MADT
    let found: BTreeMap<_, _> = memory
        .pages
        .iter()
        .map(|(&gpa, (kind, _))| (gpa, *kind))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(memory.required, [(0x80_0000_0000, 0x80_0000)]);
    assert_eq!(memory.policy, Some(0x3_0000));
}

#[test]
fn segments_keep_their_bytes_and_the_rest_is_zero() {
    let memory = load(&image());
    let page = |gpa: u64| &memory.pages[&gpa].1;
    assert!(page(0x1_0000).iter().all(|&byte| byte == 0x11));
    assert!(page(0x1_1000)[..0x800].iter().all(|&byte| byte == 0x11));
    assert!(page(0x1_1000)[0x800..].iter().all(|&byte| byte == 0));
    let data = page(0x80_0000_2000);
    assert_eq!(data[..0x10], [0; 0x10]);
    assert!(data[0x10..0x110].iter().all(|&byte| byte == 0x33));
    assert!(data[0x110..].iter().all(|&byte| byte == 0));
}

#[test]
fn the_svsm_is_told_what_was_launched() {
    let memory = load(&image());
    let params: BootParams = memory.read(layout::BOOT_PARAMS_GPA);
    assert_eq!(&params.magic, b"MACABOOT");
    assert_eq!(
        (params.version.get(), params.size.get()),
        (1, size_of::<BootParams>() as u32)
    );
    assert_eq!(params.svsm, GpaRange::new(0x80_0000_0000, 0x80_0000));
    assert_eq!(params.kernel_image, GpaRange::new(0x80_0000_0000, 0x6000));
    assert_eq!(params.parameters, GpaRange::new(0x80_007F_0000, 0x1_0000));
    assert_eq!(params.boot_stage, GpaRange::new(0x1_0000, 0x1_0000));
    assert_eq!(params.boot_stage_launched, GpaRange::new(0x1_0000, 0x2000));
    assert_eq!(
        (params.cpuid_gpa.get(), params.secrets_gpa.get()),
        (0x1_E000, 0x1_F000)
    );
    assert_eq!(params.general_params_gpa.get(), 0x80_007F_1000);
    assert_eq!(params.memory_map, GpaRange::new(0x80_007F_2000, 0x2000));
    assert_eq!(params.madt, GpaRange::new(0x80_007F_8000, 0x8000));
    assert_eq!(params.serial_port.get(), 0x3F8);
    let guest = params.guest;
    assert_eq!(guest.entry_mode.get(), entry_mode::FLAT_32);
    assert_eq!(guest.entry.get(), 0x82_0004);
    assert_eq!(guest.region, GpaRange::new(0x80_0000, 0x20_0000));
    assert_eq!(guest.launched, GpaRange::new(0x80_0000, 0x2_2000));
    assert_eq!(guest.params_gpa.get(), 0x80_0000);
    assert_eq!(guest.memory_map, GpaRange::new(0x80_1000, 0xC000));
    assert_eq!(
        (
            guest.secrets_gpa.get(),
            guest.cpuid_gpa.get(),
            guest.caa_gpa.get()
        ),
        (0x80_D000, 0x80_E000, 0x80_F000)
    );
    // What a range names as launched is launched, all of it.
    for range in [
        params.kernel_image,
        params.parameters,
        params.boot_stage_launched,
        guest.launched,
    ] {
        for gpa in (range.base.get()..range.base.get() + range.size.get()).step_by(4096) {
            assert!(memory.kind(gpa).is_some(), "{gpa:#x}");
        }
    }
}

#[test]
fn the_guest_is_told_its_place_and_the_digests() {
    let params: GuestParams = load(&image()).read(layout::GUEST_PARAMS_GPA);
    assert_eq!(&params.magic, b"MACAGUES");
    assert_eq!(
        (params.version.get(), params.size.get()),
        (1, size_of::<GuestParams>() as u32)
    );
    assert_eq!(params.region, GpaRange::new(0x80_0000, 0x20_0000));
    assert_eq!(params.memory_map, GpaRange::new(0x80_1000, 0xC000));
    assert_eq!(params.secrets_gpa.get(), 0x80_D000);
    assert_eq!(params.cpuid_gpa.get(), 0x80_E000);
    assert_eq!(params.caa_gpa.get(), 0x80_F000);
    assert_eq!(params.cc_blob_gpa.get(), 0x81_0000);
    assert_eq!(params.svsm, GpaRange::new(0x80_0000_0000, 0x80_0000));
    assert_eq!(params.payload, digests());
}

#[test]
fn the_host_fills_the_parameters() {
    let memory = load(&image());
    assert_eq!(
        memory.pages[&0x80_007F_1000].1[..8],
        [3, 0, 0, 0, 1, 0, 0, 0]
    );
    let entry: boot_abi::MemoryMapEntry = memory.read(0x80_007F_2000);
    assert_eq!(
        (
            entry.starting_gpa_page_number.get(),
            entry.number_of_pages.get()
        ),
        (0, 0x2_0000)
    );
    assert_eq!(memory.pages[&0x80_007F_8000].1[..9], *b"the MADT\0");
}

#[test]
fn the_processor_starts_in_flat_32_bit_mode() {
    let memory = load(&image());
    let (vp_index, gpa, _) = memory.vmsa.as_ref().unwrap();
    assert_eq!((*vp_index, *gpa), (0, 0xFFFF_FFFF_F000));
    let vmsa = memory.vmsa();
    assert_eq!(vmsa.rip.get(), 0x1_0010);
    // Present, DPL 0, 32-bit, 4 KiB granularity; code execute/read, data read/write.
    assert_eq!(
        (
            vmsa.cs.attributes.get(),
            vmsa.cs.limit.get(),
            vmsa.cs.base.get()
        ),
        (0xC9B, 0xFFFF_FFFF, 0)
    );
    for segment in [vmsa.ds, vmsa.es, vmsa.fs, vmsa.gs, vmsa.ss] {
        assert_eq!(
            (
                segment.attributes.get(),
                segment.limit.get(),
                segment.base.get()
            ),
            (0xC93, 0xFFFF_FFFF, 0)
        );
    }
    // PE, ET, NE without PG; SVME without LME.
    assert_eq!((vmsa.cr0.get(), vmsa.efer.get()), (0x31, 0x1000));
    assert_eq!(
        (vmsa.rflags.get(), vmsa.dr6.get(), vmsa.dr7.get()),
        (2, 0xFFFF_0FF0, 0x400)
    );
    assert_eq!(
        (vmsa.g_pat.get(), vmsa.xcr0.get()),
        (0x0007_0406_0007_0406, 1)
    );
    assert_eq!((vmsa.mxcsr.get(), vmsa.x87_fcw.get()), (0x1F80, 0x37F));
    assert_eq!((vmsa.vmpl, vmsa.cpl), (0, 0));
    assert_eq!(vmsa.rbx.get(), 0, "a payload knows VMPL0 by it");
    let features = SevFeatures::SNP_ACTIVE | SevFeatures::RESTRICTED_INJECTION;
    assert_eq!(vmsa.sev_features.get(), features.bits());
}

#[test]
fn an_svsm_without_a_guest() {
    let kernel = svsm();
    let memory = load(
        &build(
            &First::Svsm {
                kernel: &kernel,
                guest: None,
            },
            DEFAULT_POLICY,
        )
        .unwrap(),
    );
    assert_eq!(memory.kind(layout::GUEST_PARAMS_GPA), None);
    let params: BootParams = memory.read(layout::BOOT_PARAMS_GPA);
    assert_eq!(params.guest.entry_mode.get(), entry_mode::NONE);
    assert_eq!(params.guest.launched, GpaRange::new(0, 0));
}

#[test]
fn a_payload_in_the_svsms_place() {
    let payload = guest();
    let memory = load(&build(&First::Payload(&payload), DEFAULT_POLICY).unwrap());
    assert_eq!(memory.vmsa().rip.get(), 0x82_0004);
    for (gpa, kind) in [
        (0x82_0000, Some(PageKind::Normal)),
        (0x82_1000, Some(PageKind::Zero)),
        (0x80_0000, None),
        (0x1_0000, None),
        (0x1_E000, Some(PageKind::Cpuid)),
        (0x1_F000, Some(PageKind::Secrets)),
        (0x80_007F_0000, Some(PageKind::Normal)),
        (0x80_007F_1000, Some(PageKind::Unmeasured)),
        (0x80_007F_F000, Some(PageKind::Unmeasured)),
    ] {
        assert_eq!(memory.kind(gpa), kind, "{gpa:#x}");
    }
    let params: BootParams = memory.read(layout::BOOT_PARAMS_GPA);
    assert_eq!(params.kernel_image.size.get(), 0);
    assert_eq!(params.guest.entry_mode.get(), entry_mode::NONE);
}

#[test]
fn two_segments_may_share_a_page_but_not_a_byte() {
    let base = layout::GUEST_IMAGE_GPA;
    let sharing = elf(
        base,
        &[(base, &[1; 0x10], 0x10), (base + 0x10, &[2; 0x10], 0x10)],
    );
    let memory = load(&build(&First::Payload(&sharing), DEFAULT_POLICY).unwrap());
    assert_eq!(memory.pages[&base].1[0xF..0x11], [1, 2]);
    let overlapping = elf(
        base,
        &[(base, &[1; 0x10], 0x11), (base + 0x10, &[2; 0x10], 0x10)],
    );
    let error = format!(
        "{:#}",
        build(&First::Payload(&overlapping), DEFAULT_POLICY).unwrap_err()
    );
    assert_eq!(
        error,
        "payload: payload: the ELF segment at 0x820010 overlaps the one that ends at 0x820011"
    );
}

#[test]
fn programs_out_of_place_are_refused() {
    let refused = |elf: &[u8], expected: &str| {
        let error = format!(
            "{:#}",
            build(&First::Payload(elf), DEFAULT_POLICY).unwrap_err()
        );
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    let base = layout::GUEST_IMAGE_GPA;
    refused(
        &elf(0x5000, &[(0x5000, &[1], 1)]),
        "the ELF segment at 0x5000 to 0x5001 is not within",
    );
    refused(
        &elf(base, &[(base, &[1], 0x20_0000)]),
        "the ELF segment at 0x820000 to 0xa20000 is not within",
    );
    refused(&elf(base, &[(base, &[1], 1 << 60)]), "is not within");
    refused(
        &elf(base, &[(base, &[1], u64::MAX)]),
        "reaches past the address space",
    );
    refused(
        &elf(0x1_D000, &[(0x1_D000, &[1], 0x1001)]),
        "is not within 0x10000 to 0x1e000",
    );
    refused(
        &elf(base + 1, &[(base, &[1], 1)]),
        "the entry point 0x820001 is not in an ELF segment",
    );
    refused(
        &elf(layout::SVSM_BASE, &[(layout::SVSM_BASE, &[1], 1)]),
        "below 4 GiB",
    );
    refused(&elf(base, &[]), "the ELF file has no PT_LOAD segment");
    refused(
        &elf(base, &[(base, &[1; 2], 1)]),
        "has 0x2 bytes in the file, but only 0x1 in memory",
    );
}

#[test]
fn bad_elf_files_never_panic() {
    let good = guest();
    for length in 0..good.len() {
        assert!(
            build(&First::Payload(&good[..length]), DEFAULT_POLICY).is_err(),
            "{length}"
        );
    }
    for at in 0..64 + 56 {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] = value;
            // It may still be good; it must not panic, and what it gives must be good.
            let _ = build(&First::Payload(&bad), DEFAULT_POLICY);
        }
    }
}

#[test]
fn bad_policies_are_refused() {
    let payload = guest();
    for policy in [
        0,
        0x2_0000,
        0x1_0000,
        0x7_0000,
        0x13_0000,
        1 << 63 | 0x3_0000,
    ] {
        let error = format!(
            "{:#}",
            build(&First::Payload(&payload), policy).unwrap_err()
        );
        assert!(error.contains("policy"), "{error}");
    }
    build(&First::Payload(&payload), 0xB_0000).unwrap();
}

#[test]
fn the_same_inputs_make_the_same_image() {
    assert_eq!(image(), image());
}

#[test]
fn every_byte_of_what_is_given_counts() {
    let digest = |kernel: &[u8], elf: &[u8], digests| {
        let image = build(
            &First::Svsm {
                kernel,
                guest: Some(Guest { elf, digests }),
            },
            DEFAULT_POLICY,
        )
        .unwrap();
        macadamia_igvm::measure::measure(&image).unwrap()
    };
    let (kernel, elf) = (svsm(), guest());
    let base = digest(&kernel, &elf, digests());
    let last = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    assert_ne!(base, digest(&last(&kernel), &elf, digests()));
    assert_ne!(base, digest(&kernel, &last(&elf), digests()));
    for change in [
        |digests: &mut boot_abi::PayloadDigests| digests.kernel[31] ^= 1,
        |digests: &mut boot_abi::PayloadDigests| digests.initrd[0] ^= 0x80,
        |digests: &mut boot_abi::PayloadDigests| digests.cmdline[7] ^= 1,
    ] {
        let mut changed = digests();
        change(&mut changed);
        assert_ne!(base, digest(&kernel, &elf, changed));
    }
}

#[test]
fn the_command_line_builds_a_linux_image() {
    let svsm = scratch("linux-svsm.elf", &svsm());
    let guest = scratch("linux-guest.elf", &guest());
    let kernel = scratch("linux-kernel", b"abc");
    let cmdline = scratch("linux-cmdline", b"console=ttyS0");
    let output = scratch("linux.igvm", b"");
    let build = |extra: &[&str]| {
        let mut arguments = vec![
            "build",
            "--svsm",
            svsm.to_str().unwrap(),
            "--guest",
            guest.to_str().unwrap(),
        ];
        arguments.extend([
            "--kernel",
            kernel.to_str().unwrap(),
            "-o",
            output.to_str().unwrap(),
        ]);
        arguments.extend(extra);
        let result = tool(&arguments);
        assert!(
            result.status.success(),
            "{}",
            String::from_utf8_lossy(&result.stderr)
        );
        std::fs::read(&output).unwrap()
    };
    let image = build(&[
        "--cmdline-file",
        cmdline.to_str().unwrap(),
        "--guest-kind",
        "linux",
    ]);
    let payload = load(&image)
        .read::<GuestParams>(layout::GUEST_PARAMS_GPA)
        .payload;
    // FIPS 180-4's example, and the digest of nothing.
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(&payload.kernel),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        hex(&payload.initrd),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        image,
        build(&["--cmdline", "console=ttyS0"]),
        "a string and a file of it are the same"
    );
    assert_ne!(image, build(&["--cmdline", "console=ttyS1"]));
}

#[test]
fn bad_inputs_of_the_command_line_get_one_line() {
    let text = scratch("no.elf", b"#!/bin/sh\n");
    let good = scratch("good.elf", &guest());
    let output = scratch("bad.igvm", b"");
    std::fs::remove_file(&output).unwrap();
    let (text, good, out) = (
        text.to_str().unwrap(),
        good.to_str().unwrap(),
        output.to_str().unwrap(),
    );
    assert_refused(&tool(&["build", "--payload", text, "-o", out]), "ELF");
    assert_refused(
        &tool(&["build", "--payload", "/nonexistent/x", "-o", out]),
        "cannot read /nonexistent/x",
    );
    assert_refused(
        &tool(&["build", "--payload", good, "-o", "/nonexistent/x"]),
        "cannot write /nonexistent/x",
    );
    assert_refused(
        &tool(&["build", "--payload", good, "--policy", "0x10000", "-o", out]),
        "policy",
    );
    assert_refused(
        &tool(&[
            "build",
            "--svsm",
            good,
            "--guest",
            good,
            "--guest-kind",
            "linux",
            "-o",
            out,
        ]),
        "a Linux guest needs --kernel",
    );
    assert!(!output.exists(), "a refused image is not written");
    assert_eq!(
        tool(&["build", "--payload", good, "--policy", "zero", "-o", out])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(tool(&["build", "-o", out]).status.code(), Some(2));
}
