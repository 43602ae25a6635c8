//! What the image builder, the SVSM kernel and the guest payload (shim or probe) tell each other: where things are
//! put, and the two measured parameter blocks. Addresses are guest-physical, without the C-bit.
//!
//! `docs/src/image.md` draws the map.
#![no_std]
#![forbid(unsafe_code)]

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the image puts things. The builder lays images out by it; the SVSM takes from it only what it cannot read
/// from [`BootParams`] yet.
pub mod layout {
    /// The 32-bit boot stage: its code and first page tables, in low RAM because a processor without paging reaches
    /// nothing else. It becomes guest RAM once the SVSM runs on its own page tables.
    pub const BOOT_STAGE_BASE: u64 = 0x1_0000;
    /// Bytes of low RAM for the boot stage, the CPUID page and the secrets page.
    pub const BOOT_STAGE_SIZE: u64 = 0x1_0000;
    /// CPUID page, as the firmware fills it.
    pub const CPUID_GPA: u64 = 0x1_E000;
    /// Secrets page, as the firmware fills it.
    pub const SECRETS_GPA: u64 = 0x1_F000;

    /// The SVSM's memory on SEV-SNP: far above any RAM the guest is given, so that the guest's memory map has no hole.
    pub const SVSM_BASE: u64 = 0x80_0000_0000;
    /// The SVSM's memory on the native platform: in RAM that every machine has, because no loader can make more of it there.
    pub const NATIVE_SVSM_BASE: u64 = 0x200_0000;
    /// Bytes of it.
    pub const SVSM_SIZE: u64 = 8 * 1024 * 1024;
    /// Where the kernel is linked: virtual address of the SVSM's memory.
    pub const KERNEL_VIRTUAL_BASE: u64 = 0xFFFF_FFFF_8000_0000;

    /// The measured services, from the start of the SVSM's memory: a page with the [`super::ServiceTable`], then their ELF
    /// images. Read-only for good; what of it is not launched is not used.
    pub const SERVICES_OFFSET: u64 = PARAMETERS_OFFSET - SERVICES_SIZE;
    /// Most bytes of it.
    pub const SERVICES_SIZE: u64 = 0x18_0000;

    /// The last part of the SVSM's memory holds parameters; all of it is launched.
    pub const PARAMETERS_OFFSET: u64 = SVSM_SIZE - PARAMETERS_SIZE;
    /// Bytes of it.
    pub const PARAMETERS_SIZE: u64 = 0x1_0000;

    /// Where SEV-SNP has the services.
    pub const SERVICES_GPA: u64 = SVSM_BASE + SERVICES_OFFSET;
    /// Where SEV-SNP has the parameters.
    pub const PARAMETERS_GPA: u64 = SVSM_BASE + PARAMETERS_OFFSET;
    /// The measured [`super::BootParams`] page.
    pub const BOOT_PARAMS_GPA: u64 = PARAMETERS_GPA;
    /// The page with [`super::GeneralParams`].
    pub const GENERAL_PARAMS_GPA: u64 = PARAMETERS_GPA + 0x1000;
    /// The memory map: an array of IGVM memory map entries that ends with one of zero pages, or with the area.
    pub const MEMORY_MAP_GPA: u64 = PARAMETERS_GPA + 0x2000;
    /// Bytes of it.
    pub const MEMORY_MAP_SIZE: u64 = 0x2000;
    /// The host's MADT.
    pub const MADT_GPA: u64 = PARAMETERS_GPA + 0x8000;
    /// Bytes of it.
    pub const MADT_SIZE: u64 = 0x8000;

    /// Where the native platform has what SEV-SNP has at `gpa`: the SVSM's memory is elsewhere, all else in the same place.
    pub const fn native(gpa: u64) -> u64 {
        if gpa >= SVSM_BASE && gpa - SVSM_BASE < SVSM_SIZE {
            gpa - SVSM_BASE + NATIVE_SVSM_BASE
        } else {
            gpa
        }
    }

