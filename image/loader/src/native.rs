//! A virtual processor's first state on the native platform: `IgvmNativeVpContextX64`, padded with zeros to a page.
//!
//! A loader that is software can enter few of the states that the structure can express. [`Flat32`] is the one that is
//! supported: 32-bit protected mode without paging and with flat segments, the state after which an SNP image's VMSA is
//! made, too. A context that asks for anything else is refused by the name of its field.

use igvm_defs::IgvmNativeVpContextX64;
use zerocopy::FromBytes;

use crate::Page;
use crate::error::Problem;

/// PE, ET and NE.
pub const CR0: u64 = 0x31;
/// Bit 1 is always one.
pub const RFLAGS: u64 = 2;
/// Selectors of code and data.
pub const CODE: u16 = 0x08;
/// See [`CODE`].
pub const DATA: u16 = 0x10;
/// Attributes in the layout of a descriptor's upper half: granularity, 32 bits, present; code: execute and read; data: read
/// and write; both accessed.
pub const CODE_ATTRIBUTES: u16 = 0xC09B;
/// See [`CODE_ATTRIBUTES`].
pub const DATA_ATTRIBUTES: u16 = 0xC093;
/// The limit of flat segments.
pub const LIMIT: u32 = 0xFFFF_FFFF;

/// 32-bit protected mode without paging: what differs from context to context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Flat32 {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub esp: u32,
    pub eip: u32,
    /// Limit and base.
    pub gdtr: (u16, u32),
    /// Limit and base.
    pub idtr: (u16, u32),
}

/// A context's fields; the page has nothing else.
///
/// # Errors
/// A reserved field, or a byte after the structure, is not zero.
pub fn context(page: &Page) -> Result<IgvmNativeVpContextX64, Problem> {
    let Ok((context, rest)) = IgvmNativeVpContextX64::read_from_prefix(page) else {
        return Err(Problem::TooShort {
            what: "a native VP context",
            size: size_of::<IgvmNativeVpContextX64>() as u64,
            available: page.len() as u64,
        });
    };
    for word in context.reserved {
        same("reserved field of a native VP context", word, 0u16)?;
    }
    let first = rest.iter().find(|&&byte| byte != 0);
    same(
        "a byte after a native VP context",
        *first.unwrap_or(&0),
        0u8,
    )?;
    Ok(context)
}

impl Flat32 {
    /// The state that `page` asks for.
    ///
    /// # Errors
    /// The first field that [`Flat32`] cannot have so.
    pub fn read(page: &Page) -> Result<Flat32, Problem> {
        let c = context(page)?;
        same("CR0 of a native VP context", c.cr0, CR0)?;
        same("CR3 of a native VP context", c.cr3, 0u64)?;
        same("CR4 of a native VP context", c.cr4, 0u64)?;
        same("EFER of a native VP context", c.efer, 0u64)?;
        same("RFLAGS of a native VP context", c.rflags, RFLAGS)?;
        same(
            "code selector of a native VP context",
            c.code_selector,
            CODE,
        )?;
        same(
            "code attributes of a native VP context",
            c.code_attributes,
            CODE_ATTRIBUTES,
        )?;
        same("code base of a native VP context", c.code_base, 0u32)?;
        same("code limit of a native VP context", c.code_limit, LIMIT)?;
        same(
            "data selector of a native VP context",
            c.data_selector,
            DATA,
        )?;
        same(
            "data attributes of a native VP context",
            c.data_attributes,
            DATA_ATTRIBUTES,
        )?;
        same("data base of a native VP context", c.data_base, 0u32)?;
        same("data limit of a native VP context", c.data_limit, LIMIT)?;
        same("GS base of a native VP context", c.gs_base, 0u64)?;
        for r in [c.r8, c.r9, c.r10, c.r11, c.r12, c.r13, c.r14, c.r15] {
            same("one of R8 to R15 of a native VP context", r, 0u64)?;
        }
        Ok(Flat32 {
            eax: low("RAX of a native VP context", c.rax)?,
            ebx: low("RBX of a native VP context", c.rbx)?,
            ecx: low("RCX of a native VP context", c.rcx)?,
            edx: low("RDX of a native VP context", c.rdx)?,
            esi: low("RSI of a native VP context", c.rsi)?,
            edi: low("RDI of a native VP context", c.rdi)?,
            ebp: low("RBP of a native VP context", c.rbp)?,
            esp: low("RSP of a native VP context", c.rsp)?,
            eip: low("RIP of a native VP context", c.rip)?,
            gdtr: (
                c.gdtr_limit,
                low("GDTR base of a native VP context", c.gdtr_base)?,
            ),
            idtr: (
                c.idtr_limit,
                low("IDTR base of a native VP context", c.idtr_base)?,
            ),
        })
    }
}

fn same(
    what: &'static str,
    value: impl Into<u64>,
    expected: impl Into<u64>,
) -> Result<(), Problem> {
    let (value, expected) = (value.into(), expected.into());
    if value == expected {
        return Ok(());
    }
    Err(Problem::Differs {
        what,
        value,
        expected,
    })
}

fn low(what: &'static str, value: u64) -> Result<u32, Problem> {
    u32::try_from(value).map_err(|_| Problem::Value {
        what,
        value,
        expected: "32 bits, because the context is one of 32-bit mode",
    })
}
