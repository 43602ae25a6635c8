//! A tiny IGVM image for the native platform, made by the IGVM library of others: it prints what its processor and its
//! parameters are, and ends QEMU.

use anyhow::{Context, Result};
use igvm::{IgvmDirectiveHeader, IgvmFile, IgvmPlatformHeader, IgvmRevision};
use igvm_defs::{
    IGVM_NATIVE_PLATFORM_VERSION, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT,
    IGVM_VHS_SUPPORTED_PLATFORM, IgvmNativeVpContextX64, IgvmPageDataFlags, IgvmPageDataType,
    IgvmPlatformType,
};
use zerocopy::FromZeros;

/// The value that the image ends QEMU with.
pub const END: u8 = 0x21;
/// Where its code is.
pub const CODE: u64 = 0x1_0000;
/// Its parameters: general, memory map, MADT.
const AREAS: [(u64, u64); 3] = [(0x2_0000, 0x1000), (0x2_1000, 0x1000), (0x2_2000, 0x8000)];
/// The image's bit in compatibility masks.
const MASK: u32 = 1;

/// What the code prints, in this order, each word as eight hexadecimal digits.
pub const WORDS: [&str; 26] = [
    "MADT's signature",
    "pages of the memory map's first entry",
    "VP count",
    "IDTR, limit and low base",
    "IDTR, high base",
    "GDTR, limit and low base",
    "GDTR, high base",
    "EFER",
    "CR4",
    "CR3",
    "CR0",
    "SS",
    "GS",
    "FS",
    "ES",
    "DS",
    "CS",
    "EFLAGS",
    "EDI",
    "ESI",
    "EBP",
    "ESP",
    "EBX",
    "EDX",
    "ECX",
    "EAX",
];

/// 32-bit code that pushes the words and prints them from the last one to the first.
#[rustfmt::skip]
const PROGRAM: &[u8] = &[
    0x60, 0x9C,                         // pushad; pushfd
    0x8C, 0xC8, 0x50, 0x8C, 0xD8, 0x50, // mov eax, cs; push eax; mov eax, ds; push eax
    0x8C, 0xC0, 0x50, 0x8C, 0xE0, 0x50, // es, fs
    0x8C, 0xE8, 0x50, 0x8C, 0xD0, 0x50, // gs, ss
    0x0F, 0x20, 0xC0, 0x50,             // mov eax, cr0; push eax
    0x0F, 0x20, 0xD8, 0x50,             // cr3
    0x0F, 0x20, 0xE0, 0x50,             // cr4
    0xB9, 0x80, 0x00, 0x00, 0xC0,       // mov ecx, 0xC0000080
    0x0F, 0x32, 0x50,                   // rdmsr; push eax
    0x6A, 0x00, 0x6A, 0x00,             // push 0; push 0
    0x0F, 0x01, 0x04, 0x24,             // sgdt [esp]
    0x6A, 0x00, 0x6A, 0x00,             // push 0; push 0
    0x0F, 0x01, 0x0C, 0x24,             // sidt [esp]
    0xFF, 0x35, 0x00, 0x00, 0x02, 0x00, // push dword [0x20000]
    0xFF, 0x35, 0x08, 0x10, 0x02, 0x00, // push dword [0x21008]
    0xFF, 0x35, 0x00, 0x20, 0x02, 0x00, // push dword [0x22000]
    0x89, 0xE6,                         // mov esi, esp
    0xBD, WORDS.len() as u8, 0, 0, 0,   // mov ebp, words
    0xAD, 0x89, 0xC7,                   // word: lodsd; mov edi, eax
    0xBB, 0x08, 0x00, 0x00, 0x00,       // mov ebx, 8
    0xC1, 0xC7, 0x04, 0x89, 0xF8,       // digit: rol edi, 4; mov eax, edi
    0x24, 0x0F, 0x04, 0x30,             // and al, 15; add al, '0'
    0x3C, 0x39, 0x76, 0x02, 0x04, 0x27, // cmp al, '9'; jbe +2; add al, 'a' - '9' - 1
    0xE8, 0x1B, 0x00, 0x00, 0x00,       // call put
    0x4B, 0x75, 0xE9,                   // dec ebx; jnz digit
    0xB0, 0x20, 0xE8, 0x11, 0, 0, 0,    // mov al, ' '; call put
    0x4D, 0x75, 0xD7,                   // dec ebp; jnz word
    0xB0, 0x0A, 0xE8, 0x07, 0, 0, 0,    // mov al, '\n'; call put
    0xB0, END, 0xE6, 0xF4,              // mov al, END; out 0xF4, al
    0xF4, 0xEB, 0xFD,                   // hlt; jmp back
    0x88, 0xC4,                         // put: mov ah, al
    0x66, 0xBA, 0xFD, 0x03,             // mov dx, 0x3FD
    0xEC, 0xA8, 0x20, 0x74, 0xFB,       // in al, dx; test al, 0x20; jz back
    0x88, 0xE0,                         // mov al, ah
    0x66, 0xBA, 0xF8, 0x03, 0xEE, 0xC3, // mov dx, 0x3F8; out dx, al; ret
];

