//! Tables of what was measured, and their places in the documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::functions::{Figures, Growth};
use crate::scenario::Fallible;

/// Sizes and starts.
pub fn starts(all: &[Figures]) -> String {
    let mut table = "| function | binary, MB | zipped | to first poll, ms | to first answer, ms | hello world, ms | ratio | resident, MB \
                     | hello world, MB | AWS calls |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for figures in all {
        let (own, floor) = (&figures.start, &figures.floor_start);
        let ratio = own.to_answer.as_secs_f64() / floor.to_answer.as_secs_f64();
        let _ = writeln!(
            table,
            "| `{}` | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {ratio:.2} | {:.1} | {:.1} | {} |",
            figures.function,
            megabytes(figures.binary_bytes),
            megabytes(figures.zip_bytes),
            milliseconds(own.to_poll),
            milliseconds(own.to_answer),
            milliseconds(floor.to_answer),
            megabytes(own.resident),
            megabytes(floor.resident),
            own.calls,
        );
    }
    table
}

/// Warm invocations.
pub fn warm(all: &[Figures]) -> String {
    let mut table =
        "| function | round trip, µs | CPU, µs | floor with the same calls, µs | ratio | AWS calls | log, bytes |\n\
                     | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for figures in all {
        let own = &figures.warm;
        let floor = figures.floor_warm.map_or_else(
            || "| | |".to_owned(),
            |floor| {
                let ratio = own.cpu.as_secs_f64() / floor.cpu.as_secs_f64();
                format!("| {:.0} | {ratio:.2} |", microseconds(floor.cpu))
            },
        );
        let (round_trip, cpu) = (microseconds(own.round_trip), microseconds(own.cpu));
        let name = &figures.function;
        let _ = writeln!(table, "| `{name}` | {round_trip:.0} | {cpu:.0} {floor} {} | {} |", own.calls, own.logged);
    }
    table
}

/// Memory over many invocations.
pub fn growth(growth: &Growth) -> String {
    let mut table = "| webhooks, each of a new call on a new number | resident, MB |\n| --- | --- |\n".to_owned();
    for (invocations, resident) in &growth.0 {
        let _ = writeln!(table, "| {invocations} | {:.1} |", megabytes(*resident));
    }
    table
}

/// Puts each table between the comments `<!-- cargo measure: NAME -->` and `<!-- end -->` of a document.
pub fn write(document: &Path, tables: &[(&str, String)]) -> Fallible<()> {
    let mut text = fs::read_to_string(document)?;
    for (name, table) in tables {
        let begin = format!("<!-- cargo measure: {name} -->\n");
        let (before, rest) = text.split_once(&begin).ok_or_else(|| format!("{} has no {begin}", document.display()))?;
        let (_, after) = rest.split_once("<!-- end -->").ok_or_else(|| format!("{name} has no end"))?;
        text = format!("{before}{begin}\n{table}\n<!-- end -->{after}");
    }
    Ok(fs::write(document, text)?)
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
