//! What a machine gets to see of a good file.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::builder::*;
use crate::{
    Body, Image, LoadError, Machine, MemoryMapEntryType, Page, PageKind, Platform, Summary,
};

/// Writes down its calls; a page by its first byte and a look whether all are equal.
#[derive(Default, Debug)]
struct Recorder {
    calls: Vec<Call>,
    pages: Vec<(u64, Page)>,
    /// Refuse the page at this address.
    refuse: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Policy(u64),
    Required(u64, u64),
    Page(u64, PageKind),
    Context(u16, u64, u8),
}

impl Machine for Recorder {
    type Error = String;

    fn guest_policy(&mut self, policy: u64) -> Result<(), String> {
        self.calls.push(Call::Policy(policy));
        Ok(())
    }

    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), String> {
        self.calls.push(Call::Required(gpa, bytes));
        Ok(())
    }

    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), String> {
        if self.refuse == Some(gpa) {
            return Err("no".to_string());
        }
        self.calls.push(Call::Page(gpa, kind));
        self.pages.push((gpa, *contents));
        Ok(())
    }

    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), String> {
        self.calls.push(Call::Context(vp_index, gpa, contents[0]));
        Ok(())
    }
}

fn load(headers: &[Tlv]) -> (Recorder, Summary) {
    let bytes = file(headers, GOOD_PAGES);
    let mut machine = Recorder::default();
    let map = ram();
    let summary = Image::parse(&bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap()
        .load(&host(&map), &mut machine);
    (machine, summary.unwrap())
}

#[test]
fn the_calls_come_in_the_order_of_the_directives() {
    let (machine, summary) = load(&good());
    use Call::{Context, Page, Policy, Required};
    assert_eq!(
        machine.calls,
        [
            Policy(0x3_0000),
            Required(0x80_0000_0000, 0x80_0000),
            Page(0x80_007f_1000, PageKind::Unmeasured),
            Page(0x80_007f_2000, PageKind::Unmeasured),
            Page(0x80_007f_8000, PageKind::Unmeasured),
            Page(0x80_007f_9000, PageKind::Unmeasured),
            Page(0x1_0000, PageKind::Normal),
            Page(0x1_1000, PageKind::Zero),
            Page(0x1_2000, PageKind::Unmeasured),
            Page(0x1_e000, PageKind::Cpuid),
            Page(0x1_f000, PageKind::Secrets),
            Page(0x80_0000_0000, PageKind::Normal),
            Context(0, 0xffff_ffff_f000, 4),
        ]
    );
    assert_eq!(
        summary,
        Summary {
            pages: 6,
            parameter_pages: 4,
            vp_contexts: 1
        }
    );
    let contents = |gpa| {
        machine
            .pages
            .iter()
            .find(|(page, _)| *page == gpa)
            .unwrap()
            .1
    };
    assert_eq!(contents(0x1_0000), [1; 4096]);
    assert_eq!(contents(0x1_1000), [0; 4096]);
    assert_eq!(contents(0x1_2000), [2; 4096]);
    assert_eq!(contents(0x1_f000), [0; 4096]);
}

#[test]
fn parameters_are_written_in_the_formats_layouts() {
    let (machine, _) = load(&good());
    let contents = |gpa| {
        machine
            .pages
            .iter()
            .find(|(page, _)| *page == gpa)
            .unwrap()
            .1
    };
    let general = contents(0x80_007f_1000);
    assert_eq!(general[..8], [4, 0, 0, 0, 1, 0, 0, 0]);
    assert!(general[8..].iter().all(|&byte| byte == 0));
    // Entries: first page u64, pages u64, type u16, flags u16, reserved u32; ends with one of zero pages.
    let map = contents(0x80_007f_2000);
    let mut expected = vec![0u8; 72];
    expected[8..16].copy_from_slice(&0xA0u64.to_le_bytes());
    expected[24..32].copy_from_slice(&0x100u64.to_le_bytes());
    expected[32..40].copy_from_slice(&0x1_FF00u64.to_le_bytes());
    assert_eq!(map[..72], expected);
    assert_eq!(contents(0x80_007f_8000)[..15], *b"APIC, and so on");
    assert_eq!(contents(0x80_007f_9000), [0; 4096]);
}

#[test]
fn initial_contents_of_an_area_stay_where_no_parameter_is_written() {
    let mut headers = good();
    // The file offset of the first data page; data_start is known once the headers are.
    let bytes = file(&headers, GOOD_PAGES);
    let data_start = Image::parse(&bytes).unwrap().data_start() as u32;
    headers[3].1[12..16].copy_from_slice(&data_start.to_le_bytes());
    let (machine, _) = load(&headers);
    let general = machine
        .pages
        .iter()
        .find(|(gpa, _)| *gpa == 0x80_007f_1000)
        .unwrap()
        .1;
    assert_eq!(general[..9], [4, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert!(general[8..].iter().all(|&byte| byte == 1));
}

#[test]
fn an_area_that_the_memory_map_fills_needs_no_last_entry() {
    // 4096 bytes hold 170 entries and 16 bytes more.
    let map: Vec<_> = (0..170)
        .map(|index| entry(index << 24, 1 << 24, MemoryMapEntryType::MEMORY))
        .collect();
    let bytes = file(&good(), GOOD_PAGES);
    let selection = Image::parse(&bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap();
    let mut machine = Recorder::default();
    selection.load(&host(&map), &mut machine).unwrap();
    let map: Vec<_> = (0..171)
        .map(|index| entry(index << 24, 1 << 24, MemoryMapEntryType::MEMORY))
        .collect();
    let error = selection
        .load(&host(&map), &mut Recorder::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("memory map, 0x1008 bytes, does not fit at offset 0x0 of parameter area 1"),
        "{error}"
    );
}

#[test]
fn headers_of_another_platform_are_left_out() {
    let mut headers = good();
    headers.insert(1, platform(2, 0));
    headers.push(masked_page(2, 0x1_0000, Some(1), NORMAL, 0));
    headers.push(masked_page(3, 0x5_0000, Some(1), NORMAL, 0));
    let (machine, _) = load(&headers);
    assert_eq!(
        machine
            .calls
            .iter()
            .filter(|call| matches!(call, Call::Page(0x1_0000, _)))
            .count(),
        1
    );
    assert_eq!(
        machine.calls.last(),
        Some(&Call::Page(0x5_0000, PageKind::Normal))
    );
}

#[test]
fn optional_headers_that_are_unknown_are_passed_over() {
    let mut headers = good();
    let last = headers.len();
    headers.insert(last, Tlv(0x8000_03F0, vec![1, 2, 3]));
    headers.insert(2, Tlv(0x8000_1234, vec![]));
    // A known type that is marked as optional counts all the same.
    let page_at = headers
        .iter()
        .position(|Tlv(typ, _)| *typ == PAGE_DATA)
        .unwrap();
    headers[page_at].0 |= 1 << 31;
    let (machine, _) = load(&headers);
    assert!(
        machine
            .calls
            .contains(&Call::Page(0x1_0000, PageKind::Normal))
    );
}

#[test]
fn version_two_of_the_fixed_header_is_read() {
    let mut bytes = file(&good(), GOOD_PAGES);
    // Grow the fixed header by architecture (x64) and page size; all file offsets move by 8.
    let v1 = bytes.clone();
    bytes = [
        &v1[..24],
        &0u32.to_le_bytes(),
        &4096u32.to_le_bytes(),
        &v1[24..],
    ]
    .concat();
    let put = |bytes: &mut Vec<u8>, at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes())
    };
    put(&mut bytes, 4, 2);
    put(&mut bytes, 8, 32);
    let total = bytes.len() as u32;
    put(&mut bytes, 16, total);
    let size = u32::from_le_bytes(v1[12..16].try_into().unwrap()) as usize;
    let mut at = 32;
    while at < 32 + size {
        let typ = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let offset = u32::from_le_bytes(bytes[at + 20..at + 24].try_into().unwrap());
        if matches!(typ, PAGE_DATA | VP_CONTEXT) && offset != 0 {
            put(&mut bytes, at + 20, offset + 8);
        }
        at += 8 + length.next_multiple_of(8);
    }
    // Over the larger fixed header.
    bytes[20..24].fill(0);
    let state = crate::crc32::update(!0, &bytes[..32 + size]);
    put(&mut bytes, 20, !state);
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.version(), 2);
    let digest = image
        .select(Platform::SevSnp)
        .unwrap()
        .launch_digest()
        .unwrap();
    let v1 = Image::parse(&v1)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap()
        .launch_digest()
        .unwrap();
    assert_eq!(digest, v1);
}

#[test]
fn the_digest_of_the_file_is_the_digest_of_what_is_loaded() {
    let bytes = file(&good(), GOOD_PAGES);
    let selection = Image::parse(&bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap();
    let mut loaded = launch_digest::LaunchDigest::new();
    let map = ram();
    selection.load(&host(&map), &mut loaded).unwrap();
    assert_eq!(loaded, selection.launch_digest().unwrap());
    let mut other = host(&map);
    (other.vp_count, other.madt, other.memory_is_shared) = (9, b"something else", false);
    let mut digest = launch_digest::LaunchDigest::new();
    selection.load(&other, &mut digest).unwrap();
    assert_eq!(digest, loaded, "what the host says is not measured");
}

#[test]
fn a_machines_refusal_ends_the_loading() {
    let bytes = file(&good(), GOOD_PAGES);
    let mut machine = Recorder {
        refuse: Some(0x1_1000),
        ..Recorder::default()
    };
    let map = ram();
    let result = Image::parse(&bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap()
        .load(&host(&map), &mut machine);
    assert_eq!(result, Err(LoadError::Machine("no".to_string())));
    assert_eq!(
        machine.calls.last(),
        Some(&Call::Page(0x1_0000, PageKind::Normal))
    );
}

#[test]
fn headers_tell_their_place() {
    let bytes = file(&good(), GOOD_PAGES);
    let image = Image::parse(&bytes).unwrap();
    let offsets: Vec<_> = image
        .headers()
        .map(|header| header.unwrap().offset)
        .collect();
    assert_eq!(offsets[..3], [24, 24 + 24, 24 + 24 + 24]);
    assert_eq!(image.headers().count(), good().len());
    assert!(
        matches!(image.headers().last(), Some(Ok(header)) if matches!(header.body, Body::VpContext { .. }))
    );
}
