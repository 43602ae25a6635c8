//! The two measured parameter blocks.

use std::io::Read;

use anyhow::Result;
use boot_abi::{
    BOOT_PARAMS_MAGIC, BootParams, GUEST_PARAMS_MAGIC, GpaRange, GuestImage, GuestParams,
    PARAMS_VERSION, PayloadDigests, entry_mode, layout,
};
use sha2::{Digest, Sha256};
use zerocopy::little_endian::{U16, U32, U64};

/// First port of the console: COM1.
const SERIAL_PORT: u16 = 0x3F8;

/// What of the guest is known once it is laid out.
pub struct GuestPart {
    /// Where it starts.
    pub entry: u64,
    /// The launched pages of its region.
    pub launched: GpaRange,
}

/// Ranges that depend on the programs.
pub struct Programs {
    /// The SVSM's memory that holds its kernel, from its base.
    pub kernel_image: u64,
    /// The launched bytes of services.
    pub services: u64,
    /// The part of the boot stage that is launched, from its base.
    pub boot_stage_launched: u64,
    /// The guest, if there is one.
    pub guest: Option<GuestPart>,
    /// Flags of the boot parameters.
    pub flags: u32,
    /// Test case of the boot parameters.
    pub test_case: [u8; 32],
}

/// The SVSM's memory.
const SVSM: GpaRange = GpaRange::new(layout::SVSM_BASE, layout::SVSM_SIZE);
/// The guest payload's region.
const GUEST_REGION: GpaRange = GpaRange::new(layout::GUEST_BASE, layout::GUEST_SIZE);
/// The guest's copy of the memory map: up to its secrets page.
const GUEST_MEMORY_MAP: GpaRange = GpaRange::new(
    layout::GUEST_MEMORY_MAP_GPA,
    layout::GUEST_SECRETS_GPA - layout::GUEST_MEMORY_MAP_GPA,
);
const NOTHING: GpaRange = GpaRange::new(0, 0);

/// What the SVSM is told.
pub fn boot_params(programs: &Programs) -> BootParams {
    BootParams {
        magic: BOOT_PARAMS_MAGIC,
        version: U32::new(PARAMS_VERSION),
        size: U32::new(size_of::<BootParams>() as u32),
        svsm: SVSM,
        kernel_image: GpaRange::new(layout::SVSM_BASE, programs.kernel_image),
        parameters: GpaRange::new(layout::PARAMETERS_GPA, layout::PARAMETERS_SIZE),
        services: GpaRange::new(layout::SERVICES_GPA, programs.services),
        boot_stage: GpaRange::new(layout::BOOT_STAGE_BASE, layout::BOOT_STAGE_SIZE),
        boot_stage_launched: GpaRange::new(layout::BOOT_STAGE_BASE, programs.boot_stage_launched),
        cpuid_gpa: U64::new(layout::CPUID_GPA),
        secrets_gpa: U64::new(layout::SECRETS_GPA),
        general_params_gpa: U64::new(layout::GENERAL_PARAMS_GPA),
        memory_map: GpaRange::new(layout::MEMORY_MAP_GPA, layout::MEMORY_MAP_SIZE),
        madt: GpaRange::new(layout::MADT_GPA, layout::MADT_SIZE),
        serial_port: U16::new(SERIAL_PORT),
        reserved: [0; 2],
        flags: U32::new(programs.flags),
        test_case: programs.test_case,
        guest: guest_image(programs.guest.as_ref()),
    }
}

/// The same for the native platform: the SVSM's memory elsewhere, and no guest.
pub fn native(mut params: BootParams) -> BootParams {
    for gpa in [
        &mut params.svsm.base,
        &mut params.kernel_image.base,
        &mut params.parameters.base,
        &mut params.services.base,
        &mut params.general_params_gpa,
        &mut params.memory_map.base,
        &mut params.madt.base,
    ] {
        *gpa = U64::new(layout::native(gpa.get()));
    }
    params.guest = guest_image(None);
    params
}

fn guest_image(guest: Option<&GuestPart>) -> GuestImage {
    let Some(guest) = guest else {
        return GuestImage {
            entry_mode: U32::new(entry_mode::NONE),
            reserved: U32::new(0),
            entry: U64::new(0),
            region: NOTHING,
            launched: NOTHING,
            params_gpa: U64::new(0),
            memory_map: NOTHING,
            secrets_gpa: U64::new(0),
            cpuid_gpa: U64::new(0),
            caa_gpa: U64::new(0),
        };
    };
    GuestImage {
        entry_mode: U32::new(entry_mode::FLAT_32),
        reserved: U32::new(0),
        entry: U64::new(guest.entry),
        region: GUEST_REGION,
        launched: guest.launched,
        params_gpa: U64::new(layout::GUEST_PARAMS_GPA),
        memory_map: GUEST_MEMORY_MAP,
        secrets_gpa: U64::new(layout::GUEST_SECRETS_GPA),
        cpuid_gpa: U64::new(layout::GUEST_CPUID_GPA),
        caa_gpa: U64::new(layout::GUEST_CAA_GPA),
    }
}

/// What the guest payload is told.
pub fn guest_params(payload: PayloadDigests) -> GuestParams {
    GuestParams {
        magic: GUEST_PARAMS_MAGIC,
        version: U32::new(PARAMS_VERSION),
        size: U32::new(size_of::<GuestParams>() as u32),
        region: GUEST_REGION,
        memory_map: GUEST_MEMORY_MAP,
        secrets_gpa: U64::new(layout::GUEST_SECRETS_GPA),
        cpuid_gpa: U64::new(layout::GUEST_CPUID_GPA),
        caa_gpa: U64::new(layout::GUEST_CAA_GPA),
        cc_blob_gpa: U64::new(layout::GUEST_CC_BLOB_GPA),
        svsm: SVSM,
        serial_port: U16::new(SERIAL_PORT),
        reserved: [0; 6],
        payload,
    }
}

/// SHA-256 of all that `source` has.
pub fn sha256(mut source: impl Read) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&buffer[..count]),
        }
    }
}
