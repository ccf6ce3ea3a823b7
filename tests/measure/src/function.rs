//! A copy of a function: its real binary as Lambda runs it, on a CPU of its own, against a stub of Lambda's Runtime API
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::http::{self, Message};

/// Where functions run, and nothing else of ours.
const FUNCTION_CPU: usize = 0;
/// Where all else runs.
const OWN_CPU: usize = 1;
/// Nothing here takes as long, not even under valgrind.
const PATIENCE: Duration = Duration::from_mins(1);

/// Puts this thread, and those that it starts from now on, on a CPU.
fn pin(cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(None, &cpus)?)
}

/// Leaves the functions' CPU to them.
pub fn make_room() -> io::Result<()> {
    pin(OWN_CPU)
}

/// Uses all CPUs again.
pub fn leave_room() -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(FUNCTION_CPU);
    cpus.set(OWN_CPU);
    Ok(sched_setaffinity(None, &cpus)?)
}

/// A request to the Runtime API, the connection that it came on, and when.
type Asked = (Message, TcpStream, Instant);

/// A running copy. It ends when this is dropped.
pub struct Copy {
    child: Child,
    asked: mpsc::Receiver<Asked>,
    /// The poll that waits for the next event.
    poll: Option<TcpStream>,
    logged: Arc<AtomicU64>,
    started: Instant,
}

/// What an invocation gave.
pub struct Answered {
    /// The answer.
    pub answer: Vec<u8>,
    /// From handing the event over to the answer.
    pub took: Duration,
    /// From the start of the process to the answer.
    pub since_start: Duration,
}

impl Copy {
    /// Starts the function by the command that runs it; gives it and how long it took until its first poll.
    pub fn start(mut command: Command, environment: &BTreeMap<String, String>) -> io::Result<(Self, Duration)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (ask, asked) = mpsc::channel();
        command.env_clear().envs(environment).env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ask = ask.clone();
                thread::spawn(move || listen(stream, &ask));
            }
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        pin(FUNCTION_CPU)?;
        let started = wall_clock();
        let child = command.spawn();
        make_room()?;
        let mut child = child?;
        let logged = Arc::new(AtomicU64::new(0));
        count(child.stdout.take(), &logged);
        count(child.stderr.take(), &logged);
        let mut copy = Self { child, asked, poll: None, logged, started };
        let polled = copy.await_poll()?;
        Ok((copy, polled.duration_since(started)))
    }

    /// Hands an event over, and waits for the answer and until the function polls again.
    pub fn invoke(&mut self, event: &[u8], request: usize) -> io::Result<Answered> {
        let mut poll = self.poll.take().ok_or_else(|| io::Error::other("the function hasn't polled"))?;
        let headers = format!(
            "lambda-runtime-aws-request-id: 00000000-0000-4000-8000-{request:012}\r\n\
             lambda-runtime-deadline-ms: 4102444800000\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:f\r\n\
             lambda-runtime-trace-id: Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0\r\n"
        );
        let begun = wall_clock();
        http::response("200 OK", &headers, event).write(&mut poll)?;
        let (message, mut stream, at) = self.next()?;
        if !message.start().1.ends_with("/response") {
            let problem = format!("{}: {}", message.start().1, String::from_utf8_lossy(&message.body));
            return Err(io::Error::other(problem));
        }
        http::response("202 Accepted", "", b"{}").write(&mut stream)?;
        self.await_poll()?;
        let (took, since_start) = (at.duration_since(begun), at.duration_since(self.started));
        Ok(Answered { answer: message.body, took, since_start })
    }

    fn await_poll(&mut self) -> io::Result<Instant> {
        let (message, stream, at) = self.next()?;
        if !message.start().1.ends_with("/invocation/next") {
            let problem = format!("{}: {}", message.start().1, String::from_utf8_lossy(&message.body));
            return Err(io::Error::other(problem));
        }
        self.poll = Some(stream);
        Ok(at)
    }

    fn next(&self) -> io::Result<Asked> {
        self.asked.recv_timeout(PATIENCE).map_err(|_| io::Error::other("the function ended, or takes too long"))
    }

    /// Bytes resident in memory.
    pub fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.map(|n| n * 1024).ok_or_else(|| io::Error::other("no VmRSS"))
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // See `Documentation/scheduler/sched-stats.rst` of Linux: the first number is time on the CPU in ns.
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Bytes that it logged so far.
    pub fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> io::Result<()> {
        let own = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(own.ok_or(io::ErrorKind::NotFound)?, Signal::TERM)?;
        self.child.wait().map(drop)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It ends with the error that it has ended already, or not at all.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(mut stream: TcpStream, ask: &mpsc::Sender<Asked>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut pending = Vec::new();
    while let Some(request) = http::read(&mut stream, &mut pending)? {
        if ask.send((request, stream.try_clone()?, wall_clock())).is_err() {
            break;
        }
    }
    Ok(())
}

fn count(log: Option<impl Read + Send + 'static>, bytes: &Arc<AtomicU64>) {
    let (bytes, mut chunk) = (Arc::clone(bytes), [0; 4096]);
    let Some(mut log) = log else { return };
    thread::spawn(move || {
        while let Ok(n @ 1..) = log.read(&mut chunk) {
            bytes.fetch_add(n as u64, Ordering::Relaxed);
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
pub fn wall_clock() -> Instant {
    Instant::now()
}