/// An image to be: change what is to be wrong with it.
#[derive(Clone)]
pub struct Tiny {
    /// What it is for.
    pub platform: IgvmPlatformType,
    /// The processor's first state.
    pub context: IgvmNativeVpContextX64,
    /// The processor that has it.
    pub vp_index: u16,
    /// Where the code is put.
    pub code: u64,
    /// Memory that it asks for: address, bytes.
    pub required: (u64, u32),
}

impl Tiny {
    /// A good one.
    pub fn good() -> Tiny {
        let mut context = IgvmNativeVpContextX64::new_zeroed();
        (context.rax, context.rcx, context.rdx, context.rbx) =
            (0xA0A0_0001, 0xC0C0_0002, 0xD0D0_0003, 0xB0B0_0004);
        (context.rsi, context.rdi, context.rbp) = (0x5050_0005, 0xD1D1_0006, 0xB9B9_0007);
        context.rsp = 0x3_0000;
        context.rip = CODE;
        context.rflags = 2;
        context.cr0 = 0x31;
        (context.gdtr_limit, context.gdtr_base) = (0x1234, 0x5678_9ABC);
        (context.idtr_limit, context.idtr_base) = (0x0FFF, 0x0DEF_0000);
        (context.code_selector, context.code_attributes) = (0x08, 0xC09B);
        (context.data_selector, context.data_attributes) = (0x10, 0xC093);
        (context.code_limit, context.data_limit) = (u32::MAX, u32::MAX);
        Tiny {
            platform: IgvmPlatformType::NATIVE,
            context,
            vp_index: 0,
            code: CODE,
            required: (0x200_0000, 0x80_0000),
        }
    }

    /// The file.
    pub fn file(&self) -> Result<Vec<u8>> {
        let platform = IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
            compatibility_mask: MASK,
            highest_vtl: 0,
            platform_type: self.platform,
            platform_version: IGVM_NATIVE_PLATFORM_VERSION,
            shared_gpa_boundary: 0,
        });
        let mut directives = vec![IgvmDirectiveHeader::RequiredMemory {
            gpa: self.required.0,
            compatibility_mask: MASK,
            number_of_bytes: self.required.1,
            vtl2_protectable: false,
        }];
        let indices = 0..AREAS.len() as u32;
        directives.extend(indices.clone().zip(AREAS).map(|(index, (_, bytes))| {
            IgvmDirectiveHeader::ParameterArea {
                number_of_bytes: bytes,
                parameter_area_index: index,
                initial_data: Vec::new(),
            }
        }));
        let parameter = |parameter_area_index| IGVM_VHS_PARAMETER {
            parameter_area_index,
            byte_offset: 0,
        };
        directives.extend([
            IgvmDirectiveHeader::VpCount(parameter(0)),
            IgvmDirectiveHeader::MemoryMap(parameter(1)),
            IgvmDirectiveHeader::Madt(parameter(2)),
        ]);
        directives.extend(indices.zip(AREAS).map(|(index, (gpa, _))| {
            IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
                gpa,
                compatibility_mask: MASK,
                parameter_area_index: index,
            })
        }));
        let mut page = PROGRAM.to_vec();
        page.resize(4096, 0);
        directives.push(IgvmDirectiveHeader::PageData {
            gpa: self.code,
            compatibility_mask: MASK,
            flags: IgvmPageDataFlags::new(),
            data_type: IgvmPageDataType::NORMAL,
            data: page,
        });
        directives.push(IgvmDirectiveHeader::X64NativeVpContext {
            compatibility_mask: MASK,
            vp_index: self.vp_index,
            context: Box::new(self.context),
        });
        let file = IgvmFile::new(IgvmRevision::V1, vec![platform], Vec::new(), directives)
            .context("the IGVM library refuses the image")?;
        let mut bytes = Vec::new();
        file.serialize(&mut bytes)?;
        Ok(bytes)
    }
}
