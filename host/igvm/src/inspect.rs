//! What is in a file, in words: one line a header, or a run of pages that differ in nothing but their address.

use std::fmt::Write;

use anyhow::Result;
use boot_abi::{BootParams, FLAG_DEBUGGER, layout};
use igvm_loader::{Body, Header, Image, PAGE_SIZE, PageKind, Platform, PlatformHeader};
use snp_abi::SevFeatures;
use snp_abi::vmsa::Vmsa;
use zerocopy::FromBytes;

/// Describes a file. With `each`, every page gets a line of its own.
///
/// # Errors
/// What is wrong with the file's headers.
pub fn describe(bytes: &[u8], each: bool) -> Result<String> {
    let image = Image::parse(bytes)?;
    let mut text = String::new();
    let data_bytes = bytes.len() - image.data_start();
    writeln!(
        text,
        "IGVM file, format version {}: {} bytes, of which {data_bytes} are file data; the checksum is right",
        image.version(),
        bytes.len(),
    )?;
    let mut run: Option<Run> = None;
    for header in image.headers() {
        let header = header?;
        if let Body::PageData {
            gpa,
            kind,
            contents,
        } = header.body
        {
            let with_data = contents.is_some();
            let extended = !each
                && run
                    .as_mut()
                    .is_some_and(|run| run.extend(&header, gpa, kind, with_data));
            if extended {
                continue;
            }
            flush(&mut text, &mut run)?;
            run = Some(Run {
                offset: header.offset,
                mask: header.mask,
                first: gpa,
                pages: 1,
                kind,
                with_data,
            });
        } else {
            flush(&mut text, &mut run)?;
            line(&mut text, header.offset, header.mask, &words(&header))?;
        }
    }
    flush(&mut text, &mut run)?;
    services(&mut text, &image)?;
    debugger(&mut text, &image)?;
    Ok(text)
}

/// Whether the measured parameters of a platform's part say that the SVSM has a debugger.
fn debugger(text: &mut String, image: &Image<'_>) -> Result<()> {
    for (base, platform) in [
        (layout::SVSM_BASE, "SEV-SNP"),
        (layout::NATIVE_SVSM_BASE, "native"),
    ] {
        for header in image.headers() {
            if let Body::PageData {
                gpa,
                contents: Some(page),
                ..
            } = header?.body
                && gpa == base + layout::PARAMETERS_OFFSET
                && let Ok((params, _)) = BootParams::read_from_prefix(page)
                && params.flags.get() & FLAG_DEBUGGER != 0
            {
                writeln!(
                    text,
                    "{platform}: the SVSM has a debugger: this image keeps no secret"
                )?;
            }
        }
    }
    Ok(())
}

/// The services, if there are any.
fn services(text: &mut String, image: &Image<'_>) -> Result<()> {
    let headers: Vec<_> = image.headers().collect::<Result<_, _>>()?;
    match crate::services::list(headers.into_iter()) {
        Ok(services) => services
            .iter()
            .try_for_each(|service| writeln!(text, "{service}"))?,
        Err(error) => writeln!(text, "services: refused: {error:#}")?,
    }
    Ok(())
}

/// A run of page data.
struct Run {
    offset: u64,
    mask: Option<u32>,
    first: u64,
    pages: u64,
    kind: PageKind,
    with_data: bool,
}

impl Run {
    fn extend(&mut self, header: &Header<'_>, gpa: u64, kind: PageKind, with_data: bool) -> bool {
        let next = self.first.checked_add(self.pages * PAGE_SIZE as u64);
        let same = (self.mask, self.kind, self.with_data) == (header.mask, kind, with_data);
        let extends = same && next == Some(gpa);
        self.pages += u64::from(extends);
        extends
    }
}

fn flush(text: &mut String, run: &mut Option<Run>) -> Result<()> {
    let Some(run) = run.take() else { return Ok(()) };
    let last = run.first + (run.pages * PAGE_SIZE as u64 - 1);
    let kind = match (run.kind, run.with_data) {
        (PageKind::Normal, _) => "contents from the file, measured",
        (PageKind::Zero, _) => "zeros made by the firmware; only the address is measured",
        (PageKind::Unmeasured, true) => "contents from the file, not measured but for the address",
        (PageKind::Unmeasured, false) => "zeros, not measured but for the address",
        (PageKind::Secrets, _) => "the secrets page, filled by the firmware",
        (PageKind::Cpuid, _) => "the CPUID page, filled by the loader and checked by the firmware",
    };
    let pages = if run.pages == 1 {
        "1 page".to_owned()
    } else {
        format!("{} pages", run.pages)
    };
    line(
        text,
        run.offset,
        run.mask,
        &format!("page data, {:#x} to {last:#x} ({pages}): {kind}", run.first),
    )
}

fn line(text: &mut String, offset: u64, mask: Option<u32>, words: &str) -> Result<()> {
    match mask {
        Some(mask) => writeln!(text, "{offset:#08x}  [{mask:#x}] {words}")?,
        None => writeln!(text, "{offset:#08x}  {words}")?,
    }
    Ok(())
}

