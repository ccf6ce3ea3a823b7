//! What valgrind counts of a function: the same in every run and on every machine, but for a little that random numbers and the
//! processor's extensions decide.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::function::Copy;
use crate::functions::{Aws, Bench, CALLS, HELLO, WARM_UP};
use crate::scenario::Fallible;
use crate::tape::Call;

/// Warm invocations that are counted.
const INVOCATIONS: u64 = 100;

/// What a process did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Instructions in user space.
    pub instructions: u64,
    /// Calls of the allocator for new memory.
    pub allocations: u64,
    /// Bytes that it gave.
    pub allocated: u64,
}

/// What a start with one invocation takes, and each warm one.
#[derive(Clone, Copy, Debug)]
pub struct Efforts {
    pub start: Effort,
    pub warm: Effort,
}

/// A function's efforts beside its floors'.
pub struct Compared {
    pub function: String,
    pub own: Efforts,
    /// Instructions until the first answer of a hello world whose clients are made as the SDK's documentation makes them.
    pub hello: u64,
    /// Of one whose clients are made as the hub's.
    pub hello_with_our_clients: u64,
    /// A warm invocation of a function that makes the same calls.
    pub calls: Effort,
}

impl Bench<'_> {
    /// Counts a function's efforts and its floors'.
    pub fn compare(&self, function: &str) -> Fallible<Compared> {
        let hello =
            |binary, environment: &BTreeMap<_, _>| self.instructions(binary, function, environment, Aws::Recorded, 1);
        let floor = |calls: &[Call]| self.floor_of(function, calls);
        Ok(Compared {
            function: function.to_owned(),
            own: self.efforts(function)?,
            hello: hello(HELLO, &self.environment(function)?)?,
            hello_with_our_clients: hello(CALLS, &floor(&[])?)?,
            calls: self.efforts_of(CALLS, function, &floor(&self.warm_calls(function)?)?)?.warm,
        })
    }

    /// Counts a function's efforts.
    pub fn efforts(&self, function: &str) -> Fallible<Efforts> {
        self.efforts_of(function, function, &self.environment(function)?)
    }

    /// Instructions of a warm invocation whose calls the services answer, with all that is stored.
    pub fn live_instructions(&self, function: &str) -> Fallible<u64> {
        let environment = self.environment(function)?;
        let run = |invocations| self.instructions(function, function, &environment, Aws::Live, invocations);
        Ok((run(WARM_UP + usize::try_from(INVOCATIONS)?)?.saturating_sub(run(WARM_UP)?)) / INVOCATIONS)
    }

    /// Counts the efforts of a binary in a function's place.
    fn efforts_of(&self, binary: &str, function: &str, environment: &BTreeMap<String, String>) -> Fallible<Efforts> {
        let after = |invocations| self.effort(binary, function, environment, invocations);
        let (start, warmed_up, all) = (after(1)?, after(WARM_UP)?, after(WARM_UP + usize::try_from(INVOCATIONS)?)?);
        Ok(Efforts { start, warm: all.minus(warmed_up).each_of(INVOCATIONS) })
    }

    fn effort(
        &self,
        binary: &str,
        function: &str,
        environment: &BTreeMap<String, String>,
        invocations: usize,
    ) -> Fallible<Effort> {
        let instructions = self.instructions(binary, function, environment, Aws::Recorded, invocations)?;
        let nowhere = "--dhat-out-file=/dev/null".to_owned();
        let command = |log: &Path| valgrind("dhat", nowhere, log, &self.binary(binary));
        let dhat = self.run(command, function, environment, Aws::Recorded, invocations)?;
        Ok(Effort {
            instructions,
            allocated: number_after(&dhat, "Total:")?,
            allocations: number_after(dhat.split_once("Total:").map_or("", |(_, rest)| rest), " bytes in ")?,
        })
    }

    fn instructions(
        &self,
        binary: &str,
        function: &str,
        environment: &BTreeMap<String, String>,
        aws: Aws,
        invocations: usize,
    ) -> Fallible<u64> {
        // For `callgrind_annotate`, where the binary has symbols.
        let profile = format!("--callgrind-out-file={}.callgrind", self.binary(binary).display());
        let command = |log: &Path| valgrind("callgrind", profile, log, &self.binary(binary));
        number_after(&self.run(command, function, environment, aws, invocations)?, "Collected : ")
    }

    /// Invokes a binary under valgrind in a function's place, and gives valgrind's summary.
    fn run(
        &self,
        command: impl FnOnce(&Path) -> Command,
        function: &str,
        environment: &BTreeMap<String, String>,
        aws: Aws,
        invocations: usize,
    ) -> Fallible<String> {
        let log = self.binary("valgrind.log");
        let started = Copy::start(command(&log), environment);
        let (mut copy, _) = started.map_err(|error| format!("valgrind: {error}; is it installed?"))?;
        // The floor's calls are a warm invocation's from the first on.
        let is_floor = environment.contains_key("FLOOR_CALLS");
        for n in 0..invocations {
            self.invoke(&mut copy, function, aws, n == 0 && !is_floor)?;
        }
        copy.end()?;
        Ok(fs::read_to_string(log)?)
    }
}

impl Effort {
    fn minus(self, other: Self) -> Self {
        Self {
            instructions: self.instructions.saturating_sub(other.instructions),
            allocations: self.allocations.saturating_sub(other.allocations),
            allocated: self.allocated.saturating_sub(other.allocated),
        }
    }

    fn each_of(self, count: u64) -> Self {
        Self {
            instructions: self.instructions / count,
            allocations: self.allocations / count,
            allocated: self.allocated / count,
        }
    }
}

/// Runs a binary under a tool of valgrind, whose summary goes to `log`.
fn valgrind(tool: &str, option: String, log: &Path, binary: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args([format!("--tool={tool}"), option, format!("--log-file={}", log.display())]).arg(binary);
    command
}

/// The number behind a text, which may have commas between its digits.
fn number_after(text: &str, before: &str) -> Fallible<u64> {
    let (_, rest) = text.split_once(before).ok_or_else(|| format!("valgrind doesn't say '{before}': {text}"))?;
    let digits = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',');
    Ok(digits.filter(char::is_ascii_digit).collect::<String>().parse()?)
}
