//! `cargo measure`: builds the released functions, runs them against a stub of Lambda's Runtime API and AWS as it answered once, each
//! beside its floors, and writes what it finds into `docs/benchmarks.md`.

mod function;
mod functions;
mod http;
mod report;
mod scenario;
mod tape;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use local::template::Template;

use self::functions::Bench;
use self::scenario::{Fallible, Hub};
use self::tape::Tape;

/// What `--help` prints.
const HELP: &str = "\
Measures the released functions: starts, warm invocations, memory and size, each beside its floor.

Usage: cargo measure [FUNCTION…]

Without names, all functions are measured, and the tables in docs/benchmarks.md are written anew.
With names, such as webhook-sarah-ai, only those are, and the tables are printed.
The first run builds the functions as released, which takes some 20 minutes.
";

/// Binaries of this package that the functions are compared with.
const FLOORS: [&str; 2] = ["floor-hello", "floor-calls"];
/// The function whose memory is watched over many invocations.
const LONG_LIVED: &str = "webhook-sarah-ai";

fn main() -> ExitCode {
    let only: Vec<String> = std::env::args().skip(1).collect();
    if only.iter().any(|argument| argument.starts_with('-')) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match measure(&only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(only: &[String]) -> Fallible<()> {
    let all: Vec<String> = Template::bundled("")?.functions.into_iter().map(|function| function.name).collect();
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        return Err(format!("There is no function {unknown}. There are {}.", all.join(", ")).into());
    }
    let names = if only.is_empty() { &all } else { only };
    let binaries = build(names)?;
    function::make_room()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let hub = runtime.block_on(Hub::start())?;
    let tape = Tape::before(hub.aws_port()?)?;
    let template = Template::bundled(tape.url())?;
    let bench = Bench { hub: &hub, tape: &tape, template: &template, binaries: &binaries };
    let mut figures = Vec::new();
    for name in names {
        eprintln!("measure: {name}");
        figures.push(bench.measure(name)?);
    }
    let mut tables = vec![("starts", report::starts(&figures)), ("warm", report::warm(&figures))];
    if names.iter().any(|name| name == LONG_LIVED) {
        tables.push(("growth", report::growth(&bench.growth(LONG_LIVED)?)));
    }
    if only.is_empty() {
        report::write(&root().join("docs/benchmarks.md"), &tables)?;
    }
    for (_, table) in tables {
        println!("{table}");
    }
    Ok(())
}

/// Builds the functions and their floors as they are released, but for this machine; gives their folder.
fn build(functions: &[String]) -> Fallible<PathBuf> {
    let binaries = functions.iter().map(String::as_str).chain(FLOORS).flat_map(|name| ["--bin", name]);
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["build", "--quiet", "--locked", "--release"]).args(binaries);
    if !cargo.status()?.success() {
        return Err("The functions can't be built.".into());
    }
    // This binary is in the folder of another profile.
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).ok_or("this binary is in no target folder")?;
    Ok(target.join("release"))
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
