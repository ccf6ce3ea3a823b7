//! Tables of what was measured, and their places in the documentation.

use std::fmt::{self, Display, Formatter, Write as _};
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::effort::Compared;
use crate::functions::{Figures, Growth};
use crate::money::Money;
use crate::scenario::{Fallible, Units};

/// A webhook with so much that is stored.
pub struct Stored {
    pub interactions: usize,
    pub calls: usize,
    pub units: Units,
    pub instructions: u64,
}

/// Tables by the names that the documentation gives them.
#[derive(Default)]
pub struct Tables(Vec<(&'static str, String)>);

impl Tables {
    pub fn add(&mut self, name: &'static str, table: String) {
        self.0.push((name, table));
    }

    /// Puts each table between the comments `<!-- cargo measure: NAME -->` and `<!-- end -->` of a document.
    pub fn write(&self, document: &Path) -> Fallible<()> {
        let mut text = fs::read_to_string(document)?;
        for (name, table) in &self.0 {
            let begin = format!("<!-- cargo measure: {name} -->\n");
            let missing = || format!("{} has no {begin}", document.display());
            let (before, rest) = text.split_once(&begin).ok_or_else(missing)?;
            let (_, after) = rest.split_once("<!-- end -->").ok_or_else(|| format!("{name} has no end"))?;
            text = format!("{before}{begin}\n{table}\n<!-- end -->{after}");
        }
        Ok(fs::write(document, text)?)
    }
}

impl Display for Tables {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, table)| writeln!(formatter, "{name}\n\n{table}"))
    }
}

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

/// The targets beside what was measured. `all` are all functions.
pub fn targets(all: &[Figures], growth: &Growth, stored: &[Stored], money: &Money) -> String {
    let webhooks: Vec<&Figures> = all.iter().filter(|figures| figures.function.starts_with("webhook-")).collect();
    let worst = |of: &dyn Fn(&Figures) -> f64| webhooks.iter().map(|figures| of(figures)).fold(0.0, f64::max);
    let ratio = |own: Duration, floor: Duration| own.as_secs_f64() / floor.as_secs_f64();
    let cold = worst(&|figures| ratio(figures.start.to_answer, figures.floor_start.to_answer));
    let warm = worst(&|figures| figures.floor_warm.map_or(0.0, |floor| ratio(figures.warm.cpu, floor.cpu)));
    let binary = worst(&|figures| megabytes(figures.binary_bytes));
    let zip = worst(&|figures| megabytes(figures.zip_bytes));
    let resident = |n: usize| growth.0.get(n).map_or(0.0, |(_, bytes)| megabytes(*bytes));
    let grown = resident(growth.0.len() - 1) / resident(0);
    let units = stored.first().map(|stored| stored.units).unwrap_or_default();
    let least = stored.iter().map(|stored| millions(stored.instructions)).fold(f64::MAX, f64::min);
    let most = stored.iter().map(|stored| millions(stored.instructions)).fold(0.0, f64::max);
    let is_same = stored.windows(2).all(|two| two[0].units == two[1].units && two[0].calls == two[1].calls);
    let same = if is_same { "the same calls and units" } else { "other calls or units" };
    let rows = [
        (
            "first answer of a webhook, the slowest of six, times a hello world's",
            "1.3",
            format!("{cold:.2}"),
            cold <= 1.3,
        ),
        ("CPU of a warm webhook, the most of six, times the same calls'", "1.5", format!("{warm:.2}"), warm <= 1.5),
        ("binary of a webhook, x86-64", "7 MB", format!("{binary:.2}"), binary <= 7.0),
        ("zipped", "3 MB", format!("{zip:.2}"), zip <= 3.0),
        ("resident after 10,000 webhooks, times that after 100", "1.3", format!("{grown:.2}"), grown <= 1.3),
        ("the sample `call.ended`, write units", "7", units.written.to_string(), units.written <= 7.0),
        ("read units, warm", "0", units.read.to_string(), units.read <= 0.0),
        ("a million webhooks, all in", "$7", format!("${:.2}", money.webhooks), money.webhooks <= 7.0),
        (
            "a million deliveries that succeed at once",
            "$2",
            format!("${:.2}", money.deliveries),
            money.deliveries <= 2.0,
        ),
        (
            "a webhook with 1,000,000 stored interactions, times one with 1,000",
            "1",
            format!("{same}, {:.2} of the instructions", most / least),
            is_same && most / least < 1.02,
        ),
    ];
    let mut table = "| what | target | measured | |\n| --- | --- | --- | --- |\n".to_owned();
    for (what, target, measured, is_met) in rows {
        let _ = writeln!(table, "| {what} | {target} | {measured} | {} |", if is_met { "met" } else { "not met" });
    }
    table
}

/// Instructions and allocations.
pub fn efforts(all: &[Compared]) -> String {
    let mut table = "| function | until the first answer, million instructions | hello world | ratio | with the hub's clients | ratio \
                     | warm, million instructions | floor with the same calls | ratio | allocations | floor | ratio |\n\
                     | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for compared in all {
        let start = millions(compared.own.start.instructions);
        let (hello, clients) = (millions(compared.hello), millions(compared.hello_with_our_clients));
        let (own, calls) = (compared.own.warm, compared.calls);
        let (warm, least) = (millions(own.instructions), millions(calls.instructions));
        let _ = writeln!(
            table,
            "| `{}` | {start:.1} | {hello:.1} | {:.2} | {clients:.1} | {:.2} | {warm:.2} | {least:.2} | {:.2} | {} | {} | {:.2} |",
            compared.function,
            start / hello,
            start / clients,
            warm / least,
            own.allocations,
            calls.allocations,
            millions(own.allocations) / millions(calls.allocations),
        );
    }
    table
}

/// A webhook with more and more that is stored.
pub fn stored(all: &[Stored]) -> String {
    let mut table = "| stored interactions | AWS calls | write units | read units | instructions, million |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for Stored { interactions, calls, units: Units { written, read }, instructions } in all {
        let million = millions(*instructions);
        let _ = writeln!(table, "| {interactions} | {calls} | {written} | {read} | {million:.2} |");
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
fn millions(count: u64) -> f64 {
    count as f64 / 1e6
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
