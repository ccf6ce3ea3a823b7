//! `cargo measure`: builds the released functions, runs them against a stub of Lambda's Runtime API and AWS as it answered once, each
//! beside its floors, and writes what it finds into `docs/benchmarks.md`. `cargo measure --check` compares what can be counted with
//! what was accepted before.

mod benches;
mod effort;
mod function;
mod functions;
mod guard;
mod http;
mod money;
mod report;
mod scenario;
mod tape;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use local::template::Template;
use tokio::runtime::Runtime;

use self::benches::{BENCHES, RULES};
use self::functions::{Bench, CALLS, Figures, HELLO};
use self::report::{Stored, Tables};
use self::scenario::{Fallible, Hub};
use self::tape::Tape;

/// What `--help` prints.
const HELP: &str = "\
Measures the released functions: starts, warm invocations, memory, size and money, each beside its floor.

Usage: cargo measure [FUNCTION… | --check | --accept]

Without names, all functions are measured and all benchmarks run, and the tables in docs/benchmarks.md are written anew.
With names, such as webhook-sarah-ai, only those functions are measured, and their tables are printed.
--check fails where instructions, allocations, calls to AWS, capacity or size rose by over 5 %.
--accept makes what is counted now that with which later changes are compared.
The first run builds the functions as released, which takes minutes. Counting needs valgrind.
";

/// The function whose memory is watched over many invocations, and which is measured with much that is stored.
const WEBHOOK: &str = "webhook-sarah-ai";
const DELIVERIES: &str = "deliver-webhooks";
/// Stored interactions with which it is measured.
const STORED: [usize; 2] = [1_000, 1_000_000];

/// What is to be done.
enum Task {
    All,
    Functions(Vec<String>),
    Check,
    Accept,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let task = match arguments.first().map(String::as_str) {
        None => Task::All,
        Some("--check") => Task::Check,
        Some("--accept") => Task::Accept,
        Some(option) if option.starts_with('-') => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(_) => Task::Functions(arguments),
    };
    match run(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Fallible<()> {
    let all: Vec<String> = Template::bundled("")?.functions.into_iter().map(|function| function.name).collect();
    let names = match task {
        Task::All => all,
        Task::Functions(names) => match names.iter().find(|name| !all.contains(name)) {
            Some(unknown) => {
                return Err(format!("There is no function {unknown}. There are {}.", all.join(", ")).into());
            }
            None => names.clone(),
        },
        Task::Check | Task::Accept => guard::GUARDED.map(str::to_owned).to_vec(),
    };
    let target = build(&names)?;
    let binaries = target.join("release");
    if matches!(task, Task::All) {
        benches::build(&mut cargo())?;
    }
    function::make_room()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let hub = runtime.block_on(Hub::start())?;
    let tape = Tape::before(hub.aws_port())?;
    let template = Template::bundled(tape.url())?;
    let bench = Bench::new(&hub, &tape, &template, &binaries);
    match task {
        Task::Check => print!("{}", guard::check(&guard::count(&bench)?)?),
        Task::Accept => guard::accept(&guard::count(&bench)?)?,
        Task::Functions(_) => print!("{}", functions(&bench, &names)?.1),
        Task::All => {
            let (figures, mut tables) = functions(&bench, &names)?;
            let of = |name: &str| figures.iter().find(|figures| figures.function == name).ok_or("no such function");
            let (growth, stored) = (bench.growth(WEBHOOK)?, stored(&bench, &runtime)?);
            let money = money::money(of(WEBHOOK)?, of(DELIVERIES)?)?;
            tables.add("targets", report::targets(&figures, &growth, &stored, &money));
            tables.add("growth", report::growth(&growth));
            tables.add("stored", report::stored(&stored));
            tables.add("money", money.tables);
            function::leave_room()?;
            benches::run(cargo(), RULES)?;
            tables.add(RULES, benches::rules(&target.join("criterion"))?);
            for name in BENCHES {
                tables.add(name, benches::block(&benches::run(cargo(), name)?));
            }
            tables.write(&root().join("docs/benchmarks.md"))?;
        }
    }
    Ok(())
}

/// Measures functions.
fn functions(bench: &Bench<'_>, names: &[String]) -> Fallible<(Vec<Figures>, Tables)> {
    let (mut figures, mut efforts) = (Vec::new(), Vec::new());
    for name in names {
        eprintln!("measure: {name}");
        figures.push(bench.measure(name)?);
        // The floor knows all of their calls.
        if name.starts_with("webhook-") {
            efforts.push(bench.compare(name)?);
        }
    }
    let mut tables = Tables::default();
    tables.add("starts", report::starts(&figures));
    tables.add("warm", report::warm(&figures));
    tables.add("counts", report::efforts(&efforts));
    Ok((figures, tables))
}

/// Measures a webhook with much that is stored.
fn stored(bench: &Bench<'_>, runtime: &Runtime) -> Fallible<Vec<Stored>> {
    let mut before = 0;
    let mut all = Vec::new();
    for interactions in STORED {
        eprintln!("measure: {interactions} stored interactions");
        runtime.block_on(bench.hub.store_interactions(before..interactions))?;
        before = interactions;
        let (units, calls) = (bench.units(WEBHOOK)?, bench.warm_calls(WEBHOOK)?.len());
        all.push(Stored { interactions, calls, units, instructions: bench.live_instructions(WEBHOOK)? });
    }
    Ok(all)
}

/// Builds the functions and their floors as they are released, but for this machine; gives the target folder.
fn build(functions: &[String]) -> Fallible<PathBuf> {
    let binaries = functions.iter().map(String::as_str).chain([HELLO, CALLS]).flat_map(|name| ["--bin", name]);
    if !cargo().args(["build", "--quiet", "--locked", "--release"]).args(binaries).status()?.success() {
        return Err("The functions can't be built.".into());
    }
    // This binary is in the folder of another profile.
    let own = std::env::current_exe()?;
    Ok(own.parent().and_then(Path::parent).ok_or("this binary is in no target folder")?.to_owned())
}

/// Cargo as one calls it from a shell: `cargo run`, which runs us, sets variables on which build scripts depend, and all that
/// depends on those would be built anew.
#[expect(clippy::disallowed_methods, reason = "cargo's own environment, and nothing of the hub's")]
fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
