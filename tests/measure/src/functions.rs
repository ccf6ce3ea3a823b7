//! Starts and warm invocations of every function, each beside its floor.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::{Compression, write::DeflateEncoder};
use local::template::Template;
use serde_json::json;

use crate::function::{Answered, Copy};
use crate::scenario::{Fallible, Hub};
use crate::tape::{Call, Tape};

/// Starts of each function and of the floor, in turns.
const STARTS: usize = 20;
/// Invocations of which the first are for warming up.
const INVOCATIONS: usize = 1_000;
const WARM_UP: usize = 50;

/// What was measured of one function.
pub struct Figures {
    pub function: String,
    pub binary_bytes: u64,
    pub zip_bytes: u64,
    pub start: Start,
    /// Of the same number of starts of the floor.
    pub floor_start: Start,
    pub warm: Warm,
    /// Of a function that makes the same calls; `None` where the floor doesn't know them.
    pub floor_warm: Option<Warm>,
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
}

impl Bench<'_> {
    /// Measures a function.
    pub fn measure(&self, function: &str) -> Fallible<Figures> {
        let binary = self.binaries.join(function);
        let image = fs::read(&binary).map_err(|error| format!("{}: {error}", binary.display()))?;
        let (start, floor_start) = self.starts(function)?;
        let (warm, calls) = self.warm(function)?;
        let floor_warm = self.floor(function, &calls)?;
        Ok(Figures {
            function: function.to_owned(),
            binary_bytes: image.len() as u64,
            zip_bytes: zipped(&image)?,
            start,
            floor_start,
            warm,
            floor_warm,
        })
    }

    fn starts(&self, function: &str) -> Fallible<(Start, Start)> {
        let (environment, event) = (self.environment(function)?, self.event(function, 1)?);
        let (mut own, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            floor.push(self.start("floor-hello", &environment, &event)?);
            own.push(self.start(function, &environment, &event)?);
        }
        Ok((median_start(&own), median_start(&floor)))
    }

    fn start(&self, binary: &str, environment: &BTreeMap<String, String>, event: &[u8]) -> Fallible<Start> {
        self.tape.calls();
        self.tape.begin(&format!("{binary}, cold"));
        let (mut copy, to_poll) = Copy::start(&self.binaries.join(binary), environment)?;
        let answered = copy.invoke(event, 0)?;
        check(binary, &answered)?;
        let calls = self.tape.calls().len();
        Ok(Start { to_poll, to_answer: answered.since_start, resident: copy.resident()?, calls })
    }

    fn warm(&self, function: &str) -> Fallible<(Warm, Vec<Call>)> {
        let environment = self.environment(function)?;
        let (mut copy, _) = Copy::start(&self.binaries.join(function), &environment)?;
        self.tape.begin(&format!("{function}, cold"));
        copy.invoke(&self.event(function, 1)?, 0)?;
        let track = format!("{function}, warm");
        self.invocations(&mut copy, function, function, &track)
    }

    /// A function that makes the same calls.
    fn floor(&self, function: &str, calls: &[Call]) -> Fallible<Option<Warm>> {
        if calls.is_empty() {
            return Ok(None);
        }
        let file = self.binaries.join("floor-calls.json");
        let calls: Vec<_> = calls.iter().map(|call| json!({"target": call.target, "body": call.body})).collect();
        fs::write(&file, serde_json::to_vec(&calls)?)?;
        let mut environment = self.environment(function)?;
        environment.insert("FLOOR_CALLS".into(), file.display().to_string());
        // It ends where it doesn't know a call.
        let Ok((mut copy, _)) = Copy::start(&self.binaries.join("floor-calls"), &environment) else { return Ok(None) };
        let track = format!("{function}, warm");
        Ok(Some(self.invocations(&mut copy, "floor-calls", function, &track)?.0))
    }

    /// Gives the calls of the last invocation, too.
    fn invocations(&self, copy: &mut Copy, name: &str, function: &str, track: &str) -> Fallible<(Warm, Vec<Call>)> {
        let mut took = Vec::new();
        let (mut cpu, mut logged) = (Duration::ZERO, 0);
        let mut calls = Vec::new();
        for n in 0..WARM_UP + INVOCATIONS {
            if n == WARM_UP {
                (cpu, logged) = (copy.cpu()?, copy.logged());
            }
            let event = self.event(function, 2 + n)?;
            self.tape.calls();
            self.tape.begin(track);
            let answered = copy.invoke(&event, n + 1)?;
            check(name, &answered)?;
            calls = self.tape.calls();
            if n >= WARM_UP {
                took.push(answered.took);
            }
        }
        let invocations = u32::try_from(INVOCATIONS)?;
        let cpu = copy.cpu()?.saturating_sub(cpu) / invocations;
        let logged = (copy.logged() - logged) / u64::from(invocations);
        Ok((Warm { round_trip: median(took), cpu, calls: calls.len(), logged }, calls))
    }

    /// What a copy takes up over many invocations.
    pub fn growth(&self, function: &str) -> Fallible<Growth> {
        let environment = self.environment(function)?;
        let (mut copy, _) = Copy::start(&self.binaries.join(function), &environment)?;
        let mut looks = Vec::new();
        for n in 1..=LOOKS.into_iter().max().unwrap_or_default() {
            let event = self.event(function, n)?;
            self.tape.begin(&format!("{function}, {}", if n == 1 { "cold" } else { "warm" }));
            check(function, &copy.invoke(&event, n)?)?;
            if LOOKS.contains(&n) {
                looks.push((n, copy.resident()?));
            }
        }
        self.tape.calls();
        Ok(Growth(looks))
    }

    fn event(&self, function: &str, n: usize) -> Fallible<Vec<u8>> {
        Ok(serde_json::to_vec(&self.hub.event(function, n)?)?)
    }

    /// What Lambda and the template give the function.
    fn environment(&self, function: &str) -> Fallible<BTreeMap<String, String>> {
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
