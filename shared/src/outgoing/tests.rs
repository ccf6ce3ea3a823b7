//! The real client against real sockets of this machine, in real time.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};

use super::{
    resolve::{Resolver, Unresolved},
    *,
};
use crate::endpoint::{EndpointError, Reach};

mod tls;

const PATIENT: Duration = Duration::from_secs(20);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server of this machine, and how many connections it got.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream));
            }
        });
        Self { address, connections }
    }

    /// Answers every request of a connection with these bytes, or closes it after the first one.
    async fn canned(bytes: impl Into<Vec<u8>>, close: bool) -> Self {
        let bytes = Arc::new(bytes.into());
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                while !asked(&mut stream).await?.is_empty() {
                    stream.write_all(&bytes).await?;
                    if close {
                        break;
                    }
                }
                Ok(())
            }
        })
        .await
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/hook", self.address.port())
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One request, whose body ends it; empty where the connection ended.
async fn asked(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"{}") {
        if stream.read_buf(&mut text).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn request(url: &str, timeout: Duration) -> Request {
    let endpoint = Endpoint::parse(url, Reach::Any).unwrap();
    let (headers, answer) = (HeaderMap::new(), Answer::Beginning);
    Request { method: Method::POST, endpoint, headers, body: "{}".into(), timeout, answer }
}

fn ips(list: &str) -> Vec<IpAddr> {
    list.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
}

/// A lookup that gives one answer after the other; without one left, the name isn't known.
fn lookup(answers: &[&str]) -> Lookup {
    let answers: Mutex<VecDeque<_>> = Mutex::new(answers.iter().map(|list| ips(list)).collect());
    Arc::new(move |_| {
        let answer = answers.lock().unwrap().pop_front().ok_or(io::ErrorKind::Other.into());
        Box::pin(async move { answer })
    })
}

fn sender(reach: Reach, answers: &[&str]) -> Sender {
    client_with(reach, Arc::new(now), lookup(answers))
}

async fn call(server: &Server, timeout: Duration) -> Result<Reply, SendError> {
    sender(Reach::Loopback, &[])(request(&server.url("127.0.0.1"), timeout)).await
}

#[tokio::test]
async fn of_a_names_addresses_only_the_allowed_ones_count() {
    use Unresolved::{NotFound, Refused};
    let table: &[(Reach, &str, Result<&str, Unresolved>)] = &[
        (Reach::Public, "8.8.8.8", Ok("8.8.8.8")),
        (Reach::Public, "8.8.8.8 2606:4700::1", Ok("8.8.8.8 2606:4700::1")),
        (Reach::Public, "", Err(NotFound)),
        (Reach::Public, "0.0.0.0", Err(Refused)),
        (Reach::Public, "10.1.2.3", Err(Refused)),
        (Reach::Public, "100.64.0.1", Err(Refused)),
        (Reach::Public, "127.0.0.1", Err(Refused)),
        (Reach::Public, "169.254.169.254", Err(Refused)),
        (Reach::Public, "172.31.0.1", Err(Refused)),
        (Reach::Public, "192.0.0.8", Err(Refused)),
        (Reach::Public, "192.0.2.1", Err(Refused)),
        (Reach::Public, "192.88.99.1", Err(Refused)),
        (Reach::Public, "192.168.0.1", Err(Refused)),
        (Reach::Public, "198.18.0.1", Err(Refused)),
        (Reach::Public, "198.51.100.1", Err(Refused)),
        (Reach::Public, "203.0.113.1", Err(Refused)),
        (Reach::Public, "224.0.0.1", Err(Refused)),
        (Reach::Public, "240.0.0.1", Err(Refused)),
        (Reach::Public, "255.255.255.255", Err(Refused)),
        (Reach::Public, "::", Err(Refused)),
        (Reach::Public, "::1", Err(Refused)),
        (Reach::Public, "::ffff:10.0.0.1", Err(Refused)),
        (Reach::Public, "::ffff:8.8.8.8", Err(Refused)),
        (Reach::Public, "::8.8.8.8", Err(Refused)),
        (Reach::Public, "64:ff9b::a00:1", Err(Refused)),
        (Reach::Public, "2001::1", Err(Refused)),
        (Reach::Public, "2001:db8::1", Err(Refused)),
        (Reach::Public, "2002:a00:1::", Err(Refused)),
        (Reach::Public, "3fff::1", Err(Refused)),
        (Reach::Public, "5f00::1", Err(Refused)),
        (Reach::Public, "fd00:ec2::254", Err(Refused)),
        (Reach::Public, "fe80::1", Err(Refused)),
        (Reach::Public, "fec0::1", Err(Refused)),
        (Reach::Public, "ff02::1", Err(Refused)),
        (Reach::Public, "127.0.0.1 ::1 10.0.0.1 169.254.169.254", Err(Refused)),
        (Reach::Public, "127.0.0.1 8.8.8.8 ::1", Ok("8.8.8.8")),
        (Reach::Public, "fe80::1 2606:4700::1 ::ffff:127.0.0.1", Ok("2606:4700::1")),
        (Reach::Loopback, "127.0.0.1 10.0.0.1 8.8.8.8 ::1", Ok("127.0.0.1 8.8.8.8 ::1")),
        (Reach::Loopback, "10.0.0.1 fd00::1", Err(Refused)),
        (Reach::Any, "10.0.0.1 0.0.0.0 fd00::1 ff02::1", Ok("10.0.0.1 fd00::1")),
    ];
    for (reach, answer, expected) in table {
        let got = Resolver::addresses(*reach, lookup(&[answer]), "hook.example".into()).await;
        assert_eq!(got, expected.map(ips), "{reach:?} {answer}");
    }
    let unknown = Resolver::addresses(Reach::Public, lookup(&[]), "hook.example".into()).await;
    assert_eq!(unknown, Err(NotFound));
}

/// The name is public when it is looked at first, and this machine afterwards.
#[tokio::test]
async fn a_name_that_changes_is_judged_at_every_lookup() {
    let rebinding = lookup(&["8.8.8.8", "127.0.0.1"]);
    let first = Resolver::addresses(Reach::Public, Arc::clone(&rebinding), "hook.example".into()).await;
    let second = Resolver::addresses(Reach::Public, rebinding, "hook.example".into()).await;
    assert_eq!((first, second), (Ok(ips("8.8.8.8")), Err(Unresolved::Refused)));

    // A connection that is kept would need no lookup.
    let server = Server::canned("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", true).await;
    // Each call looks once: a second look would get the answer of the next one.
    let send = sender(Reach::Loopback, &["127.0.0.1", "10.0.0.1", "10.0.0.1 127.0.0.1", "169.254.169.254"]);
    let mut codes = Vec::new();
    for _ in 0..5 {
        let outcome = send(request(&server.url("hook.example"), PATIENT)).await;
        codes.push(outcome.map_or_else(|e| e.code(), |reply| if reply.body == b"ok" { "ok" } else { "other" }));
    }
    assert_eq!(codes, ["ok", "address_refused", "ok", "address_refused", "name_not_found"]);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_public_reach_connects_to_nothing_of_ours() {
    let server = Server::canned(OK, false).await;
    let port = server.address.port();
    for (url, answer, expected) in [
        (format!("https://hook.example:{port}/"), "127.0.0.1", SendError::AddressRefused),
        (format!("https://hook.example:{port}/"), "::ffff:127.0.0.1", SendError::AddressRefused),
        (format!("https://hook.example:{port}/"), "0.0.0.0 ::1", SendError::AddressRefused),
        // Stored when the deployment allowed more.
        (format!("http://hook.example:{port}/"), "127.0.0.1", EndpointError::Scheme.into()),
        (format!("https://127.0.0.1:{port}/"), "", EndpointError::Address.into()),
        (format!("https://localhost:{port}/"), "127.0.0.1", EndpointError::Name.into()),
    ] {
        let outcome = sender(Reach::Public, &[answer])(request(&url, PATIENT)).await;
        assert_eq!(outcome, Err(expected), "{url} {answer}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn every_kind_of_answer_has_its_outcome() {
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}\r\n\r\n");
    let fine = |status: u16, body: &str| {
        Ok(Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: body.into() })
    };
    let table = [
        ("a small body", String::from_utf8(OK.into()).unwrap(), fine(200, "ok")),
        ("no body", "HTTP/1.1 204 No Content\r\n\r\n".into(), fine(204, "")),
        ("gone", "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n".into(), fine(410, "")),
        ("a status of its own", "HTTP/1.1 999 Hm\r\ncontent-length: 0\r\n\r\n".into(), fine(999, "")),
        ("until the end", head("connection: close") + "until the end", fine(200, "until the end")),
        ("no reason", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n".into(), fine(200, "")),
        ("a body that breaks off", head("content-length: 10") + "abc", fine(200, "abc")),
        ("a chunk that isn't one", head("transfer-encoding: chunked") + "3\r\nabc\r\nzz", fine(200, "abc")),
        ("hints first", "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned() + &head("content-length: 0"), fine(200, "")),
        ("1,024 bytes", head("content-length: 1024") + &"x".repeat(1_024), fine(200, &"x".repeat(1_024))),
        ("1,025 bytes", head("content-length: 1025") + &"x".repeat(1_025), fine(200, &"x".repeat(1_024))),
        ("nothing", String::new(), Err(SendError::ConnectionClosed)),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le".into(), Err(SendError::ConnectionClosed)),
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n".into(), Err(SendError::NotHttp)),
        ("an older HTTP", "<html>hello</html>\r\n\r\n".into(), Err(SendError::NotHttp)),
        ("a header that isn't one", head("no colon"), Err(SendError::NotHttp)),
        ("two lengths", head("content-length: 1\r\ncontent-length: 2"), Err(SendError::NotHttp)),
        ("101 headers", head(&vec!["x: y"; 101].join("\r\n")), Err(SendError::NotHttp)),
        ("2 MB of headers", head(&format!("x: {}", "y".repeat(2_000_000))), Err(SendError::NotHttp)),
    ];
    for (what, answer, expected) in table {
        let server = Server::canned(answer, true).await;
        let got = call(&server, PATIENT).await;
        assert_eq!(got.as_ref().map(|reply| &reply.body), expected.as_ref().map(|reply| &reply.body), "{what}");
        assert_eq!(got, expected, "{what}");
        assert_eq!(server.connections(), 1, "{what}: one try");
    }
}

#[tokio::test]
async fn a_whole_answer_is_all_of_it_or_an_error() {
    let whole = async |server: &Server, timeout: Duration| {
        let request = Request { answer: Answer::Whole(1_500_000), ..request(&server.url("127.0.0.1"), timeout) };
        sender(Reach::Loopback, &[])(request).await.map(|reply| (reply.status.as_u16(), reply.body.len()))
    };
    let head = |length: usize| format!("HTTP/1.1 404 X\r\ncontent-length: {length}\r\n\r\n");
    let table = [
        (head(0), Ok((404, 0))),
        (head(1_500_000) + &"x".repeat(1_500_000), Ok((404, 1_500_000))),
        (head(1_500_001) + &"x".repeat(1_500_001), Err(SendError::TooLarge(1_500_000))),
        (head(10_000_000) + &"x".repeat(10_000_000), Err(SendError::TooLarge(1_500_000))),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end".to_owned(), Ok((200, 13))),
        (head(10) + "cut", Err(SendError::ConnectionClosed)),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz".to_owned(),
            Err(SendError::ConnectionClosed),
        ),
        (String::new(), Err(SendError::ConnectionClosed)),
    ];
    for (answer, expected) in table {
        let start: String = answer.chars().take(60).collect();
        assert_eq!(whole(&Server::canned(answer, true).await, PATIENT).await, expected, "{start}");
    }
    // The body's end counts, and not the status.
    let late = Server::start(|mut stream| async move {
        asked(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome").await?;
        std::future::pending().await
    });
    let short = Duration::from_millis(200);
    assert_eq!(whole(&late.await, short).await, Err(SendError::TimedOut(short)));
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let target = Server::canned(OK, true).await;
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url("127.0.0.1"));
        let reply = call(&Server::canned(answer, true).await, PATIENT).await.unwrap();
        assert_eq!(reply.status, status);
        assert!(!is_success(reply.status));
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_body_without_end_is_left() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            asked(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            let (mut sent, piece) = (0_usize, vec![b'x'; 65_536]);
            while let Ok(n) = stream.write(&piece).await {
                sent += n;
            }
            tell.send(sent).unwrap();
            Ok(())
        }
    })
    .await;
    let reply = call(&server, PATIENT).await.unwrap();
    assert_eq!((reply.status, reply.body), (StatusCode::OK, vec![b'x'; BODY_BYTES_KEPT]));
    let sent = told.recv().await.unwrap();
    assert!(sent < 50_000_000, "the connection is closed, and what is under way fits into sockets: {sent}");
}

#[tokio::test]
async fn a_bomb_is_kept_as_it_came() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 20_000_000]).unwrap();
    let bomb = bomb.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let server = Server::canned([head.as_bytes(), &bomb].concat(), true).await;
    assert_eq!(call(&server, PATIENT).await.unwrap().body, bomb[..BODY_BYTES_KEPT]);
}

