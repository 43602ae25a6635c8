//! The native loader with tiny images: what a processor and parameters are when an image starts, and what the loader says of
//! images that it cannot load.

mod image;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::compile::{self, Program};
use crate::paths::Paths;
use crate::qemu::{Machine, Payload};
use crate::report;
use crate::symbols;
use crate::test::runner::{Step, Verdict, passed};
use crate::test::stage::Stage;
use crate::watch::{End, Outcome, Watch};
use image::{END, Tiny, WORDS};

/// Where no machine of these tests has RAM, but the IGVM library has no objection: 3 GiB.
const NO_RAM: u64 = 0xC000_0000;
/// Pages of low RAM up to the extended BIOS data area, which SeaBIOS keeps at 0x9FC00.
const LOW_PAGES: u32 = 0x9F;

/// All of them.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage) -> Vec<Step<'a>> {
    vec![
        Step::new("native loader: first state and parameters", move |_| {
            state(paths, stage)
        }),
        Step::new("native loader: images it refuses", move |_| {
            refusals(paths, stage)
        }),
        Step::new("native loader: a fault of its own", move |_| {
            fault(paths, stage)
        }),
    ]
}

fn state(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    let file = Tiny::good().file()?;
    for (options, cpus, memory, vp_count) in [
        ("", 1, 64, 1),
        ("", 4, 4096, 4),
        ("madt=absent:300", 2, 128, 302),
    ] {
        let outcome = boot(paths, stage, "state", &file, (cpus, memory), options)?;
        let problem = state_problem(&outcome, vp_count);
        report::judge(paths, &outcome, problem)?;
    }
    Ok(passed())
}

/// What is not as the image asks for.
fn state_problem(outcome: &Outcome, vp_count: u32) -> Option<String> {
    if outcome.end != End::Status(i32::from(END) << 1 | 1) {
        return Some(format!("the image did not end QEMU: {:?}", outcome.end));
    }
    let last = outcome.lines.last().map_or("", |line| &line.text);
    let found: Option<Vec<u32>> = last
        .split_whitespace()
        .map(|word| u32::from_str_radix(word, 16).ok())
        .collect();
    let found = found.filter(|found| found.len() == WORDS.len());
    let Some(found) = found else {
        return Some(format!("the image did not print its words but {last:?}"));
    };
    let c = Tiny::good().context;
    let table = |base: u64, limit: u16| (base as u32) << 16 | u32::from(limit);
    let data = u32::from(c.data_selector);
    let expected = [
        u32::from_le_bytes(*b"APIC"),
        LOW_PAGES,
        vp_count,
        table(c.idtr_base, c.idtr_limit),
        (c.idtr_base >> 16) as u32,
        table(c.gdtr_base, c.gdtr_limit),
        (c.gdtr_base >> 16) as u32,
        0,
        0,
        0,
        c.cr0 as u32,
        data,
        data,
        data,
        data,
        data,
        c.code_selector.into(),
        c.rflags as u32,
        c.rdi as u32,
        c.rsi as u32,
        c.rbp as u32,
        c.rsp as u32,
        c.rbx as u32,
        c.rdx as u32,
        c.rcx as u32,
        c.rax as u32,
    ];
    let wrong: Vec<String> = WORDS
        .iter()
        .zip(expected.iter().zip(&found))
        .filter(|(_, (expected, found))| expected != found)
        .map(|(name, (expected, found))| format!("{name} is {found:#x}, not {expected:#x}"))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Images and what is said of each. The loader's parser is tested on the host; these show that it refuses with words, and
/// what only the loader knows.
fn refused_images() -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let with = |change: fn(&mut Tiny)| {
        let mut tiny = Tiny::good();
        change(&mut tiny);
        tiny.file()
    };
    let good = Tiny::good().file()?;
    let mut flipped = good.clone();
    flipped[0x40] ^= 0x10;
    let half = good[..good.len() / 2].to_vec();
    Ok(vec![
        ("no IGVM file", vec![0x55; 8192], "magic is 0x55555555"),
        ("half of a file", half, "file size is"),
        ("a flipped bit", flipped, "checksum is"),
        (
            "another platform",
            with(|tiny| tiny.platform = igvm_defs::IgvmPlatformType::SEV)?,
            "there is no platform header for native",
        ),
        (
            "memory that is not there",
            with(|tiny| tiny.required.0 = NO_RAM)?,
            "required memory at GPA 0xc0000000, 0x800000 bytes",
        ),
        (
            "a page over the loader",
            with(|tiny| tiny.code = 0x100_0000)?,
            "page at GPA 0x1000000: the loader itself is there",
        ),
        (
            "another processor",
            with(|tiny| tiny.vp_index = 1)?,
            "there is a context for VP 1: only VP 0 starts from the image",
        ),
        (
            "paging",
            with(|tiny| tiny.context.cr0 = 0x8000_0031)?,
            "VP 0: CR0 of a native VP context is 0x80000031, expected 0x31",
        ),
    ])
}

