//! Where the payload runs, and the parameter pages it was given, copied once at the start.

use crate::sync::RawCell;
use boot_abi::{BootParams, GuestParams, layout};
use core::mem::size_of;
use snp_abi::{SevFeatures, Vmpl, cpuid::CpuidEntry, msr};
use zerocopy::FromBytes;

/// What surrounds the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// It is the guest of an SVSM, at VMPL2.
    UnderSvsm,
    /// It is what the image started at VMPL0.
    Vmpl0,
}

static PARAMS_GPA: RawCell<u64> = RawCell::new(0);

pub(crate) fn init(params_gpa: u64) {
    // SAFETY: called once, before anything else runs.
    unsafe { PARAMS_GPA.get().write(params_gpa) };
}

fn params_gpa() -> u64 {
    // SAFETY: written only by `init`.
    unsafe { PARAMS_GPA.get().read() }
}

/// Where the payload runs.
pub fn environment() -> Environment {
    if params_gpa() == 0 {
        Environment::Vmpl0
    } else {
        Environment::UnderSvsm
    }
}

/// The VMPL that the payload was started at.
pub fn vmpl() -> Vmpl {
    match environment() {
        Environment::Vmpl0 => Vmpl::Vmpl0,
        Environment::UnderSvsm => Vmpl::Vmpl2,
    }
}

/// Copies a page's first bytes. The page must be mapped private and valid, as launched pages are.
fn copy<T: FromBytes>(gpa: u64) -> T {
    // SAFETY: parameter pages are launched, identity mapped and written by nobody; T takes any bytes.
    unsafe { (gpa as *const T).read_unaligned() }
}

/// The guest's parameters. None at VMPL0, or when the page does not look like them.
pub fn guest() -> Option<GuestParams> {
    if environment() == Environment::Vmpl0 {
        return None;
    }
    let params: GuestParams = copy(params_gpa());
    (params.magic == boot_abi::GUEST_PARAMS_MAGIC
        && params.version.get() == boot_abi::PARAMS_VERSION
        && params.size.get() as usize >= size_of::<GuestParams>())
    .then_some(params)
}

/// The boot parameters, for a payload at VMPL0. None under an SVSM, or when the page does not look like them.
pub fn boot() -> Option<BootParams> {
    if environment() == Environment::UnderSvsm {
        return None;
    }
    crate::paging::ensure_identity(layout::BOOT_PARAMS_GPA, size_of::<BootParams>() as u64).ok()?;
    let params: BootParams = copy(layout::BOOT_PARAMS_GPA);
    (params.magic == boot_abi::BOOT_PARAMS_MAGIC).then_some(params)
}

/// GPA of the CPUID page.
pub fn cpuid_gpa() -> u64 {
    match guest() {
        Some(params) => params.cpuid_gpa.get(),
        None => layout::CPUID_GPA,
    }
}

/// GPA of the secrets page.
pub fn secrets_gpa() -> u64 {
    match guest() {
        Some(params) => params.secrets_gpa.get(),
        None => layout::SECRETS_GPA,
    }
}

/// The CPUID page's entries.
pub fn cpuid_entries() -> impl Iterator<Item = CpuidEntry> {
    let gpa = cpuid_gpa();
    let count = copy::<u32>(gpa).min(snp_abi::cpuid::MAX_ENTRIES as u32) as u64;
    (0..count).map(move |i| copy(gpa + 16 + i * size_of::<CpuidEntry>() as u64))
}

/// The secrets page.
pub fn secrets() -> snp_abi::secrets::SecretsPage {
    copy(secrets_gpa())
}

/// The SEV features of the running VMPL, from SEV_STATUS.
pub fn sev_features() -> SevFeatures {
    SevFeatures::from_sev_status(crate::cpu::rdmsr(msr::SEV_STATUS))
}

/// The memory map: (first GPA, bytes, [`boot_abi::memory_type`]), in the order given. Ends at the first entry of zero pages.
pub fn memory_map() -> impl Iterator<Item = (u64, u64, u16)> {
    let (base, size) = match guest() {
        Some(p) => (p.memory_map.base.get(), p.memory_map.size.get()),
        None => (layout::MEMORY_MAP_GPA, layout::MEMORY_MAP_SIZE),
    };
    let mapped = crate::paging::ensure_identity(base, size).is_ok();
    let entry_size = size_of::<boot_abi::MemoryMapEntry>() as u64;
    let count = if mapped { size / entry_size } else { 0 };
    (0..count)
        .map(move |i| copy::<boot_abi::MemoryMapEntry>(base + i * entry_size))
        .take_while(|e| e.number_of_pages.get() != 0)
        .map(|e| {
            (
                e.starting_gpa_page_number.get() << 12,
                e.number_of_pages.get() << 12,
                e.entry_type.get(),
            )
        })
}
