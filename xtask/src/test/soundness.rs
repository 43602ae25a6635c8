//! The concurrency models, and the check that `docs/src/soundness.md` argues for what there is: a row for every `unsafe
//! impl` and every static of the crates that run in ring 0 of something, and none for what is gone.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::compile;
use crate::paths::Paths;
use crate::process;
use crate::source;
use crate::test::runner::{Step, Verdict};
use crate::ui::Progress;

/// Time for the models, with their build.
const LIMIT: Duration = Duration::from_secs(600);

/// Crates with models, under `cfg(loom)`.
const MODELLED: [&str; 2] = ["svsm-core", "snp-model"];

/// The document.
const DOCUMENT: &str = "docs/src/soundness.md";

/// Crates that it argues for; one that does not exist yet has no rows.
const CRATES: [&str; 5] = [
    "svsm/kernel",
    "svsm/service-rt",
    "simulator/machine",
    "guest/rt",
    "image/native-loader",
];

/// Tests within the kernel. They have no `unsafe`, so that their statics are of types that the compiler knows to be `Sync`.
const LEFT_OUT: &str = "svsm/kernel/src/tests/";

/// Both.
pub fn steps<'a>(paths: &'a Paths) -> Vec<Step<'a>> {
    vec![
        Step::new("soundness document", |_| document(paths)),
        Step::new("concurrency models", |progress| models(paths, progress)),
    ]
}

fn models(paths: &Paths, progress: &Progress) -> Result<Verdict> {
    let mut cargo = compile::cargo(paths, "test");
    cargo
        .args(["--release", "--lib", "--no-fail-fast"])
        .env("CARGO_TARGET_DIR", paths.target.join("loom"))
        .env("RUSTFLAGS", "--cfg loom")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    for package in MODELLED {
        cargo.args(["--package", package]);
    }
    cargo.args(["--", "model::", "order::"]);
    let (mut passed, mut mistakes) = (0, 0);
    let finished = process::run(&mut cargo, LIMIT, |line| {
        if line.starts_with("test ") && line.ends_with("... ok") {
            passed += 1;
            mistakes += usize::from(line.contains("should panic"));
        }
        progress.detail(line);
    })?;
    if !finished.status.success() {
        bail!("{}", process::last_lines(&finished.all, 80));
    }
    ensure!(passed > mistakes, "no model ran");
    Ok(Verdict::Passed(format!(
        "{} models, {mistakes} planted mistakes noticed",
        passed - mistakes
    )))
}

fn document(paths: &Paths) -> Result<Verdict> {
    let mut items = BTreeSet::new();
    for folder in CRATES {
        let folder = paths.root.join(folder).join("src");
        if !folder.is_dir() {
            continue;
        }
        for path in source::rust_files(&folder)? {
            let file = paths.show(&path);
            if file.starts_with(LEFT_OUT) {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            items.extend(
                source::shared_items(&text)
                    .into_iter()
                    .map(|item| format!("{file}::{item}")),
            );
        }
    }
    let text = fs::read_to_string(paths.root.join(DOCUMENT))?;
    let rows: BTreeSet<String> = rows(&text).collect();
    let mut wrong = Vec::new();
    wrong.extend(items.difference(&rows).map(|item| {
        format!("{DOCUMENT} has no row for `{item}`: say who may touch it and why that is sound")
    }));
    wrong.extend(
        rows.difference(&items)
            .map(|row| format!("{DOCUMENT} has a row for `{row}`, which is gone")),
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(Verdict::Passed(format!("{} items", items.len())))
}

/// What the document's tables have in their first columns: files with what is in them, such as `arch/a.rs::A`, `B`, below the
/// source folder of the crate that the heading above names.
fn rows(text: &str) -> impl Iterator<Item = String> {
    let mut folder = String::new();
    text.lines().flat_map(move |line| {
        if line.starts_with('#') {
            folder = line.split('`').nth(1).unwrap_or_default().to_owned();
        }
        let column = line
            .strip_prefix("| `")
            .and_then(|line| line.split_once(" | "));
        let column = column.map_or("", |(column, _)| column);
        let mut file = String::new();
        let mut found = Vec::new();
        for item in column.split('`').step_by(2) {
            let item = match item.split_once("::") {
                Some((path, item)) => {
                    file = format!("{folder}/src/{path}");
                    item
                }
                None => item,
            };
            if !folder.is_empty() && !file.is_empty() && !item.is_empty() {
                found.push(format!("{file}::{item}"));
            }
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_in_the_folder_that_its_heading_names() {
        let text = "# Title\n| `x.rs::A` | before any folder |\n## `svsm/kernel`\n| resource | who |\n|---|---|\n\
                    | `arch/a.rs::A`, `Sync for B` | one |\n| text | `b.rs::B` |\n| `GS` | no file |\n\
                    ### Other\n| `c.rs::C` | none |\n";
        let found: Vec<_> = rows(text).collect();
        let expected = ["arch/a.rs::A", "arch/a.rs::Sync for B"];
        assert_eq!(found, expected.map(|row| format!("svsm/kernel/src/{row}")));
    }
}
