//! Starts and warm invocations of every function, each beside its floor.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::{Compression, write::DeflateEncoder};
use local::template::Template;
use serde_json::json;

use crate::function::{Answered, Copy};
use crate::scenario::{Fallible, Hub, Units};
use crate::tape::{Call, Tape};

/// Answers, and makes no call.
pub const HELLO: &str = "floor-hello";
/// Makes the calls that it is given, and nothing else.
pub const CALLS: &str = "floor-calls";

/// Starts of each function and of the floor, in turns.
const STARTS: usize = 20;
/// Warm invocations, after those that warm it up.
const INVOCATIONS: usize = 1_000;
pub const WARM_UP: usize = 50;
/// In so many rounds, in turns with the floor's.
const ROUNDS: usize = 10;

/// What was measured of one function.
pub struct Figures {
    pub function: String,
    pub binary_bytes: u64,
    pub zip_bytes: u64,
    pub start: Start,
    /// Of the same number of starts of the floor.
    pub floor_start: Start,
    pub warm: Warm,
    /// Of a function that makes the same calls; `None` where it makes none, or the floor doesn't know them.
    pub floor_warm: Option<Warm>,
    /// What one warm invocation takes of the table.
    pub units: Units,
}

/// Medians of starts.
#[derive(Clone, Copy)]
pub struct Start {
    pub to_poll: Duration,
    pub to_answer: Duration,
    pub resident: u64,
    /// AWS calls until the first answer.
    pub calls: usize,
}

/// Warm invocations.
#[derive(Clone, Copy)]
pub struct Warm {
    pub round_trip: Duration,
    pub cpu: Duration,
    pub calls: usize,
    pub logged: u64,
}

/// Bytes resident after so many invocations.
pub struct Growth(pub Vec<(usize, u64)>);

/// When it is looked at.
const LOOKS: [usize; 3] = [100, 1_000, 10_000];

/// Where things are.
pub struct Bench<'a> {
    pub hub: &'a Hub,
    pub tape: &'a Tape,
    pub template: &'a Template,
    /// The folder of the binaries.
    pub binaries: &'a Path,
    /// Events that were made so far: no two are the same.
    events: Cell<usize>,
}

/// What answers a function's calls.
#[derive(Clone, Copy)]
pub enum Aws {
    /// The tape.
    Recorded,
    /// The services.
    Live,
}

impl<'a> Bench<'a> {
    /// Nothing was measured yet.
    pub fn new(hub: &'a Hub, tape: &'a Tape, template: &'a Template, binaries: &'a Path) -> Self {
        Self { hub, tape, template, binaries, events: Cell::new(0) }
    }

    /// Measures a function.
    pub fn measure(&self, function: &str) -> Fallible<Figures> {
        let image = self.image(function)?;
        let (start, floor_start) = self.starts(function)?;
        let (warm, floor_warm) = self.warm(function)?;
        Ok(Figures {
            function: function.to_owned(),
            binary_bytes: image.len() as u64,
            zip_bytes: zipped(&image)?,
            start,
            floor_start,
            warm,
            floor_warm,
            units: self.units(function)?,
        })
    }

