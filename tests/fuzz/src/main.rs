//! `macadamia-fuzz`: the fuzzer; `cargo xtask fuzz` builds it instrumented and runs it.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use macadamia_fuzz::engine::{Fuzzer, Settings};
use macadamia_fuzz::target::Target;
use macadamia_fuzz::targets::{CANARY, TARGETS};
use macadamia_fuzz::{corpus, failure};

const USAGE: &str = "macadamia-fuzz [--target NAME] [--seconds N] [--seed N] [--corpus DIR] [--failures DIR] \
                     [--replay FILE] [--grow BYTES] [--list]";

struct Options {
    target: Option<String>,
    settings: Settings,
    /// Only this input.
    replay: Option<PathBuf>,
    /// Write the corpus anew, at most so many bytes a target.
    grow: Option<usize>,
    list: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        target: None,
        settings: Settings {
            time: Duration::from_secs(60),
            seed: 1,
            corpus: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")),
            failures: std::env::temp_dir(),
        },
        replay: None,
        grow: None,
        list: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--list" {
            options.list = true;
            continue;
        }
        let value = arguments.next().ok_or(USAGE)?;
        let number = || value.parse::<f64>().map_err(|_| format!("{name} {value}?"));
        match name.as_str() {
            "--target" => options.target = Some(value),
            "--seconds" => {
                options.settings.time =
                    Duration::try_from_secs_f64(number()?).map_err(|error| error.to_string())?;
            }
            "--seed" => options.settings.seed = number()? as u64,
            "--corpus" => options.settings.corpus = value.into(),
            "--failures" => options.settings.failures = value.into(),
            "--replay" => options.replay = Some(value.into()),
            "--grow" => options.grow = Some(number()? as usize),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let targets: Vec<&Target> = match &options.target {
        None => TARGETS.iter().collect(),
        Some(name) => vec![
            TARGETS
                .iter()
                .chain([&CANARY])
                .find(|target| target.name == name)
                .ok_or_else(|| format!("no target {name}; --list names them"))?,
        ],
    };
    if options.list {
        targets
            .iter()
            .for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    if coverage_hooks::edges() == 0 {
        println!("not instrumented: works blindly (use `cargo xtask fuzz`)");
    }
    failure::watch(&options.settings.failures);
    if let Some(file) = &options.replay {
        let [target] = targets[..] else {
            return Err("--replay needs --target".into());
        };
        let input = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        failure::loud();
        let outcome = (target.run)(&input);
        println!("{}: {} bytes: {outcome:?}", target.name, input.len());
        return Ok(());
    }
    let (mut inputs, mut failed) = (0, Vec::new());
    for target in &targets {
        let mut fuzzer = Fuzzer::new(target, &options.settings);
        let done = fuzzer.replay().and_then(|()| fuzzer.fuzz());
        inputs += fuzzer.executions();
        println!("{}", fuzzer.line());
        match (done, options.grow) {
            (Err(failure), _) => {
                println!("{failure}");
                failed.push(target.name);
            }
            (Ok(()), Some(most)) => {
                corpus::write(
                    &options.settings.corpus,
                    target.name,
                    &fuzzer.smallest(most),
                )?;
            }
            (Ok(()), None) => {}
        }
    }
    if failed.is_empty() {
        println!(
            "{} targets, {inputs} inputs, no failure (seed {})",
            targets.len(),
            options.settings.seed
        );
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}
