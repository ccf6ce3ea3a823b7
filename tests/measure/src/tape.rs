//! AWS as it answered once. The first time that a call is made it goes to the real (embedded) services; the same call in the same
//! place of a later invocation gets the same answer at once, so that the services' own work isn't in what is measured. Where it
//! doesn't matter, each call goes to them.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::http::{self, Message};

/// A call to AWS.
#[derive(Clone, Debug)]
pub struct Call {
    /// Service and operation, as in `DynamoDB_20120810.UpdateItem`.
    pub target: String,
    /// What was asked.
    pub body: String,
}

#[derive(Default)]
struct State {
    /// Which recording the answers come from; none: from the services.
    track: Option<String>,
    /// How often each operation was called in this invocation.
    counts: HashMap<String, usize>,
    answers: HashMap<(String, String, usize), Message>,
    calls: Vec<Call>,
}

/// The services as functions see them.
pub struct Tape {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Tape {
    /// Stands before the services at `upstream`, a port of this machine, until the process ends.
    pub fn before(upstream: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away ends its thread.
                thread::spawn(move || serve(stream, upstream, &state));
            }
        });
        Ok(Self { url, state })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An invocation begins, of a kind that makes the same calls each time, or of none.
    pub fn begin(&self, track: Option<&str>) {
        let mut state = lock(&self.state);
        state.track = track.map(str::to_owned);
        state.counts.clear();
        state.calls.clear();
    }

    /// The calls since the invocation began, or since the last look.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut lock(&self.state).calls)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, upstream: u16, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut pending, mut behind) = (Vec::new(), None);
    while let Some(request) = http::read(&mut stream, &mut pending)? {
        let target = request.header("x-amz-target").unwrap_or_default().to_owned();
        let place = {
            let mut state = lock(state);
            let count = state.counts.entry(target.clone()).or_default();
            *count += 1;
            let nth = *count;
            let place = state.track.clone().map(|track| (track, target.clone(), nth));
            state.calls.push(Call { target, body: String::from_utf8_lossy(&request.body).into_owned() });
            place
        };
        let known = place.as_ref().and_then(|place| lock(state).answers.get(place).cloned());
        let answer = if let Some(answer) = known { answer } else { forward(&request, upstream, &mut behind)? };
        answer.write(&mut stream)?;
        // A refusal, as at a minute's first count, is of that time alone.
        if let Some(place) = place.filter(|_| answer.start().1 == "200") {
            lock(state).answers.entry(place).or_insert(answer);
        }
    }
    Ok(())
}

/// Asks the services themselves.
fn forward(request: &Message, upstream: u16, behind: &mut Option<TcpStream>) -> io::Result<Message> {
    let mut stream = match behind.take() {
        Some(stream) => stream,
        None => TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))?,
    };
    request.write(&mut stream)?;
    let answer = http::read(&mut stream, &mut Vec::new())?;
    *behind = Some(stream);
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
