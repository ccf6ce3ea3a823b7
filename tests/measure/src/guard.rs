//! What a change may not make worse unnoticed. Everything here is counted, nothing timed, so the machine doesn't matter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::functions::Bench;
use crate::scenario::Fallible;

/// The functions that are guarded: what most invocations are of.
pub const GUARDED: [&str; 2] = ["webhook-sarah-ai", "deliver-webhooks"];

/// What a count may rise by. Random numbers and the allocator make less than 1 % of difference.
const TOLERANCE: f64 = 0.05;

/// Counts by their names.
type Counts = BTreeMap<String, f64>;

/// Counts by function.
pub type Baseline = BTreeMap<String, Counts>;

/// Counts the guarded functions.
pub fn count(bench: &Bench<'_>) -> Fallible<Baseline> {
    GUARDED.iter().map(|function| Ok(((*function).to_owned(), count_one(bench, function)?))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
fn count_one(bench: &Bench<'_>, function: &str) -> Fallible<Counts> {
    eprintln!("measure: counting {function}");
    let efforts = bench.efforts(function)?;
    let units = bench.units(function)?;
    let counts = [
        ("instructions until the first answer", efforts.start.instructions as f64),
        ("instructions, warm", efforts.warm.instructions as f64),
        ("allocations, warm", efforts.warm.allocations as f64),
        ("bytes allocated, warm", efforts.warm.allocated as f64),
        ("AWS calls until the first answer", bench.cold_calls(function)?.len() as f64),
        ("AWS calls, warm", bench.warm_calls(function)?.len() as f64),
        ("write units, warm", units.written),
        ("read units, warm", units.read),
        ("bytes of the binary", bench.image(function)?.len() as f64),
        ("crates it is made of", crates(function)? as f64),
    ];
    Ok(counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect())
}

/// How many crates a function depends on, as released.
fn crates(function: &str) -> Fallible<usize> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(crate::root()).args(["tree", "--locked", "--edges", "normal", "--prefix", "none"]);
    let output = cargo.args(["--format", "{p}", "--package", function]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut lines: Vec<_> = std::str::from_utf8(&output.stdout)?.lines().map(|l| l.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.len())
}

/// A table of the counts beside the ones that were accepted; an error names those that rose.
pub fn check(counted: &Baseline) -> Fallible<String> {
    let accepted: Baseline = serde_json::from_str(&fs::read_to_string(file())?)?;
    let (table, rose) = compare(counted, &accepted);
    if rose.is_empty() {
        return Ok(table);
    }
    Err(format!(
        "{table}\nMore than before:\n  {}\nIf that is meant, say why in the commit, and accept it: cargo measure --accept",
        rose.join("\n  ")
    )
    .into())
}

/// Makes the counts those that later ones are compared with.
pub fn accept(counted: &Baseline) -> Fallible<()> {
    Ok(fs::write(file(), format!("{}\n", serde_json::to_string_pretty(counted)?))?)
}

fn file() -> PathBuf {
    crate::root().join("tests/measure/accepted.json")
}

/// The table, and what rose.
fn compare(counted: &Baseline, accepted: &Baseline) -> (String, Vec<String>) {
    let mut table = "| function | counted | accepted | now |\n| --- | --- | --- | --- |\n".to_owned();
    let mut rose = Vec::new();
    for (function, counts) in counted {
        for (name, now) in counts {
            let before = accepted.get(function).and_then(|counts| counts.get(name));
            let _ =
                writeln!(table, "| `{function}` | {name} | {} | {now} |", before.map_or("none".into(), f64::to_string));
            // Calls, units and crates are few: one more is noticed.
            let is_few = before.is_some_and(|before| *before < 1_000.0);
            let most = before.map(|before| if is_few { *before } else { before * (1.0 + TOLERANCE) });
            if most.is_none_or(|most| *now > most) {
                rose.push(format!(
                    "{function}: {name}: {now}, accepted {}",
                    before.map_or("none".into(), f64::to_string)
                ));
            }
        }
    }
    (table, rose)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> Baseline {
        let counts = pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Baseline::from([("webhook".to_owned(), counts)])
    }

    #[test]
    fn what_rises_by_more_than_a_twentieth_is_named() {
        let accepted = counts(&[("instructions", 100_000.0), ("calls", 2.0)]);
        let rose = |now: &[(&str, f64)]| compare(&counts(now), &accepted).1;
        assert!(rose(&[("instructions", 105_000.0), ("calls", 2.0)]).is_empty());
        assert!(rose(&[("instructions", 50_000.0), ("calls", 1.0)]).is_empty());
        assert_eq!(rose(&[("instructions", 105_001.0)]).len(), 1);
        assert_eq!(rose(&[("calls", 3.0)]), ["webhook: calls: 3, accepted 2"]);
        assert_eq!(rose(&[("allocations", 1.0)]), ["webhook: allocations: 1, accepted none"]);
    }
}