#[tokio::test]
async fn every_wait_has_an_end() {
    let silent = |start: &'static [u8]| {
        Server::start(move |mut stream| async move {
            asked(&mut stream).await?;
            stream.write_all(start).await?;
            std::future::pending().await
        })
    };
    let short = Duration::from_millis(200);
    assert_eq!(call(&silent(b"").await, short).await, Err(SendError::TimedOut(short)));
    assert_eq!(call(&silent(b"HTTP/1.1 200 OK\r\nx: y").await, short).await, Err(SendError::TimedOut(short)));
    // The status counts: the body's rest is waited for until the request's end, and for 2 s at most.
    let answering = silent(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome").await;
    for (timeout, at_most) in [(short, 1_900), (PATIENT, 10_000)] {
        let start = Instant::now();
        let reply = call(&answering, timeout).await.unwrap();
        assert_eq!(reply.body, b"some");
        let took = start.elapsed();
        assert!(took < Duration::from_millis(at_most) && took >= timeout.min(Duration::from_secs(2)), "{took:?}");
    }
    // Names, too.
    let never: Lookup = Arc::new(|_| Box::pin(std::future::pending()));
    let send = client_with(Reach::Public, Arc::new(now), never);
    assert_eq!(send(request("https://hook.example/", short)).await, Err(SendError::TimedOut(short)));
}