    /// The guest payload's region: reserved in the guest's memory map. One large page, because Linux maps what
    /// it finds there (blob, CPUID, secrets, calling area) by large pages before it can fault.
    pub const GUEST_BASE: u64 = 0x80_0000;
    /// Bytes of it.
    pub const GUEST_SIZE: u64 = 0x20_0000;
    /// The measured [`super::GuestParams`] page.
    pub const GUEST_PARAMS_GPA: u64 = GUEST_BASE;
    /// The guest's copy of the memory map, filled by the SVSM.
    pub const GUEST_MEMORY_MAP_GPA: u64 = GUEST_BASE + 0x1000;
    /// The guest's secrets page, filled by the SVSM.
    pub const GUEST_SECRETS_GPA: u64 = GUEST_BASE + 0xD000;
    /// The guest's CPUID page, filled by the SVSM.
    pub const GUEST_CPUID_GPA: u64 = GUEST_BASE + 0xE000;
    /// The first calling area.
    pub const GUEST_CAA_GPA: u64 = GUEST_BASE + 0xF000;
    /// The confidential-computing blob, made by the shim.
    pub const GUEST_CC_BLOB_GPA: u64 = GUEST_BASE + 0x1_0000;
    /// Where the payload's ELF image is linked and loaded; from `GUEST_BASE` up to its end every page is launched.
    pub const GUEST_IMAGE_GPA: u64 = GUEST_BASE + 0x2_0000;
}

/// First bytes of [`BootParams`].
pub const BOOT_PARAMS_MAGIC: [u8; 8] = *b"MACABOOT";
/// First bytes of [`GuestParams`].
pub const GUEST_PARAMS_MAGIC: [u8; 8] = *b"MACAGUES";
/// Version of both.
pub const PARAMS_VERSION: u32 = 3;
/// Bit of [`BootParams::flags`]: the image has a debugger in it, and whoever reaches its serial port sees and changes
/// everything. Such an image keeps no secret.
pub const FLAG_DEBUGGER: u32 = 1;
/// First bytes of [`ServiceTable`].
pub const SERVICE_TABLE_MAGIC: [u8; 8] = *b"MACASERV";
/// Most services of an image.
pub const MAX_SERVICES: usize = 8;

/// A range of guest-physical memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GpaRange {
    pub base: U64,
    /// Bytes.
    pub size: U64,
}

impl GpaRange {
    /// The range of `size` bytes from `base`.
    pub const fn new(base: u64, size: u64) -> GpaRange {
        GpaRange {
            base: U64::new(base),
            size: U64::new(size),
        }
    }
}

/// How a guest payload is entered.
pub mod entry_mode {
    /// No guest: the SVSM stops after its own boot.
    pub const NONE: u32 = 0;
    /// 32-bit protected mode without paging, flat segments, at the given address; EBX holds the GPA of
    /// [`super::GuestParams`]. Without paging every access is private, so the payload can find the C-bit's position
    /// in the CPUID page before it needs it.
    pub const FLAT_32: u32 = 1;
    /// Real mode at the reset vector (firmware).
    pub const RESET_VECTOR: u32 = 2;
}

/// What the SVSM is told by the builder; measured. Padded with zeros to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootParams {
    /// [`BOOT_PARAMS_MAGIC`].
    pub magic: [u8; 8],
    /// [`PARAMS_VERSION`].
    pub version: U32,
    /// Bytes of this structure.
    pub size: U32,
    /// The SVSM's memory.
    pub svsm: GpaRange,
    /// The part of it, from its base, that was launched with the kernel's image (text to bss).
    pub kernel_image: GpaRange,
    /// The part of it with parameters, launched as well.
    pub parameters: GpaRange,
    /// The part of it with services, from [`layout::SERVICES_GPA`], launched; no bytes when there are none.
    pub services: GpaRange,
    /// Low RAM used by the boot stage, to be given to the guest; launched in part.
    pub boot_stage: GpaRange,
    /// The pages of `boot_stage` that were launched, from its base.
    pub boot_stage_launched: GpaRange,
    /// GPA of the CPUID page.
    pub cpuid_gpa: U64,
    /// GPA of the secrets page.
    pub secrets_gpa: U64,
    /// GPA of [`GeneralParams`].
    pub general_params_gpa: U64,
    /// The IGVM memory map.
    pub memory_map: GpaRange,
    /// The MADT.
    pub madt: GpaRange,
    /// Serial console's first port.
    pub serial_port: U16,
    /// Zero.
    pub reserved: [u8; 2],
    /// [`FLAG_DEBUGGER`].
    pub flags: U32,
    /// For an SVSM with tests in it: the failure to be provoked, in ASCII padded with zeros; zeros: all tests.
    pub test_case: [u8; 32],
    /// The guest.
    pub guest: GuestImage,
}