    /// A binary's bytes.
    pub fn image(&self, binary: &str) -> Fallible<Vec<u8>> {
        let path = self.binary(binary);
        Ok(fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// Where a binary is.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    fn command(&self, binary: &str) -> Command {
        Command::new(self.binary(binary))
    }

    fn starts(&self, function: &str) -> Fallible<(Start, Start)> {
        let (mut own, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            floor.push(self.start(HELLO, function)?);
            own.push(self.start(function, function)?);
        }
        Ok((median_start(&own), median_start(&floor)))
    }

    /// Starts a binary in a function's place, and has it answer once.
    fn start(&self, binary: &str, function: &str) -> Fallible<Start> {
        let (mut copy, to_poll) = Copy::start(self.command(binary), &self.environment(function)?)?;
        let answered = self.invoke(&mut copy, function, Aws::Recorded, true)?;
        let calls = self.tape.calls().len();
        Ok(Start { to_poll, to_answer: answered.since_start, resident: copy.resident()?, calls })
    }

    /// Warm invocations of a function and, in turns, of the floor that makes its calls.
    fn warm(&self, function: &str) -> Fallible<(Warm, Option<Warm>)> {
        let mut own = Series::of(Copy::start(self.command(function), &self.environment(function)?)?.0);
        self.invoke(&mut own.copy, function, Aws::Recorded, true)?;
        self.warm_up(&mut own, function)?;
        let calls = self.tape.calls();
        // It ends where it doesn't know a call.
        let floor = Copy::start(self.command(CALLS), &self.floor_of(function, &calls)?).ok();
        let mut floor = floor.filter(|_| !calls.is_empty()).map(|(copy, _)| Series::of(copy));
        if let Some(floor) = &mut floor {
            self.warm_up(floor, function)?;
        }
        for _ in 0..ROUNDS {
            self.round(&mut own, function)?;
            if let Some(floor) = &mut floor {
                self.round(floor, function)?;
            }
        }
        Ok((own.warm(calls.len())?, floor.map(|floor| floor.warm(calls.len())).transpose()?))
    }

    fn warm_up(&self, series: &mut Series, function: &str) -> Fallible<()> {
        for _ in 0..WARM_UP {
            self.invoke(&mut series.copy, function, Aws::Recorded, false)?;
        }
        series.logged = series.copy.logged();
        Ok(())
    }

    fn round(&self, series: &mut Series, function: &str) -> Fallible<()> {
        let before = series.copy.cpu()?;
        for _ in 0..INVOCATIONS / ROUNDS {
            series.took.push(self.invoke(&mut series.copy, function, Aws::Recorded, false)?.took);
        }
        series.cpu.push(series.copy.cpu()?.saturating_sub(before) / u32::try_from(INVOCATIONS / ROUNDS)?);
        Ok(())
    }

    /// The calls until the first answer of a copy.
    pub fn cold_calls(&self, function: &str) -> Fallible<Vec<Call>> {
        self.calls_after(function, 1)
    }

    /// The calls of a warm invocation.
    pub fn warm_calls(&self, function: &str) -> Fallible<Vec<Call>> {
        self.calls_after(function, WARM_UP)
    }

    fn calls_after(&self, function: &str, invocations: usize) -> Fallible<Vec<Call>> {
        let (mut copy, _) = Copy::start(self.command(function), &self.environment(function)?)?;
        for n in 0..invocations {
            self.invoke(&mut copy, function, Aws::Recorded, n == 0)?;
        }
        Ok(self.tape.calls())
    }

    /// The environment of the floor that makes these calls in a function's place.
    pub fn floor_of(&self, function: &str, calls: &[Call]) -> Fallible<BTreeMap<String, String>> {
        let file = self.binaries.join("floor-calls.json");
        let calls: Vec<_> = calls.iter().map(|call| json!({"target": call.target, "body": call.body})).collect();
        fs::write(&file, serde_json::to_vec(&calls)?)?;
        let mut environment = self.environment(function)?;
        environment.insert("FLOOR_CALLS".into(), file.display().to_string());
        Ok(environment)
    }

    /// What a warm invocation takes of the table.
    pub fn units(&self, function: &str) -> Fallible<Units> {
        let (mut copy, _) = Copy::start(self.command(function), &self.environment(function)?)?;
        for _ in 0..2 {
            self.invoke(&mut copy, function, Aws::Live, false)?;
        }
        self.hub.units();
        self.invoke(&mut copy, function, Aws::Live, false)?;
        Ok(self.hub.units())
    }

    /// What a copy takes up over many invocations.
    pub fn growth(&self, function: &str) -> Fallible<Growth> {
        let (mut copy, _) = Copy::start(self.command(function), &self.environment(function)?)?;
        let mut looks = Vec::new();
        for n in 1..=LOOKS.into_iter().max().unwrap_or_default() {
            self.invoke(&mut copy, function, Aws::Recorded, n == 1)?;
            if LOOKS.contains(&n) {
                looks.push((n, copy.resident()?));
            }
        }
        Ok(Growth(looks))
    }

    /// Hands a copy another event for a function.
    pub fn invoke(&self, copy: &mut Copy, function: &str, aws: Aws, is_first: bool) -> Fallible<Answered> {
        self.events.set(self.events.get() + 1);
        let n = self.events.get();
        let event = serde_json::to_vec(&self.hub.event(function, n)?)?;
        let track = format!("{function}, {}", if is_first { "cold" } else { "warm" });
        self.tape.begin(match aws {
            Aws::Recorded => Some(&track),
            Aws::Live => None,
        });
        let answered = copy.invoke(&event, n)?;
        check(function, &answered)?;
        Ok(answered)
    }

    /// What Lambda and the template give the function.
    pub fn environment(&self, function: &str) -> Fallible<BTreeMap<String, String>> {
        let spec = self.template.function(function).ok_or("no such function in the template")?;
        let mut environment = spec.environment.clone();
        let lambda = [
            ("AWS_ENDPOINT_URL", self.tape.url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("AWS_LAMBDA_FUNCTION_NAME", function),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_rust"),
            ("HOME", "/tmp"),
            ("ENDPOINTS", "loopback"),
        ];
        environment.extend(lambda.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(environment)
    }
}

/// Warm invocations of one copy.
struct Series {
    copy: Copy,
    took: Vec<Duration>,
    /// Of each invocation, by rounds.
    cpu: Vec<Duration>,
    /// Bytes when it was warm.
    logged: u64,
}

impl Series {
    fn of(copy: Copy) -> Self {
        Self { copy, took: Vec::new(), cpu: Vec::new(), logged: 0 }
    }

    fn warm(self, calls: usize) -> Fallible<Warm> {
        let logged = (self.copy.logged() - self.logged) / u64::try_from(INVOCATIONS)?;
        Ok(Warm { round_trip: median(self.took), cpu: median(self.cpu), calls, logged })
    }
}

/// That the function did what it is for.
fn check(function: &str, answered: &Answered) -> Fallible<()> {
    let answer: serde_json::Value = serde_json::from_slice(&answered.answer)?;
    let is_good = match &answer["statusCode"] {
        serde_json::Value::Null => answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty),
        status => *status == 200,
    };
    if is_good { Ok(()) } else { Err(format!("{function} answered {answer}").into()) }
}

fn zipped(image: &[u8]) -> Fallible<u64> {
    let mut zip = DeflateEncoder::new(Vec::new(), Compression::best());
    zip.write_all(image)?;
    Ok(zip.finish()?.len() as u64)
}

fn median<T: Ord + core::marker::Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn median_start(starts: &[Start]) -> Start {
    Start {
        to_poll: median(starts.iter().map(|start| start.to_poll).collect()),
        to_answer: median(starts.iter().map(|start| start.to_answer).collect()),
        resident: median(starts.iter().map(|start| start.resident).collect()),
        calls: median(starts.iter().map(|start| start.calls).collect()),
    }
}
