//! The steps, in order.

use alloc::vec::Vec;

use boot_abi::{GuestParams, fw_cfg as name, layout};
use guest_rt::{ghcb::Ghcb, io, paging, params, power, println};
use shim_core::boot_params::{self, BootParams};
use shim_core::chipset::{self, Ports};
use shim_core::digest::{Part, Verifier};
use shim_core::memory_map::{self, Bounds};
use shim_core::placement::FOUR_GIB;
use shim_core::range::{PAGE, Range};
use shim_core::{bzimage, e820};

use crate::files::Files;
use crate::ram::{self, Claim, Ram};
use crate::refusal::Refusal;
use crate::{enter, heap, tables, tpm};

/// For what the ACPI tables and the directory take; given back to Linux.
const HEAP_SIZE: u64 = 4 << 20;
/// Bytes that are hashed at a time.
const HASH_STEP: usize = 1 << 20;

/// What the runtime calls. Never returns: either Linux runs, or the guest is terminated.
pub fn main() {
    let Err(refusal) = boot();
    println!("shim: refused: {refusal}");
    power::terminate(power::REASON_SET, refusal.code());
}

fn boot() -> Result<core::convert::Infallible, Refusal> {
    let params = params::guest().ok_or(Refusal::Parameters(layout::GUEST_PARAMS_GPA))?;
    let region = ram::from_abi(params.region)
        .filter(|region| region.contains(&ram::image()))
        .ok_or(Refusal::Outside {
            what: "region",
            gpa: params.region.base.get(),
        })?;
    let chipset = chipset::prepare(&mut GhcbPorts)?;
    let map = read_map(&params, region)?;
    let mut ram = Ram::validate(&map, region)?;
    ram::clear_legacy(memory_map::LOW_MEMORY[1]);
    println!("shim: memory: {} MiB validated", map.ram.size() >> 20);

    heap::extend(ram.take_high("heap", HEAP_SIZE, PAGE, FOUR_GIB)?);
    let files = Files::open()?;
    let acpi = tables::install(&files, &mut ram)?;
    println!(
        "shim: ACPI: {} tables, RSDP at {:#x}",
        acpi.count, acpi.rsdp
    );

    tpm::start(&mut ram)?;

    let digests = &params.payload;
    let image = load(
        &files,
        &mut ram,
        name::KERNEL,
        Part::Kernel,
        &digests.kernel,
        FOUR_GIB,
    )?;
    let mut image = image.ok_or(Refusal::NoFile(name::KERNEL))?;
    let header = bzimage::parse(image.bytes())?;
    let mut kernel = ram.take_kernel(&header)?;
    let protected = image.bytes().get(header.protected_start..).unwrap_or(&[]);
    if let Some(to) = kernel.bytes_mut().get_mut(..protected.len()) {
        to.copy_from_slice(protected);
    }
    let setup = image
        .bytes()
        .get(..header.header_end)
        .unwrap_or(&[])
        .to_vec();
    println!(
        "shim: kernel: {} bytes, protocol {:#x}",
        image.size, header.protocol
    );
    ram.release(image.claim);

    let mut cmdline = load_cmdline(&files, &digests.cmdline)?;
    boot_params::check_cmdline(&cmdline, &header)?;
    cmdline.push(0);
    let initrd = load(
        &files,
        &mut ram,
        name::INITRD,
        Part::Initrd,
        &digests.initrd,
        header.initrd_limit,
    )?;
    println!(
        "shim: initrd: {} bytes; digests of kernel, initrd and command line ok",
        initrd.as_ref().map_or(0, |initrd| initrd.size)
    );

    let cc_blob = params.cc_blob_gpa.get();
    let blob = boot_params::cc_blob(params.secrets_gpa.get(), params.cpuid_gpa.get());
    let outside = Refusal::Outside {
        what: "confidential-computing blob",
        gpa: cc_blob,
    };
    ram::write_region(region, cc_blob, &blob).ok_or(outside)?;
    let node = boot_params::cc_setup_data(cc_blob as u32);
    let setup_data = place(&mut ram, "setup_data", &node)?;
    let cmdline = place(&mut ram, "command line", &cmdline)?;
    let entries = e820::build(&map, region, &acpi.pages, Some(chipset.ecam))?;
    let page = BootParams {
        image: &setup,
        header: &header,
        cmdline: cmdline as u32,
        initrd: initrd.map_or((0, 0), |initrd| {
            (initrd.claim.range().start as u32, initrd.size)
        }),
        rsdp: acpi.rsdp,
        setup_data,
        e820: &entries,
    };
    let page = place(&mut ram, "boot_params", &page.to_page())?;
    let entry = kernel.range().start + bzimage::ENTRY_64;
    files.close()?;
    println!("shim: entering Linux at {entry:#x}");
    // No console from here on.
    if let Err(_error) = Ghcb::current().retire() {
        power::terminate(power::REASON_SET, boot_abi::termination::HAND_OVER);
    }
    // SAFETY: the kernel is the measured one, at its place, with the parameters that its protocol asks for; all of it,
    // and all that was shared, is private now.
    unsafe { enter::enter(entry, page) }
}