/// Everything but page data.
fn words(header: &Header<'_>) -> String {
    match header.body {
        Body::Platform(platform) => platform_words(platform),
        Body::GuestPolicy { policy } => {
            format!("guest policy {policy:#x}: {}", policy_words(policy))
        }
        Body::PageData { gpa, .. } => format!("page data at {gpa:#x}"),
        Body::ParameterArea {
            index,
            bytes,
            initial,
        } => {
            let initial = if initial.is_some() {
                "with initial contents"
            } else {
                "initially zero"
            };
            format!("parameter area {index}: {bytes:#x} bytes, {initial}")
        }
        Body::Parameter {
            kind,
            index,
            byte_offset,
        } => {
            format!(
                "the host writes the {} to offset {byte_offset:#x} of parameter area {index}",
                kind.name()
            )
        }
        Body::ParameterInsert { gpa, index } => {
            format!("parameter area {index} is launched at {gpa:#x}; only its address is measured")
        }
        Body::RequiredMemory { gpa, bytes } => {
            format!(
                "memory is required from {gpa:#x} to {:#x} ({} KiB)",
                gpa.saturating_add(bytes - 1),
                bytes / 1024
            )
        }
        Body::VpContext {
            gpa,
            vp_index,
            contents,
        } => {
            format!(
                "first state of VP {vp_index} at {gpa:#x}: {}",
                vmsa_words(contents)
            )
        }
        Body::VersionString(version) => format!("version: {version:?}"),
        Body::Unsupported { name } => format!("{name} (type {:#x}): not supported", header.typ),
        Body::Ignored => format!("optional header of type {:#x}: ignored", header.typ),
    }
}

fn platform_words(platform: PlatformHeader) -> String {
    let name = match platform.platform_type {
        kind if kind == Platform::Native as u8 => "native",
        kind if kind == Platform::SevSnp as u8 => "AMD SEV-SNP",
        1 => "VSM isolation",
        3 => "Intel TDX",
        4 => "AMD SEV",
        5 => "AMD SEV-ES",
        6 => "Arm CCA",
        _ => "unknown",
    };
    format!(
        "platform {name} (type {}, version {}) has compatibility mask {:#x}; highest VTL {}, {}",
        platform.platform_type,
        platform.version,
        platform.mask,
        platform.highest_vtl,
        match platform.shared_gpa_boundary {
            0 => "no shared GPA boundary".to_owned(),
            boundary => format!("memory is shared from {boundary:#x}"),
        }
    )
}

/// The guest policy's bits (56860 §4.3).
fn policy_words(policy: u64) -> String {
    const BITS: [(u32, &str); 9] = [
        (16, "SMT allowed"),
        (18, "migration agent allowed"),
        (19, "debugging allowed"),
        (20, "single socket only"),
        (21, "CXL allowed"),
        (22, "AES-256-XTS required"),
        (23, "RAPL must be off"),
        (24, "ciphertext hiding required"),
        (25, "page swap disabled"),
    ];
    let mut words = vec![format!(
        "firmware ABI at least {}.{}",
        policy >> 8 & 0xFF,
        policy & 0xFF
    )];
    words.extend(
        BITS.iter()
            .filter(|(bit, _)| policy >> bit & 1 == 1)
            .map(|&(_, word)| word.to_owned()),
    );
    words.join(", ")
}

/// The part of a VMSA that decides how the guest starts.
fn vmsa_words(page: &igvm_loader::Page) -> String {
    let Ok(vmsa) = Vmsa::read_from_bytes(page) else {
        return String::new();
    };
    let (cr0, efer) = (vmsa.cr0.get(), vmsa.efer.get());
    let code = vmsa.cs.attributes.get();
    let mode = match (cr0 & 1 != 0, efer & 1 << 10 != 0, code & 1 << 10 != 0) {
        (false, ..) => "real mode",
        (true, true, _) if code & 1 << 9 != 0 => "64-bit mode",
        (true, _, true) => "32-bit protected mode",
        (true, _, false) => "16-bit protected mode",
    };
    let paging = if cr0 >> 31 & 1 == 1 {
        "with paging"
    } else {
        "without paging"
    };
    let features = SevFeatures::from_bits_retain(vmsa.sev_features.get());
    let names: Vec<_> = features.iter_names().map(|(name, _)| name).collect();
    format!(
        "VMPL{}, {mode} {paging}, RIP {:#x}, CS base {:#x} limit {:#x}, CR0 {cr0:#x}, CR4 {:#x}, EFER {efer:#x}, \
         SEV_FEATURES {:#x} ({})",
        vmsa.vmpl,
        vmsa.rip.get(),
        vmsa.cs.base.get(),
        vmsa.cs.limit.get(),
        vmsa.cr4.get(),
        features.bits(),
        names.join(" | "),
    )
}
