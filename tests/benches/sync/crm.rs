//! A CRM that takes everything at once, in a thread of its own; in the form of both presets.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::http::end_of_request;

/// A request as it came.
#[derive(Clone)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// A CRM, until the process ends.
pub struct Crm {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    records: AtomicUsize,
    ids: AtomicUsize,
    kept: Mutex<Option<Vec<Sent>>>,
}

impl Crm {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let accept = async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        };
        std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(accept)
        });
        Self { url, state }
    }

    /// How many records came so far.
    pub fn records(&self) -> usize {
        self.state.records.load(Ordering::Relaxed)
    }

    /// Keeps what comes from now on.
    pub fn keep(&self) {
        *self.state.kept.lock().unwrap() = Some(Vec::new());
    }

    /// What came since, and keeps no more.
    pub fn take(&self) -> Vec<Sent> {
        self.state.kept.lock().unwrap().take().unwrap_or_default()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1 << 16);
    loop {
        let end = loop {
            match end_of_request(&buffer) {
                Some(end) if end <= buffer.len() => break end,
                _ if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
                _ => {}
            }
        };
        let request = read(&buffer[..end]);
        buffer.drain(..end);
        let answer = state.answer(&request).to_string();
        if let Some(kept) = state.kept.lock().unwrap().as_mut() {
            kept.push(request);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", answer.len());
        stream.write_all(format!("{head}\r\n\r\n{answer}").as_bytes()).await?;
    }
}

fn read(bytes: &[u8]) -> Sent {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Sent {
        method: first.next().unwrap(),
        path: first.next().unwrap(),
        headers: headers.collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

impl State {
    fn answer(&self, request: &Sent) -> Value {
        let is_upsert = request.path.ends_with("/batch/upsert");
        if is_upsert || request.path.ends_with("/batch/update") {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let inputs = body["inputs"].as_array().unwrap();
            self.records.fetch_add(inputs.len(), Ordering::Relaxed);
            let result = |input: &Value| {
                let id = if is_upsert { self.new_id() } else { input["id"].clone() };
                let ours = &input["objectWriteTraceId"];
                json!({"id": id, "properties": {"smrt_crm_id": ours}, "objectWriteTraceId": ours})
            };
            return json!({"status": "COMPLETE", "results": inputs.iter().map(result).collect::<Vec<_>>()});
        }
        self.records.fetch_add(1, Ordering::Relaxed);
        match request.method.as_str() {
            "POST" => json!({"id": self.new_id()}),
            _ => json!({"id": request.path.rsplit('/').next()}),
        }
    }

    fn new_id(&self) -> Value {
        (self.ids.fetch_add(1, Ordering::Relaxed) + 1).to_string().into()
    }
}
