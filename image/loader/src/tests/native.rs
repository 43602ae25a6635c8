//! The native platform: what it has not, and the processor state that a loader in software can enter.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::builder::*;
use crate::native::Flat32;
use crate::{
    HostParameters, Image, LoadError, Machine, MemoryMapEntryType, Page, PageKind, Platform,
};

/// Where RAM ends.
const RAM_END: u64 = 0x2000_0000;
/// The data page of the context.
const CONTEXT: usize = 2;
const PAGES: usize = 3;

/// Takes the pages' addresses and the context.
#[derive(Default)]
struct Recorder {
    pages: Vec<(u64, PageKind)>,
    required: Vec<(u64, u64)>,
    context: Option<(u16, Page)>,
}

impl Machine for Recorder {
    type Error = String;

    fn guest_policy(&mut self, _: u64) -> Result<(), String> {
        Err("the native platform has no guest policy".to_string())
    }

    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), String> {
        self.required.push((gpa, bytes));
        Ok(())
    }

    fn page(&mut self, gpa: u64, kind: PageKind, _: &Page) -> Result<(), String> {
        self.pages.push((gpa, kind));
        Ok(())
    }

    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), String> {
        assert_eq!(gpa, 0);
        self.context = Some((vp_index, *contents));
        Ok(())
    }
}

/// A small image with all that the native platform has.
fn good() -> Vec<Tlv> {
    vec![
        platform(1, 0),
        required(0x200_0000, 0x80_0000),
        area(0, 0x1000),
        parameter(VP_COUNT, 0, 0),
        insert(0x27f_1000, 0),
        page(0x1_0000, Some(0), NORMAL, 0),
        page(0x1_1000, None, NORMAL, 0),
        page(0x200_0000, Some(1), NORMAL, UNMEASURED),
        context(0, 0, CONTEXT),
    ]
}

/// The fields of a context with the bytes that each has, in the order of the format.
const FIELDS: [(&str, usize); 38] = [
    ("rax", 8),
    ("rcx", 8),
    ("rdx", 8),
    ("rbx", 8),
    ("rsp", 8),
    ("rbp", 8),
    ("rsi", 8),
    ("rdi", 8),
    ("r8", 8),
    ("r9", 8),
    ("r10", 8),
    ("r11", 8),
    ("r12", 8),
    ("r13", 8),
    ("r14", 8),
    ("r15", 8),
    ("rip", 8),
    ("rflags", 8),
    ("idtr base", 8),
    ("idtr limit", 2),
    ("reserved 0", 2),
    ("reserved 1", 2),
    ("gdtr limit", 2),
    ("gdtr base", 8),
    ("code selector", 2),
    ("code attributes", 2),
    ("code base", 4),
    ("code limit", 4),
    ("data selector", 2),
    ("data attributes", 2),
    ("data base", 4),
    ("data limit", 4),
    ("gs base", 8),
    ("cr0", 8),
    ("cr3", 8),
    ("cr4", 8),
    ("efer", 8),
    ("the end", 0),
];

