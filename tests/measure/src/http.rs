//! As much of HTTP/1.1 as Lambda's Runtime API and the AWS clients need, without an async runtime whose own work would be in what
//! is measured.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A request or response.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line and the headers, each with its line break.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// A request's method and path, a response's version and status.
    pub fn start(&self) -> (&str, &str) {
        let line = self.head.lines().next().unwrap_or_default();
        let mut words = line.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// Sends it.
    pub fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&[self.head.as_bytes(), b"\r\n", &self.body].concat())
    }
}

/// A response with a JSON body.
pub fn response(status: &str, headers: &str, body: &[u8]) -> Message {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}");
    Message { head, body: body.to_vec() }
}

/// The next message on a connection; `None` where it was closed. What came after it stays in `pending`.
pub fn read(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<Option<Message>> {
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(message) = take(pending)? {
            return Ok(Some(message));
        }
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            return Ok(None);
        }
        pending.extend(chunk.iter().take(n));
    }
}

fn take(pending: &mut Vec<u8>) -> io::Result<Option<Message>> {
    let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let invalid = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
    let head = pending.get(..end + 2).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let mut message = Message { head: head.ok_or_else(|| invalid("a head isn't text"))?.to_owned(), body: Vec::new() };
    if message.header("transfer-encoding").is_some() {
        return Err(invalid("a body comes in chunks"));
    }
    let length = message.header("content-length").map_or(Ok(0), str::parse::<usize>);
    let length = length.map_err(|_| invalid("a content-length isn't a number"))?;
    if pending.len() < end + 4 + length {
        return Ok(None);
    }
    message.body = pending.drain(..end + 4 + length).skip(end + 4).collect();
    Ok(Some(message))
}