/// What services an image has: the first page of [`BootParams::services`]; measured. Padded with zeros to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServiceTable {
    /// [`SERVICE_TABLE_MAGIC`].
    pub magic: [u8; 8],
    /// [`PARAMS_VERSION`].
    pub version: U32,
    /// How many entries are used, from the first.
    pub count: U32,
    /// The services; unused entries are zero.
    pub services: [ServiceEntry; MAX_SERVICES],
}

/// A ring-3 service of the SVSM's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ServiceEntry {
    /// Its name for people: printable ASCII, padded with zeros.
    pub name: [u8; 16],
    /// The SVSM protocol that it serves.
    pub protocol: U32,
    /// Most pages of its heap.
    pub heap_pages: U32,
    /// Most seconds that it may run for one request, all slices together.
    pub request_seconds: U32,
    /// Where its ELF image starts, from the table's first byte; a multiple of 4096.
    pub offset: U32,
    /// Bytes of it.
    pub size: U32,
}

/// The guest payload in [`BootParams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GuestImage {
    /// One of [`entry_mode`].
    pub entry_mode: U32,
    /// Zero.
    pub reserved: U32,
    /// Where it starts.
    pub entry: U64,
    /// Its region.
    pub region: GpaRange,
    /// The pages of the region that were launched.
    pub launched: GpaRange,
    /// GPA of [`GuestParams`].
    pub params_gpa: U64,
    /// Where its memory map goes.
    pub memory_map: GpaRange,
    /// Where its secrets page goes.
    pub secrets_gpa: U64,
    /// Where its CPUID page goes.
    pub cpuid_gpa: U64,
    /// Its first calling area.
    pub caa_gpa: U64,
}

/// What the guest payload is told by the builder; measured. Padded with zeros to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GuestParams {
    /// [`GUEST_PARAMS_MAGIC`].
    pub magic: [u8; 8],
    /// [`PARAMS_VERSION`].
    pub version: U32,
    /// Bytes of this structure.
    pub size: U32,
    /// Its region.
    pub region: GpaRange,
    /// The memory map: IGVM entries.
    pub memory_map: GpaRange,
    /// GPA of the secrets page.
    pub secrets_gpa: U64,
    /// GPA of the CPUID page.
    pub cpuid_gpa: U64,
    /// GPA of the first calling area.
    pub caa_gpa: U64,
    /// GPA for the confidential-computing blob.
    pub cc_blob_gpa: U64,
    /// The SVSM's memory, for test guests that try to reach it.
    pub svsm: GpaRange,
    /// Serial console's first port.
    pub serial_port: U16,
    /// Zero.
    pub reserved: [u8; 6],
    /// SHA-256 of the fw_cfg files that the shim loads.
    pub payload: PayloadDigests,
}

/// SHA-256 digests of the three fw_cfg files, over their exact bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PayloadDigests {
    /// bzImage, [`fw_cfg::KERNEL`].
    pub kernel: [u8; 32],
    /// initrd, [`fw_cfg::INITRD`]; an absent file counts as an empty one.
    pub initrd: [u8; 32],
    /// Command line without a terminator, [`fw_cfg::CMDLINE`].
    pub cmdline: [u8; 32],
}