fn set(page: &mut Page, name: &str, value: u64) {
    let mut at = 0;
    for (field, bytes) in FIELDS {
        if field == name {
            page[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            return;
        }
        at += bytes;
    }
    panic!("no field {name}");
}

/// 32-bit protected mode without paging, with flat segments.
fn flat() -> Page {
    let mut page = [0; 4096];
    for (name, value) in [
        ("rflags", 2),
        ("code selector", 8),
        ("code attributes", 0xC09B),
        ("code limit", 0xFFFF_FFFF),
        ("data selector", 0x10),
        ("data attributes", 0xC093),
        ("data limit", 0xFFFF_FFFF),
        ("cr0", 0x31),
        ("rip", 0x1_0010),
        ("rbx", 0x200_0000),
    ] {
        set(&mut page, name, value);
    }
    page
}

fn native_file(headers: &[Tlv], context: &Page) -> Vec<u8> {
    let mut bytes = file(headers, PAGES);
    let at = bytes.len() - (PAGES - CONTEXT) * 4096;
    bytes[at..at + 4096].copy_from_slice(context);
    bytes
}

fn load(bytes: &[u8], host: &HostParameters<'_>) -> Result<Recorder, LoadError<String>> {
    let mut machine = Recorder::default();
    Image::parse(bytes)?
        .select(Platform::Native)?
        .load(host, &mut machine)?;
    Ok(machine)
}

fn native_host<T>(act: impl FnOnce(&HostParameters<'_>) -> T) -> T {
    let map = ram();
    act(&HostParameters {
        gpa_limit: RAM_END,
        memory_is_shared: false,
        ..host(&map)
    })
}

fn refused(headers: &[Tlv], context: &Page, expected: &str) {
    let bytes = native_file(headers, context);
    let error = native_host(|host| load(&bytes, host)).err();
    let line = error.expect("a bad file was loaded").to_string();
    assert!(line.contains(expected), "{line:?} lacks {expected:?}");
    assert!(!line.contains('\n'), "{line:?}");
}

fn with(change: impl FnOnce(&mut Vec<Tlv>)) -> Vec<Tlv> {
    let mut headers = good();
    change(&mut headers);
    headers
}

#[test]
fn a_native_image_is_loaded() {
    let bytes = native_file(&good(), &flat());
    let machine = native_host(|host| load(&bytes, host)).unwrap();
    assert_eq!(machine.required, [(0x200_0000, 0x80_0000)]);
    assert_eq!(
        machine.pages,
        [
            (0x27f_1000, PageKind::Unmeasured),
            (0x1_0000, PageKind::Normal),
            (0x1_1000, PageKind::Zero),
            (0x200_0000, PageKind::Unmeasured),
        ]
    );
    let (vp, context) = machine.context.unwrap();
    assert_eq!(vp, 0);
    assert_eq!(
        Flat32::read(&context),
        Ok(Flat32 {
            eip: 0x1_0010,
            ebx: 0x200_0000,
            ..Flat32::default()
        })
    );
}

#[test]
fn what_is_of_another_platform_is_refused() {
    refused(
        &with(|h| h.insert(1, policy(0x3_0000))),
        &flat(),
        "a guest policy is nothing for the native platform",
    );
    refused(
        &with(|h| h.push(page(0x1_e000, None, CPUID, 0))),
        &flat(),
        "a CPUID page is nothing for the native platform",
    );
    refused(
        &with(|h| h.push(page(0x1_f000, None, SECRETS, 0))),
        &flat(),
        "a secrets page is nothing for the native platform",
    );
    refused(
        &with(|h| h[8] = context(0x1000, 0, CONTEXT)),
        &flat(),
        "GPA of a native VP context is 0x1000, expected 0x0",
    );
}

#[test]
fn required_memory_must_be_ram() {
    refused(
        &with(|h| h[1] = required(0x80_0000_0000, 0x80_0000)),
        &flat(),
        "reaches past the highest address",
    );
    refused(
        &with(|h| h[1] = required(0xA_0000, 0x1_0000)),
        &flat(),
        "required memory at GPA 0xa0000, 0x10000 bytes, is not in RAM",
    );
    refused(
        &with(|h| h[1] = required(RAM_END - 0x1000, 0x2000)),
        &flat(),
        "required memory at GPA 0x1ffff000, 0x2000 bytes, reaches past",
    );
    // Within one entry of RAM, but not only there.
    let map = [
        entry(0, 0x100_0000, MemoryMapEntryType::MEMORY),
        entry(0x100_0000, 0x1000, MemoryMapEntryType::PLATFORM_RESERVED),
        entry(0x100_1000, 0x1000_0000, MemoryMapEntryType::MEMORY),
    ];
    let bytes = native_file(&with(|h| h[1] = required(0xFF_F000, 0x2000)), &flat());
    let error = load(&bytes, &host(&map)).err().unwrap().to_string();
    assert!(error.contains("is not in RAM"), "{error}");
}

#[test]
fn a_context_has_nothing_but_its_fields() {
    for name in ["reserved 0", "reserved 1"] {
        let mut page = flat();
        set(&mut page, name, 0x100);
        refused(
            &good(),
            &page,
            "reserved field of a native VP context is 0x100, expected 0x0",
        );
    }
    let end: usize = FIELDS.iter().map(|(_, bytes)| bytes).sum();
    for at in [end, 4095] {
        let mut page = flat();
        page[at] = 5;
        refused(
            &good(),
            &page,
            "a byte after a native VP context is 0x5, expected 0x0",
        );
    }
    // Of a file without host parameters, too: what `check` looks at.
    let mut page = flat();
    page[end] = 5;
    let bytes = native_file(&good(), &page);
    let selection = Image::parse(&bytes)
        .unwrap()
        .select(Platform::Native)
        .unwrap();
    assert!(selection.launch_digest().is_err());
}

#[test]
fn every_state_but_the_flat_one_is_refused_by_the_name_of_its_field() {
    for (field, value, name) in [
        ("cr0", 0x8000_0031, "CR0"),
        ("cr0", 0x30, "CR0"),
        ("cr3", 0x1000, "CR3"),
        ("cr4", 0x20, "CR4"),
        ("efer", 0x500, "EFER"),
        ("rflags", 0x202, "RFLAGS"),
        ("code selector", 0x18, "code selector"),
        ("code attributes", 0xA09B, "code attributes"),
        ("code base", 0x1000, "code base"),
        ("code limit", 0xFFFF, "code limit"),
        ("data selector", 8, "data selector"),
        ("data attributes", 0xC09B, "data attributes"),
        ("data base", 1, "data base"),
        ("data limit", 0, "data limit"),
        ("gs base", 0x1000, "GS base"),
        ("r8", 1, "R8 to R15"),
        ("r15", 1, "R8 to R15"),
        ("rax", 1 << 32, "RAX"),
        ("rcx", 1 << 32, "RCX"),
        ("rdx", 1 << 32, "RDX"),
        ("rbx", 1 << 32, "RBX"),
        ("rsp", 1 << 32, "RSP"),
        ("rbp", 1 << 32, "RBP"),
        ("rsi", 1 << 32, "RSI"),
        ("rdi", 1 << 32, "RDI"),
        ("rip", 1 << 32, "RIP"),
        ("gdtr base", 1 << 32, "GDTR base"),
        ("idtr base", u64::MAX, "IDTR base"),
    ] {
        let mut page = flat();
        set(&mut page, field, value);
        let error = Flat32::read(&page).unwrap_err().to_string();
        let expected = format!("{name} of a native VP context is {value:#x}, expected");
        assert!(error.contains(&expected), "{error:?} lacks {expected:?}");
    }
    let mut page = flat();
    for (field, value) in [("gdtr limit", 23), ("gdtr base", 0x8000), ("idtr limit", 7)] {
        set(&mut page, field, value);
    }
    let state = Flat32::read(&page).unwrap();
    assert_eq!((state.gdtr, state.idtr), ((23, 0x8000), (7, 0)));
}
