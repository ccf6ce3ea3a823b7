//! Failures on purpose: a share of the API's calls, half before anything happened, half after it did.

use std::sync::{Mutex, PoisonError};

use axum::{body::Body, response::IntoResponse};
use futures_util::{future, stream};
use http::{Response, StatusCode, header::RETRY_AFTER};
use serde::Serialize;

/// What a caller should wait after a 429 or 503, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing has happened.
    Before,
    /// It took effect, and the answer is lost.
    After,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Status(StatusCode),
    /// The connection is closed without an answer.
    Close,
}

const BEFORE: [How; 4] = [
    How::Status(StatusCode::SERVICE_UNAVAILABLE),
    How::Status(StatusCode::INTERNAL_SERVER_ERROR),
    How::Status(StatusCode::TOO_MANY_REQUESTS),
    How::Close,
];
/// Whoever says 503 or 429 hasn't done it.
const AFTER: [How; 2] = [How::Status(StatusCode::INTERNAL_SERVER_ERROR), How::Close];

/// What was injected so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Injected {
    /// The share of calls that fail from now on.
    pub share: f64,
    pub before: u64,
    pub after: u64,
}

/// Decides for each call whether it fails.
pub struct Failures(Mutex<(fastrand::Rng, Injected)>);

impl Failures {
    pub fn new(share: f64, seed: u64) -> Self {
        Self(Mutex::new((fastrand::Rng::with_seed(seed), Injected { share, ..Injected::default() })))
    }

    pub fn set_share(&self, share: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.share = share;
    }

    pub fn injected(&self) -> Injected {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The fate of the next call; `None` lets it be.
    pub fn decide(&self) -> Option<(When, How)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (random, injected) = &mut *state;
        if random.f64() >= injected.share {
            return None;
        }
        if random.bool() {
            injected.before += 1;
            Some((When::Before, BEFORE[random.usize(..BEFORE.len())]))
        } else {
            injected.after += 1;
            Some((When::After, AFTER[random.usize(..AFTER.len())]))
        }
    }
}

impl How {
    pub fn answer(self) -> Response<Body> {
        match self {
            Self::Status(status) => {
                let mut response = (status, format!("{{\"error\":\"{status}, on purpose\"}}")).into_response();
                if status != StatusCode::INTERNAL_SERVER_ERROR {
                    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
                }
                response
            }
            // hyper asks for the body before it sends the head, and closes the connection when there is none.
            Self::Close => {
                let nothing = future::ready(Err::<Vec<u8>, _>(std::io::Error::other("closed on purpose")));
                Body::from_stream(stream::once(nothing)).into_response()
            }
        }
    }
}
