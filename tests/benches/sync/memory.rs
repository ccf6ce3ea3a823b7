//! Resident memory of the function while more and more records wait.
//!
//! It runs in a process of its own, in which nothing else is; this one is AWS and the CRM.

use std::{
    io::{BufRead, BufReader, Write, stdin},
    process::{Command, Stdio},
};

use super::{
    crm::Crm,
    function::hub_at,
    records::{FUNCTION, change, run as run_once},
    resident::megabytes,
    services::Services,
    tenants::{make_tenant, scope},
};

/// The argument that makes this a child.
pub const CHILD: &str = "child";

const COUNTS: [usize; 3] = [1_000, 10_000, 100_000];

pub fn run() {
    for preset in ["generic", "hubspot"] {
        println!("\nResident memory of {FUNCTION}, preset {preset}");
        for count in COUNTS {
            measure(preset, count);
        }
    }
}

fn measure(preset: &str, count: usize) {
    let (services, crm) = (Services::start(), Crm::start());
    let scope = make_tenant(&services, preset, &crm.url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(change(&hub_at(FUNCTION, &services.url()), &scope, 0..count, 1));
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args([CHILD, preset, &services.url()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let before = megabytes(&child, "VmRSS");
    let mut runs = 0;
    // A run ends by its time; the next one goes on.
    while crm.records() < count {
        let sent = crm.records();
        writeln!(child.stdin.as_ref().unwrap(), "go").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "done");
        assert!(crm.records() > sent, "{sent} of {count} were sent");
        runs += 1;
    }
    assert_eq!(crm.records(), count);
    let [after, most] = ["VmRSS", "VmHWM"].map(|name| megabytes(&child, name));
    child.kill().unwrap();
    child.wait().unwrap();
    println!("  {count} records: {after:.1} MB, {before:.1} before, {most:.1} at most; {runs} runs");
}

/// What a child does: a run for each line. It ends with its parent.
pub fn child(preset: &str, aws_url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (hub, scope) = (hub_at(FUNCTION, aws_url), scope(preset));
    println!("ready");
    while stdin().read_line(&mut String::new()).unwrap() > 0 {
        runtime.block_on(run_once(&hub, &scope));
        println!("done");
    }
}
