//! A tenant's endpoint, in a thread of its own: the least that speaks HTTP/1.1 and keeps connections.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::Sender,
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{http::end_of_request, measure::wall_clock};

/// What it does with a webhook.
#[derive(Clone)]
pub enum Manner {
    /// Takes it at once.
    Take,
    /// Takes it, and tells when it was there.
    Tell(Sender<Instant>),
    /// Never answers.
    Hang,
}

/// An endpoint, until the process ends.
pub struct Endpoint {
    pub url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    unanswered: AtomicUsize,
}

impl Endpoint {
    pub fn start(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let counter = Arc::clone(&counts);
        let accept = async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, manner.clone(), Arc::clone(&counter)));
            }
        };
        std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(accept)
        });
        Self { url, counts }
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// How many of them have no answer, and somebody waits for it.
    pub fn unanswered(&self) -> usize {
        self.counts.unanswered.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, counts: Arc<Counts>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let end = loop {
            match end_of_request(&buffer) {
                Some(end) if end <= buffer.len() => break end,
                _ if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
                _ => {}
            }
        };
        counts.requests.fetch_add(1, Ordering::Relaxed);
        match &manner {
            Manner::Take => {}
            Manner::Tell(arrived) => arrived.send(wall_clock()).unwrap_or_default(),
            Manner::Hang => {
                counts.unanswered.fetch_add(1, Ordering::Relaxed);
                stream.read_buf(&mut buffer).await?;
                counts.unanswered.fetch_sub(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        buffer.drain(..end);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}