fn refusals(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    let images = refused_images()?;
    for (name, file, expected) in &images {
        let outcome = boot(paths, stage, "refused", file, (2, 64), "")?;
        let fatal: Vec<&str> = outcome
            .lines
            .iter()
            .filter_map(|line| line.text.strip_prefix("loader: fatal: "))
            .collect();
        let problem = match fatal[..] {
            [line] if !line.contains(expected) => {
                Some(format!("{name}: {line:?} lacks {expected:?}"))
            }
            [_] if outcome.end != End::Status(report::BAD_IMAGE) => Some(format!(
                "{name}: not refused as a bad image, but {:?}",
                outcome.end
            )),
            [_] => None,
            _ => Some(format!("{name}: {} fatal lines, not one", fatal.len())),
        };
        report::judge(paths, &outcome, problem)?;
    }
    Ok(Verdict::Passed(format!("{} images", images.len())))
}

/// An exception in the loader is told, with its place.
fn fault(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    let outcome = boot(
        paths,
        stage,
        "fault",
        &Tiny::good().file()?,
        (1, 64),
        "fault",
    )?;
    let lines: Vec<&str> = outcome.texts().collect();
    let console = lines.join("\n");
    let names = symbols::annotate(paths, outcome.programs, &console);
    let text = "loader: fatal: exception 6, error 0x0, at 0x1";
    let missing = [text, "loader: rax ", "loader: r12 ", "called from 0x1"]
        .into_iter()
        .find(|text| !console.contains(text));
    let place = "native_loader::loader_main";
    let problem = if outcome.end != End::Status(report::LOADER_FAULT) {
        Some(format!(
            "{:?}, not status {}",
            outcome.end,
            report::LOADER_FAULT
        ))
    } else if let Some(text) = missing {
        Some(format!("no {text:?}"))
    } else {
        (!names.contains(place)).then(|| format!("no {place} among the names:\n{names}"))
    };
    report::judge(paths, &outcome, problem)?;
    Ok(passed())
}

fn boot(
    paths: &Paths,
    stage: &Stage,
    label: &str,
    file: &[u8],
    size: (u32, u64),
    options: &str,
) -> Result<Outcome> {
    fs::create_dir_all(paths.images())?;
    let image = paths.images().join(format!("native-{label}.igvm"));
    fs::write(&image, file).with_context(|| format!("cannot write {}", paths.show(&image)))?;
    let payload = Payload::Native {
        loader: Some(Program::NativeLoader.path(paths)),
        image,
        options: options.to_owned(),
    };
    let machine = Machine::new(Stage::need(&stage.qemu)?.clone(), payload, size);
    let limit = Duration::from_secs(60);
    let watch = Watch {
        name: format!("test-native-{label}"),
        limit,
        silence: limit,
        live: false,
        dump: None,
    };
    machine.run(paths, &watch)
}
