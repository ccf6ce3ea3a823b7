//! Clocks.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread.
pub fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
pub fn wall_clock() -> Instant {
    Instant::now()
}
