//! What an image holds.

mod common;

use std::collections::BTreeMap;

use boot_abi::{BootParams, GpaRange, GuestParams, PARAMS_VERSION, entry_mode, layout};
use common::memory::load;
use common::{digests, elf, guest, image, svsm};
use igvm_loader::PageKind;
use macadamia_igvm::build::{DEFAULT_POLICY, First, Guest, build};
use snp_abi::SevFeatures;

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
    pages(0x80_0000_3000, 2, Zero); // its bss, which starts at 0x10 of a page
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
        (PARAMS_VERSION, size_of::<BootParams>() as u32)
    );
    assert_eq!(params.svsm, GpaRange::new(0x80_0000_0000, 0x80_0000));
    assert_eq!(params.kernel_image, GpaRange::new(0x80_0000_0000, 0x5000));
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
        (PARAMS_VERSION, size_of::<GuestParams>() as u32)
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
                services: &[],
                guest: None,
                debug: Default::default(),
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
fn the_same_inputs_make_the_same_image() {
    assert_eq!(image(), image());
}

#[test]
fn every_byte_of_what_is_given_counts() {
    let digest = |kernel: &[u8], elf: &[u8], digests| {
        let image = build(
            &First::Svsm {
                kernel,
                services: &[],
                guest: Some(Guest { elf, digests }),
                debug: Default::default(),
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
