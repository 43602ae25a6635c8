//! Building an image: programs → pages → directives → file.
//!
//! Where everything goes is decided by `boot_abi::layout`; the order of directives by what QEMU and KVM do with them
//! (see [`crate::check`]).

mod elf;
mod image;
mod pages;
mod parameters;
mod services;
mod vmsa;

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use boot_abi::{GpaRange, PayloadDigests, layout};
use igvm_loader::PAGE_SIZE;
use zerocopy::IntoBytes;

use elf::{Elf, Segment};
use pages::{Contents, Pages};
use parameters::{GuestPart, Programs, boot_params, guest_params};

pub use parameters::sha256;
pub use services::Service;
use vmsa::native_flat_32;
pub use vmsa::{FEATURES, flat_32};

/// The policy of `--policy`'s default: simultaneous multithreading allowed, nothing else (56860 §4.3). Bit 17 must be
/// one.
pub const DEFAULT_POLICY: u64 = 0x3_0000;

/// What is started at VMPL0. ELF files are given as their bytes.
pub enum First<'a> {
    /// The SVSM kernel, and what it starts at VMPL2.
    Svsm {
        /// Its ELF file.
        kernel: &'a [u8],
        /// Its ring-3 services.
        services: &'a [Service<'a>],
        /// The guest, if there is one.
        guest: Option<Guest<'a>>,
        /// What is to be said of the kernel.
        debug: Debug,
    },
    /// A test payload in the SVSM's place. It finds CPUID page, secrets page, boot parameters and the host's parameters
    /// where the SVSM would.
    Payload(&'a [u8]),
}

/// What an SVSM is told that was built to be looked into.
#[derive(Clone, Copy, Default)]
pub struct Debug {
    /// It has a debugger in it.
    pub debugger: bool,
    /// The failure that its tests are to provoke, padded with zeros; zeros: all its tests.
    pub test_case: [u8; 32],
}

/// A guest payload.
pub struct Guest<'a> {
    /// Its ELF file.
    pub elf: &'a [u8],
    /// Digests of the fw_cfg files that it may load.
    pub digests: PayloadDigests,
}

/// Where programs may be. The CPUID page and the secrets page end the boot stage.
const BOOT_STAGE: Range<u64> = layout::BOOT_STAGE_BASE..layout::CPUID_GPA;
const KERNEL: Range<u64> = layout::SVSM_BASE..layout::SERVICES_GPA;
const SVSM_END: u64 = layout::SVSM_BASE + layout::SVSM_SIZE;
const GUEST_IMAGE: Range<u64> = layout::GUEST_IMAGE_GPA..layout::GUEST_BASE + layout::GUEST_SIZE;

/// Makes an image.
///
/// # Errors
/// A program that is no fitting ELF file, or does not fit its place.
pub fn build(first: &First<'_>, policy: u64) -> Result<Vec<u8>> {
    let mut pages = Pages::default();
    let (entry, programs) = match first {
        First::Svsm {
            kernel,
            services,
            guest,
            debug,
        } => {
            let (entry, mut programs) = put_svsm(&mut pages, kernel).context("SVSM")?;
            if debug.debugger {
                programs.flags |= boot_abi::FLAG_DEBUGGER;
            }
            programs.test_case = debug.test_case;
            programs.services = put_services(&mut pages, services)?;
            programs.guest = match guest {
                Some(guest) => Some(put_guest(&mut pages, guest).context("guest")?),
                None => None,
            };
            (entry, programs)
        }
        First::Payload(bytes) => put_payload(&mut pages, bytes).context("payload")?,
    };
    pages.put("CPUID page", layout::CPUID_GPA, Contents::Cpuid)?;
    pages.put("secrets page", layout::SECRETS_GPA, Contents::Secrets)?;
    let parameters = boot_params(&programs);
    pages.put_bytes(
        "boot parameters",
        layout::BOOT_PARAMS_GPA,
        parameters.as_bytes(),
    )?;
    fill_parameters(&mut pages);
    // A payload that takes the SVSM's place is for SEV-SNP alone.
    let native = match first {
        First::Svsm { .. } => Some(native_pages(&pages, &parameters)?),
        First::Payload(_) => None,
    };
    let image = image::serialize(
        &pages,
        &flat_32(entry),
        policy,
        programs.guest.is_some(),
        native.as_ref().map(|pages| (pages, native_flat_32(entry))),
    )?;
    crate::check::refuse_bad(&image).context("the image is not good")?;
    Ok(image)
}

/// The pages of the native platform: the SVSM alone, where that platform has its memory, with parameters that say so. There
/// is no level below the SVSM to run a guest at, and no firmware to fill pages.
fn native_pages(pages: &Pages, params: &boot_abi::BootParams) -> Result<Pages> {
    let mut native = Pages::default();
    let svsm = |gpa: &u64| {
        KERNEL.contains(gpa)
            || (layout::SERVICES_GPA..SVSM_END).contains(gpa)
            || BOOT_STAGE.contains(gpa)
    };
    for (gpa, contents) in pages.iter().filter(|(gpa, _)| svsm(gpa)) {
        if gpa == layout::BOOT_PARAMS_GPA {
            let params = parameters::native(*params);
            native.put_bytes("boot parameters", layout::native(gpa), params.as_bytes())?;
        } else {
            native.put("native platform", layout::native(gpa), contents.clone())?;
        }
    }
    Ok(native)
}