#[tokio::test]
async fn connections_are_used_again_where_the_body_was_read() {
    let small = Server::canned(OK, false).await;
    let large = "HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n".to_owned() + &"x".repeat(5_000_000);
    let large = Server::canned(large, false).await;
    let send = sender(Reach::Loopback, &[]);
    for server in [&small, &large] {
        for _ in 0..3 {
            assert_eq!(send(request(&server.url("127.0.0.1"), PATIENT)).await.unwrap().status, StatusCode::OK);
        }
    }
    assert_eq!((small.connections(), large.connections()), (1, 3));
}

#[tokio::test]
async fn what_is_sent_is_what_was_asked_for() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            tell.send(asked(&mut stream).await?).unwrap();
            stream.write_all(OK).await
        }
    })
    .await;
    let mut request = request(&format!("{}?a=b", server.url("hook.example")), PATIENT);
    request.headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
    sender(Reach::Loopback, &["127.0.0.1"])(request).await.unwrap();
    let mut lines: Vec<_> = told.recv().await.unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "POST /hook?a=b HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: hook.example:{}", server.address.port());
    assert_eq!(lines, ["", "accept: */*", "content-length: 2", &host, "webhook-id: msg_1", "{}"]);
}

#[tokio::test]
async fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outcome = sender(Reach::Loopback, &[])(request(&url, PATIENT)).await;
    assert_eq!(outcome, Err(SendError::ConnectionFailed));
}

