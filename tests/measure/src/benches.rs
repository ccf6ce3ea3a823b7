//! The benchmarks that `cargo bench` runs: what they print, and criterion's estimates as a table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::scenario::Fallible;

/// Those of the bundle, by what the documentation calls them.
pub const BENCHES: [&str; 5] = ["api", "drain", "deliver", "sync", "sessions"];
/// Those of the pure rules, by criterion.
pub const RULES: &str = "rules";

/// How a benchmark is named.
#[derive(Deserialize)]
struct Name {
    group_id: String,
    function_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// Nanoseconds.
    point_estimate: f64,
}

/// Begins the names of floors.
const FLOOR: &str = "floor: ";

/// Builds all of them.
pub fn build(cargo: &mut Command) -> Fallible<()> {
    let names = BENCHES.into_iter().chain([RULES]).flat_map(|name| ["--bench", name]);
    if cargo.args(["bench", "--quiet", "--locked", "--no-run"]).args(names).status()?.success() {
        return Ok(());
    }
    Err("The benchmarks can't be built.".into())
}

/// Runs one, and gives what it printed.
pub fn run(mut cargo: Command, name: &str) -> Fallible<String> {
    eprintln!("measure: cargo bench --bench {name}");
    let output = cargo.args(["bench", "--quiet", "--locked", "--bench", name]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("The benchmark {name} failed.").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What a benchmark printed, as a block.
pub fn block(printed: &str) -> String {
    format!("```text\n{}\n```\n", printed.trim())
}

/// Criterion's estimates, each beside its group's floor; `folder` is `target/criterion`.
pub fn rules(folder: &Path) -> Fallible<String> {
    let mut all = Vec::new();
    collect(folder, &mut all)?;
    all.sort_by(|(one, _), (other, _)| (&one.group_id, &one.function_id).cmp(&(&other.group_id, &other.function_id)));
    let mut table =
        "| group | what | measured, µs | floor, µs | ratio | floor is |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (name, nanoseconds) in &all {
        let is_floor =
            |(other, _): &&(Name, f64)| other.group_id == name.group_id && other.function_id.starts_with(FLOOR);
        let Some((floor, least)) = all.iter().find(is_floor) else { continue };
        if name.function_id.starts_with(FLOOR) {
            continue;
        }
        let (group, what, floor) = (&name.group_id, &name.function_id, floor.function_id.trim_start_matches(FLOOR));
        let (own, least, ratio) = (nanoseconds / 1e3, least / 1e3, nanoseconds / least);
        let _ = writeln!(table, "| {group} | {what} | {own:.2} | {least:.2} | {ratio:.1} | {floor} |");
    }
    Ok(table)
}

/// All estimates in a folder and those in it.
fn collect(folder: &Path, all: &mut Vec<(Name, f64)>) -> Fallible<()> {
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.ends_with("new") {
            let name: Name = serde_json::from_slice(&fs::read(path.join("benchmark.json"))?)?;
            let estimates: Estimates = serde_json::from_slice(&fs::read(path.join("estimates.json"))?)?;
            all.push((name, estimates.median.point_estimate));
        } else if path.is_dir() {
            collect(&path, all)?;
        }
    }
    Ok(())
}