fn read_map(params: &GuestParams, region: Range) -> Result<memory_map::MemoryMap, Refusal> {
    let outside = |what: &'static str, range: boot_abi::GpaRange| Refusal::Outside {
        what,
        gpa: range.base.get(),
    };
    let area = ram::from_abi(params.memory_map)
        .and_then(|range| ram::read_region(region, range))
        .ok_or(outside("memory map", params.memory_map))?;
    let bounds = Bounds {
        limit: paging::c_bit(),
        region,
        svsm: ram::from_abi(params.svsm).ok_or(outside("SVSM", params.svsm))?,
    };
    Ok(memory_map::parse(&area, &bounds)?)
}

/// A file in private memory.
struct LoadedFile {
    claim: Claim,
    size: u32,
}

impl LoadedFile {
    fn bytes(&mut self) -> &[u8] {
        let size = self.size as usize;
        self.claim.bytes_mut().get(..size).unwrap_or(&[])
    }
}

/// Copies a file into RAM below `limit` and checks the copy. A file that is not there counts as an empty one.
fn load(
    files: &Files,
    ram: &mut Ram,
    name: &str,
    part: Part,
    digest: &[u8; 32],
    limit: u64,
) -> Result<Option<LoadedFile>, Refusal> {
    let mut verifier = Verifier::new(part);
    let Some(file) = files.find(name).filter(|file| file.size != 0) else {
        verifier.finish(digest)?;
        return Ok(None);
    };
    let what = match part {
        Part::Kernel => "kernel's image",
        Part::Initrd => "initrd",
        Part::CommandLine => "command line",
    };
    let mut loaded = LoadedFile {
        claim: ram.take_high(what, file.size.into(), PAGE, limit)?,
        size: file.size,
    };
    let bytes = loaded.claim.bytes_mut();
    let bytes = bytes.get_mut(..file.size as usize).unwrap_or(&mut []);
    files.read(file, 0, bytes)?;
    for step in bytes.chunks(HASH_STEP) {
        verifier.update(step);
    }
    verifier.finish(digest)?;
    Ok(Some(loaded))
}

/// The command line, checked.
fn load_cmdline(files: &Files, digest: &[u8; 32]) -> Result<Vec<u8>, Refusal> {
    let mut cmdline = Vec::new();
    // Linux takes fewer bytes than a page has, so more are not even read; if there are more, the digest will not be
    // the measured one.
    if let Some(file) = files.find(name::CMDLINE) {
        cmdline.resize(file.size.min(PAGE as u32) as usize, 0);
        files.read(file, 0, &mut cmdline)?;
    }
    let mut verifier = Verifier::new(Part::CommandLine);
    verifier.update(&cmdline);
    verifier.finish(digest)?;
    Ok(cmdline)
}

/// Puts bytes into pages of their own; their address, below 4 GiB.
fn place(ram: &mut Ram, what: &'static str, bytes: &[u8]) -> Result<u64, Refusal> {
    let mut claim = ram.take_high(what, bytes.len() as u64, PAGE, FOUR_GIB)?;
    if let Some(to) = claim.bytes_mut().get_mut(..bytes.len()) {
        to.copy_from_slice(bytes);
    }
    Ok(claim.range().start)
}

/// Ports through the GHCB.
struct GhcbPorts;

impl Ports for GhcbPorts {
    fn in16(&mut self, port: u16) -> u16 {
        io::inw(port)
    }
    fn out16(&mut self, port: u16, value: u16) {
        io::outw(port, value);
    }
    fn in32(&mut self, port: u16) -> u32 {
        io::inl(port)
    }
    fn out32(&mut self, port: u16, value: u32) {
        io::outl(port, value);
    }
}