#[test]
fn retry_after_is_read_in_every_form_and_is_a_day_at_most() {
    for (text, expected) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("86400", Some(86_400)),
        ("86401", Some(86_400)),
        ("99999999999999999999999999", Some(86_400)),
        ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
        ("Friday, 02-Jan-26 03:05:05 GMT", Some(60)),
        ("Fri Jan  2 03:05:05 2026", Some(60)),
        ("Fri, 02 Jan 2026 03:04:05 GMT", Some(0)),
        ("Thu, 01 Jan 2026 00:00:00 GMT", Some(0)),
        ("Sat, 03 Jan 2026 03:04:06 GMT", Some(86_400)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("١٢", None),
        ("Fri, 32 Jan 2026 03:05:05 GMT", None),
    ] {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_bytes(text.as_bytes()).unwrap())]);
        assert_eq!(retry_after(&headers, now()), expected.map(Duration::from_secs), "{text:?}");
    }
    assert_eq!(retry_after(&HeaderMap::new(), now()), None);
}

#[tokio::test]
async fn an_answer_says_how_long_to_wait() {
    let answer =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: Fri, 02 Jan 2026 03:05:05 GMT\r\ncontent-length: 0\r\n\r\n";
    let reply = call(&Server::canned(answer, true).await, PATIENT).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.retry_after), (429, Some(Duration::from_mins(1))));
}

#[test]
fn statuses_are_taken_retried_or_refused() {
    for code in 100..1_000 {
        let status = StatusCode::from_u16(code).unwrap();
        assert_eq!(is_success(status), (200..300).contains(&code), "{code}");
        assert_eq!(is_retryable(status), [408, 425, 429].contains(&code) || (500..600).contains(&code), "{code}");
    }
}

#[test]
fn logs_and_errors_hold_no_content() {
    let mut request = request("https://hook.example/secret?secret", PATIENT);
    request.headers.insert("authorization", HeaderValue::from_static("secret"));
    request.body = "secret".into();
    let reply = Reply { status: StatusCode::OK, retry_after: None, body: b"secret".into() };
    let shown = format!("{request:?} {reply:?}");
    assert_eq!(
        shown,
        "Request(POST Endpoint(https://hook.example:443/…), 6 bytes, within 20s) Reply(200 OK, 6 bytes kept, wait None)"
    );
}
