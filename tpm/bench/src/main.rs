//! Measures TPM commands on the engine and on libtpms, both in process, with the same bytes.
//!
//! `macadamia-tpm-bench HARNESS [PART]`: `HARNESS` is the compiled tests/tpm/bench/libtpms.c, `PART` a part of the names
//! of the rows that are wanted. `cargo xtask bench tpm` makes both and prints the table. Here standard output has one
//! line a row with tabs between: key, name, then 10th percentile, median and 90th percentile in nanoseconds of the
//! engine and of libtpms; a side that does not execute the row's commands has the response code in place of all three.
#![forbid(unsafe_code)]

mod command;
mod engine;
mod libtpms;
mod measure;
mod rows;

use std::env;

use anyhow::{Context, Result};

use crate::engine::Engine;
use crate::libtpms::Libtpms;
use crate::measure::{Program, Refusal, Target};
use crate::rows::{ROWS, Row};

/// The sides take turns this many times a row, so that a machine that gets busier does so for both.
const ROUNDS: u32 = 10;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let harness = arguments
        .next()
        .context("usage: macadamia-tpm-bench HARNESS [PART]")?;
    let part = arguments.next().unwrap_or_default();
    let mut engine = Engine::new()?;
    let mut libtpms = Libtpms::start(&harness)?;
    for target in [&mut engine as &mut dyn Target, &mut libtpms] {
        if let Err(error) = rows::start(target) {
            eprintln!("{}: {error:#}", target.name());
        }
    }
    for row in ROWS.iter().filter(|row| row.name.contains(&part)) {
        let [ours, theirs] = measure(row, [&mut engine, &mut libtpms])?;
        println!("{}\t{}\t{ours}\t{theirs}", row.key, row.name);
    }
    Ok(())
}

/// One side of a row under way: its commands and samples, or why there are none.
type Side = Result<(Program, Vec<u64>), Refusal>;

fn measure(row: &Row, mut targets: [&mut dyn Target; 2]) -> Result<[String; 2]> {
    let mut sides: Vec<Side> = Vec::new();
    for target in &mut targets {
        let program = (row.prepare)(*target);
        sides.push(match program {
            Ok(program) => Ok((program, Vec::new())),
            Err(error) => Err(error.downcast::<Refusal>()?),
        });
    }
    let samples = row.samples.div_ceil(ROUNDS);
    for round in 0..ROUNDS {
        for (side, target) in sides.iter_mut().zip(&mut targets) {
            let Ok((program, all)) = side else { continue };
            let first = round * samples * row.batch;
            match target.measure(program, samples, row.batch, first) {
                Ok(times) => all.extend(times),
                Err(error) => *side = Err(error.downcast::<Refusal>()?),
            }
        }
    }
    for target in &mut targets {
        rows::clean_up(*target).ok();
    }
    let texts: Vec<String> = sides.into_iter().map(text).collect();
    texts.try_into().ok().context("two sides")
}

fn text(side: Side) -> String {
    match side {
        Err(refusal) => refusal.to_string(),
        Ok((_, mut times)) => {
            times.sort_unstable();
            let at = |percent: usize| {
                let index = (times.len().saturating_sub(1)) * percent / 100;
                times.get(index).copied().unwrap_or(0).to_string()
            };
            [at(10), at(50), at(90)].join("\t")
        }
    }
}
