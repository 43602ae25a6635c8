//! Launch: the IGVM image becomes a guest. This is the part of the SNP firmware and of the VMM that a guest meets: pages are
//! assigned, filled, measured and validated in the file's order.

use crate::arch::{cpu, guest, percpu, pvh};
use crate::diagnosis::stop_without_vcpu;
use crate::exit_status::ExitStatus;
use crate::memory::{self, Backing};
use crate::platform::{self, VIDEO};
use crate::{GEOMETRY, acpi, say, starts};
use alloc::vec::Vec;
use igvm_loader::{
    HostParameters, Image, Machine, MemoryMapEntry, MemoryMapEntryType, PageKind, Platform,
};
use launch_digest::{LaunchDigest, PageType};
use snp_abi::secrets::SecretsPage;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions};
use snp_model::rmp::{HostFailure, RmpUpdate};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

type Page = [u8; 4096];

/// Version of the secrets page.
const SECRETS_VERSION: u32 = 3;

/// Why the machine cannot launch a page that the loader found good.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the machine has no memory for {bytes:#x} bytes at GPA {gpa:#x}")]
    NoMemory { gpa: u64, bytes: u64 },
    #[error("page at GPA {gpa:#x}: {why}")]
    Rmp { gpa: u64, why: HostFailure },
    #[error("GPA {gpa:#x} has no memory")]
    NoFrame { gpa: u64 },
    #[error("a VP context for VP {vp} is not supported: only VP 0 starts from the image")]
    VpContext { vp: u16 },
    #[error("the processor gives no random numbers for the VMPCKs")]
    NoRandom,
}

struct Guest {
    digest: LaunchDigest,
    vmsa: Option<u64>,
}

/// Loads the image at `module` and returns the GPA of the boot processor's VMSA.
pub fn launch(module: Option<(u64, u64)>) -> u64 {
    let bad =
        |what: core::fmt::Arguments<'_>| -> ! { stop_without_vcpu(ExitStatus::BadImage, what) };
    let Some((at, size)) = module.filter(|&(_, size)| size != 0) else {
        bad(format_args!(
            "there is no IGVM file: give one to QEMU as -initrd"
        ));
    };
    let bytes = pvh::module(at, size);
    let selection = match Image::parse(bytes).and_then(|image| image.select(Platform::SevSnp)) {
        Ok(selection) => selection,
        Err(error) => bad(format_args!("{error}")),
    };
    let map = memory_map();
    let said = acpi::answer();
    if said.dead > 0 {
        starts::set_first_dead(percpu::count().saturating_sub(said.dead as usize));
    }
    let host = HostParameters {
        vp_count: said.vp_count,
        memory_map: &map,
        madt: &said.table,
        memory_is_shared: true,
        gpa_limit: GEOMETRY.gpa_limit(),
    };
    let mut guest = Guest {
        digest: LaunchDigest::new(),
        vmsa: None,
    };
    let summary = match selection.load(&host, &mut guest) {
        Ok(summary) => summary,
        Err(error) => bad(format_args!("{error}")),
    };
    say!(
        "launched {} pages, {} parameter pages",
        summary.pages,
        summary.parameter_pages
    );
    say!("launch digest {}", guest.digest);
    match guest.vmsa {
        Some(vmsa) => vmsa,
        None => bad(format_args!("the image has no VP context for VP 0")),
    }
}

/// The RAM that the guest is told of.
fn memory_map() -> Vec<MemoryMapEntry> {
    let memory = memory::lock();
    memory
        .backings()
        .iter()
        .filter(|b| b.ram)
        .map(|b| MemoryMapEntry {
            starting_gpa_page_number: b.gpa / PAGE_SIZE,
            number_of_pages: b.bytes / PAGE_SIZE,
            entry_type: MemoryMapEntryType::MEMORY,
            flags: 0,
            reserved: 0,
        })
        .collect()
}

/// The guest's RAM: identity mapped, so that devices can reach it.
pub fn ram(layout: &platform::Layout) -> impl Iterator<Item = Backing> {
    let backing = |(start, end): (u64, u64)| Backing {
        gpa: start,
        hpa: start,
        bytes: end - start,
        ram: true,
    };
    [(0, VIDEO.0), (VIDEO.1, layout.reserve.0)]
        .into_iter()
        .chain(layout.high)
        .map(backing)
}

impl Guest {
    /// Assigns the page at `gpa`, fills it and hands it to the guest as validated (56860 §8.17).
    fn launch(
        &mut self,
        gpa: u64,
        kind: PageType,
        contents: &Page,
        measured: &Page,
    ) -> Result<(), Refusal> {
        let mut memory = memory::lock();
        let hpa = memory.frame(gpa).ok_or(Refusal::NoFrame { gpa })?;
        let frame = hpa / PAGE_SIZE;
        let refused = |why| Refusal::Rmp { gpa, why };
        let update = RmpUpdate {
            assigned: true,
            gpa,
            size: PageSize::Size4K,
            immutable: true,
        };
        memory.rmp().rmpupdate(frame, update).map_err(refused)?;
        guest::write(hpa, contents);
        memory
            .rmp()
            .launch_update(frame, kind == PageType::Vmsa, [RmpPermissions::empty(); 3])
            .map_err(refused)?;
        self.digest.update(kind, gpa, measured);
        Ok(())
    }
}

impl Machine for Guest {
    type Error = Refusal;

    fn guest_policy(&mut self, policy: u64) -> Result<(), Refusal> {
        say!("guest policy {policy:#x}");
        Ok(())
    }

    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), Refusal> {
        let mut memory = memory::lock();
        if memory.frame(gpa).is_some() {
            return Ok(());
        }
        let refused = Refusal::NoMemory { gpa, bytes };
        let bytes = bytes.next_multiple_of(PAGE_SIZE);
        let Some(hpa) = guest::allocate(bytes, LARGE_PAGE_SIZE) else {
            return Err(refused);
        };
        let backing = Backing {
            gpa,
            hpa,
            bytes,
            ram: false,
        };
        memory.add(backing).ok_or(refused)
    }

    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), Refusal> {
        let filled: Page = match kind {
            PageKind::Secrets => secrets()?,
            PageKind::Cpuid => {
                let mut page = [0; 4096];
                page.copy_from_slice(platform::get().cpuid.as_bytes());
                page
            }
            _ => *contents,
        };
        self.launch(gpa, kind.snp_page_type(), &filled, contents)
    }

    fn vp_context(&mut self, vp: u16, gpa: u64, contents: &Page) -> Result<(), Refusal> {
        if vp != 0 {
            return Err(Refusal::VpContext { vp });
        }
        if memory::lock().frame(gpa).is_none() {
            self.required_memory(gpa, PAGE_SIZE)?;
        }
        self.launch(gpa, PageType::Vmsa, contents, contents)?;
        self.vmsa = Some(gpa);
        Ok(())
    }
}

/// The secrets page as the firmware fills it: fresh VMPCKs.
fn secrets() -> Result<Page, Refusal> {
    let mut page = SecretsPage::new_zeroed();
    page.version.set(SECRETS_VERSION);
    page.fms.set(platform::signature());
    for key in &mut page.vmpck {
        for word in key.chunks_exact_mut(8) {
            let random = cpu::rdrand().ok_or(Refusal::NoRandom)?;
            word.copy_from_slice(&random.to_le_bytes());
        }
    }
    Page::read_from_bytes(page.as_bytes()).map_err(|_| Refusal::NoRandom)
}