/// The SVSM: boot stage in low memory, kernel at the start of the SVSM's memory. What lies between segments is launched
/// too, so that a base and a size say what is.
fn put_svsm(pages: &mut Pages, bytes: &[u8]) -> Result<(u32, Programs)> {
    let elf = Elf::parse(bytes)?;
    ensure_within(&elf.segments, &[BOOT_STAGE, KERNEL])?;
    pages.put_segments("SVSM", &elf.segments)?;
    let entry = entry(&elf, &[BOOT_STAGE])?;
    let boot_stage = launched(&elf.segments, &BOOT_STAGE);
    let kernel = launched(&elf.segments, &KERNEL);
    ensure!(
        kernel != 0,
        "no ELF segment is in the SVSM's memory, {:#x} to {:#x}",
        KERNEL.start,
        KERNEL.end
    );
    pages.fill(BOOT_STAGE.start..BOOT_STAGE.start + boot_stage);
    pages.fill(KERNEL.start..KERNEL.start + kernel);
    let programs = Programs {
        kernel_image: kernel,
        services: 0,
        boot_stage_launched: boot_stage,
        guest: None,
        flags: 0,
        test_case: [0; 32],
    };
    Ok((entry, programs))
}

/// The services: how many bytes of their region are launched.
fn put_services(pages: &mut Pages, services: &[Service<'_>]) -> Result<u64> {
    let region = services::region(services)?;
    for (gpa, page) in (layout::SERVICES_GPA..)
        .step_by(PAGE_SIZE)
        .zip(region.chunks(PAGE_SIZE))
    {
        pages.put_bytes("services", gpa, page)?;
    }
    Ok(region.len() as u64)
}

/// The guest: its image, its parameters, and every page of its region up to the end of the image.
fn put_guest(pages: &mut Pages, guest: &Guest<'_>) -> Result<GuestPart> {
    let elf = Elf::parse(guest.elf)?;
    ensure_within(&elf.segments, &[GUEST_IMAGE])?;
    pages.put_segments("guest", &elf.segments)?;
    let entry = entry(&elf, &[GUEST_IMAGE])?;
    let params = guest_params(guest.digests);
    pages.put_bytes(
        "guest parameters",
        layout::GUEST_PARAMS_GPA,
        params.as_bytes(),
    )?;
    let size = GUEST_IMAGE.start - layout::GUEST_BASE + launched(&elf.segments, &GUEST_IMAGE);
    pages.fill(layout::GUEST_BASE..layout::GUEST_BASE + size);
    Ok(GuestPart {
        entry: entry.into(),
        launched: GpaRange::new(layout::GUEST_BASE, size),
    })
}

/// A test payload: its segments, in any of the places for programs.
fn put_payload(pages: &mut Pages, bytes: &[u8]) -> Result<(u32, Programs)> {
    let elf = Elf::parse(bytes)?;
    let places = [BOOT_STAGE, GUEST_IMAGE, KERNEL];
    ensure_within(&elf.segments, &places)?;
    pages.put_segments("payload", &elf.segments)?;
    let entry = entry(&elf, &places)?;
    for place in &places {
        pages.fill(place.start..place.start + launched(&elf.segments, place));
    }
    let programs = Programs {
        kernel_image: launched(&elf.segments, &KERNEL),
        services: 0,
        boot_stage_launched: launched(&elf.segments, &BOOT_STAGE),
        guest: None,
        flags: 0,
        test_case: [0; 32],
    };
    Ok((entry, programs))
}

/// The gaps between the parameter areas: all of the parameters' range is launched.
fn fill_parameters(pages: &mut Pages) {
    let mut next = layout::BOOT_PARAMS_GPA;
    for (_, gpa, bytes) in image::AREAS {
        pages.fill(next..gpa);
        next = gpa + bytes;
    }
    pages.fill(next..layout::PARAMETERS_GPA + layout::PARAMETERS_SIZE);
}

/// Bytes from the start of `place` to the end of the last segment in it, in whole pages.
fn launched(segments: &[Segment<'_>], place: &Range<u64>) -> u64 {
    let within = segments
        .iter()
        .filter(|segment| place.contains(&segment.address));
    let end = within
        .map(|segment| segment.end())
        .max()
        .unwrap_or(place.start);
    end.next_multiple_of(PAGE_SIZE as u64) - place.start
}

/// Checks that every segment is in one of the places, which also bounds its size.
fn ensure_within(segments: &[Segment<'_>], places: &[Range<u64>]) -> Result<()> {
    for segment in segments {
        let (start, end) = (segment.address, segment.end());
        let fits = places
            .iter()
            .any(|place| place.start <= start && end <= place.end);
        ensure!(
            fits,
            "the ELF segment at {start:#x} to {end:#x} is not within {}",
            names(places)
        );
    }
    Ok(())
}

/// The entry point, which must be in a place that a processor without paging reaches, and in a segment.
fn entry(elf: &Elf<'_>, places: &[Range<u64>]) -> Result<u32> {
    let entry = elf.entry;
    let in_place = places.iter().any(|place| place.contains(&entry));
    let in_segment = elf
        .segments
        .iter()
        .any(|segment| (segment.address..segment.end()).contains(&entry));
    match u32::try_from(entry) {
        Ok(entry) if in_place && in_segment => Ok(entry),
        _ => bail!(
            "the entry point {entry:#x} is not in an ELF segment within {} below 4 GiB",
            names(places)
        ),
    }
}

fn names(places: &[Range<u64>]) -> String {
    let names: Vec<_> = places
        .iter()
        .map(|place| format!("{:#x} to {:#x}", place.start, place.end))
        .collect();
    names.join(" or ")
}