/// Why a guest payload asked for termination (GHCB MSR protocol 0x100; 56421 leaves sets above 0 to vendors). The line
/// before it on the console has the details, if there is a console.
pub mod termination {
    /// The reason set of payloads.
    pub const SET: u8 = 5;
    /// The GHCB could not be made or registered.
    pub const NO_GHCB: u8 = 0x01;
    /// The hypervisor refused port I/O.
    pub const PORT_IO: u8 = 0x02;
    /// A panic.
    pub const PANIC: u8 = 0x03;
    /// Shim: the parameter page is none.
    pub const PARAMETERS: u8 = 0x10;
    /// Shim: the memory map is malformed, or lacks what is needed.
    pub const MEMORY_MAP: u8 = 0x11;
    /// Shim: memory could not be made private and valid.
    pub const VALIDATION: u8 = 0x12;
    /// Shim: the chipset is not the expected one.
    pub const CHIPSET: u8 = 0x13;
    /// Shim: fw_cfg is not there, malformed, or reported an error.
    pub const FW_CFG: u8 = 0x14;
    /// Shim: the ACPI tables or their script are malformed.
    pub const ACPI: u8 = 0x15;
    /// Shim: the kernel's digest is not the measured one.
    pub const KERNEL_DIGEST: u8 = 0x16;
    /// Shim: the initrd's digest is not the measured one.
    pub const INITRD_DIGEST: u8 = 0x17;
    /// Shim: the command line's digest is not the measured one.
    pub const CMDLINE_DIGEST: u8 = 0x18;
    /// Shim: the kernel or the command line is the measured one but cannot be booted.
    pub const UNBOOTABLE: u8 = 0x19;
    /// Shim: RAM has no room for something.
    pub const NO_ROOM: u8 = 0x1A;
    /// Shim: its shared pages could not be made private again.
    pub const HAND_OVER: u8 = 0x1B;
}

/// Names of the fw_cfg files.
pub mod fw_cfg {
    /// The kernel.
    pub const KERNEL: &str = "opt/macadamia/kernel";
    /// The initial RAM disk.
    pub const INITRD: &str = "opt/macadamia/initrd";
    /// The command line.
    pub const CMDLINE: &str = "opt/macadamia/cmdline";
    /// For test payloads: which cases to run.
    pub const TEST_CASE: &str = "opt/macadamia/case";
}

/// What the loader tells the SVSM through IGVM parameters; from the host, not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GeneralParams {
    /// IGVM_VHT_VP_COUNT_PARAMETER at offset 0.
    pub vp_count: U32,
    /// IGVM_VHT_ENVIRONMENT_INFO_PARAMETER at offset 4: see [`ENVIRONMENT_MEMORY_IS_SHARED`].
    pub environment_info: U32,
}

/// Bit of [`GeneralParams::environment_info`]: memory that was not launched starts out shared, and needs a page state
/// change before it can be validated.
pub const ENVIRONMENT_MEMORY_IS_SHARED: u32 = 1;

/// An entry of the IGVM memory map (`IGVM_VHS_MEMORY_MAP_ENTRY`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct MemoryMapEntry {
    /// First page.
    pub starting_gpa_page_number: U64,
    /// How many.
    pub number_of_pages: U64,
    /// One of [`memory_type`].
    pub entry_type: U16,
    /// Zero.
    pub flags: U16,
    /// Zero.
    pub reserved: U32,
}

/// Types of memory map entries.
pub mod memory_type {
    /// Usable RAM.
    pub const MEMORY: u16 = 0;
    /// Reserved by the platform.
    pub const PLATFORM_RESERVED: u16 = 1;
    /// Persistent memory.
    pub const PERSISTENT: u16 = 2;
    /// For a virtual trust level.
    pub const VTL2_PROTECTABLE: u16 = 3;
}

const _: () = {
    assert!(core::mem::size_of::<MemoryMapEntry>() == 24);
    assert!(core::mem::size_of::<GeneralParams>() == 8);
    assert!(core::mem::size_of::<BootParams>() <= 4096);
    assert!(core::mem::size_of::<GuestParams>() <= 4096);
    assert!(core::mem::size_of::<ServiceTable>() <= 4096);
    assert!(layout::MADT_GPA + layout::MADT_SIZE == layout::SVSM_BASE + layout::SVSM_SIZE);
};
