//! The memory of a process.

use std::{fs, process::Child};

/// A figure of the memory of a process: `VmRSS`, or `VmHWM` for the most.
pub fn megabytes(process: &Child, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
