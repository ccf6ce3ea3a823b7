//! The internet as the hub sees it: whatever it sends arrives here, and a test says what is answered.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use local::Clock;
use serde_json::Value;
use shared::outgoing::{Answer as Wanted, Reply, Request, SendError, Sender};

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Timestamp,
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Arrival {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// `webhook-id`.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }
}

/// What is answered, and after how long in tokio's time.
#[derive(Clone)]
pub struct Behaviour {
    pub after: Duration,
    pub answer: Result<Reply, SendError>,
}

impl Behaviour {
    /// At once.
    pub fn status(status: u16) -> Self {
        let reply =
            Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: b"thanks".to_vec() };
        Self { after: Duration::ZERO, answer: Ok(reply) }
    }

    /// At once, in JSON; with nothing where that is `null`.
    pub fn json(status: u16, body: &Value) -> Self {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        Self::text(status, &text)
    }

    /// At once, whatever it is.
    pub fn text(status: u16, body: &str) -> Self {
        let mut behaviour = Self::status(status);
        if let Ok(reply) = &mut behaviour.answer {
            reply.body = body.as_bytes().to_vec();
        }
        behaviour
    }

    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        if let Ok(reply) = &mut self.answer {
            reply.retry_after = Some(Duration::from_secs(seconds));
        }
        self
    }

    pub fn error(error: SendError) -> Self {
        Self { after: Duration::ZERO, answer: Err(error) }
    }
}

type Answer = Box<dyn Fn(&Arrival) -> Behaviour + Send + Sync>;

/// Everything out there.
pub struct Internet {
    clock: Clock,
    answer: Mutex<Answer>,
    /// Who answers under which URL.
    sites: Mutex<Vec<(String, Answer)>>,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Internet {
    /// Where everybody answers 200.
    pub fn new(clock: &Clock) -> Arc<Self> {
        let answer: Answer = Box::new(|_| Behaviour::status(200));
        Arc::new(Self {
            clock: Arc::clone(clock),
            answer: Mutex::new(answer),
            sites: Mutex::default(),
            arrivals: Mutex::default(),
        })
    }

    /// From now on, this is answered.
    pub fn answer(&self, answer: impl Fn(&Arrival) -> Behaviour + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// From now on, this is answered under a URL, whatever is answered elsewhere.
    pub fn answer_at(&self, url: &str, answer: impl Fn(&Arrival) -> Behaviour + Send + Sync + 'static) {
        self.sites.lock().unwrap().push((url.to_owned(), Box::new(answer)));
    }

    fn behaviour(&self, arrival: &Arrival) -> Behaviour {
        let sites = self.sites.lock().unwrap();
        match sites.iter().find(|(url, _)| arrival.url.starts_with(url)) {
            Some((_, answer)) => answer(arrival),
            None => (self.answer.lock().unwrap())(arrival),
        }
    }

    /// What arrived since the last time this was asked.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap())
    }

    /// What the hub sends with.
    pub fn sender(self: &Arc<Self>) -> Sender {
        let internet = Arc::clone(self);
        Arc::new(move |request| {
            let internet = Arc::clone(&internet);
            Box::pin(async move { internet.arrive(request).await })
        })
    }

    async fn arrive(&self, request: Request) -> Result<Reply, SendError> {
        let Request { method, endpoint, headers, body, timeout, answer } = request;
        let arrival = Arrival {
            at: Timestamp::try_from((self.clock)()).unwrap(),
            method,
            url: endpoint.as_str().to_owned(),
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        let behaviour = self.behaviour(&arrival);
        self.arrivals.lock().unwrap().push(arrival);
        let answered = tokio::time::timeout(timeout, tokio::time::sleep(behaviour.after)).await;
        match (answered, behaviour.answer) {
            (Err(_), _) => Err(SendError::TimedOut(timeout)),
            (Ok(()), Ok(reply)) => match answer {
                Wanted::Whole(max) if reply.body.len() > max => Err(SendError::TooLarge(max)),
                Wanted::Whole(_) | Wanted::Beginning => Ok(reply),
            },
            (Ok(()), error) => error,
        }
    }
}
