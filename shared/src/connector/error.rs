//! Why a call to a CRM came to nothing, and what that means for the record, for the run and for the tenant.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::said::Said;
use crate::{
    limits::outbound::QuotaError,
    outgoing::{SendError, is_retryable},
    store::StoreError,
};

/// A call that didn't do what it should. `to_string` is our own sentence, fit for logs; [`CallError::for_tenant`] adds
/// what the other side said.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// There was no answer.
    #[error("{}", no_answer(.0))]
    NoAnswer(SendError),
    /// Any status but 2xx, and but those below.
    #[error("{}", refusal(*.status))]
    Status {
        /// The status.
        status: StatusCode,
        /// Its words.
        said: Said,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// 404 or 410 to an update or a delete.
    #[error("the system no longer has this record; it was deleted there, or its external id is wrong")]
    Gone {
        /// Its words.
        said: Said,
    },
    /// 401, with a new token too where tokens are used.
    #[error("the system doesn't take our credentials (401); check `outbound.auth` and set the secret again")]
    Unauthorized {
        /// Its words.
        said: Said,
    },
    /// The token endpoint gave no token.
    #[error("no token could be got from `token_url`: {0}")]
    NoToken(TokenError),
    /// Our own limit on calls to the system is used up.
    #[error("the integration's limit on calls is used up until {until}; raise `limits` if the system allows more")]
    Limited {
        /// When the minute or the day ends.
        until: Timestamp,
    },
    /// The call couldn't be counted against the limit, so it wasn't made. A run can only stop.
    #[error("the call couldn't be counted: {0}")]
    Uncounted(StoreError),
    /// It answered, and the answer says nothing that we can use.
    #[error("{}", unusable(.0))]
    Unusable(Unusable),
    /// An update or a delete was answered with the id of another record, as where two were merged.
    #[error("the system answered with another record than the one that was meant; the two may have been merged there")]
    AnotherId {
        /// The id that it answered.
        external_id: String,
    },
    /// An answer of more bytes than are read.
    #[error("the system's answer has more than {0} bytes; narrow the path in `outbound.entities`")]
    TooLarge(usize),
    /// The configuration has no such call: the entity is switched off, or the part is `null`.
    #[error("`outbound` isn't configured for this; add the part to its entity")]
    NotConfigured,
    /// The secret part of `auth` isn't stored.
    #[error("the secret of `outbound.auth` is missing or of another type; set it again")]
    NoCredentials,
    /// An id that can't stand in a path.
    #[error("the record's id can't be used in a path; ids have 1 to 256 visible characters and aren't dots")]
    BadId,
}

/// Why an answer of 2xx can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A web page, such as a login or maintenance page.
    Html,
    /// Neither JSON nor a page.
    NotJson,
    /// Nothing where there should be something.
    Empty,
    /// A redirect, or a status that HTTP doesn't have.
    Status(StatusCode),
    /// An error in an answer whose status says success.
    ErrorInside(Said),
    /// No id where the configuration says that it stands, or none that can be used.
    NoId,
    /// A value of another type than the configuration leads to expect, and where.
    WrongType(&'static str),
    /// The list's next page is the one that was asked for.
    SamePage,
    /// A batch's answer doesn't tell what became of this record.
    NotTold,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There was no answer.
    #[error("{}", no_answer(.0))]
    NoAnswer(SendError),
    /// Any status but 2xx.
    #[error("it answered {}; check `client_id`, `client_secret`, `scope` and `client_auth`", .status.as_u16())]
    Status {
        /// The status.
        status: StatusCode,
        /// Its words.
        said: Said,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// 2xx without a token in the form of RFC 6749 §5.1.
    #[error("its answer isn't JSON with an `access_token` of the type Bearer; check `token_url`")]
    Unusable,
}

fn no_answer(error: &SendError) -> String {
    match error {
        SendError::TimedOut(limit) => {
            format!("there was no answer within {} s; raise `timeout_seconds` or check the system", limit.as_secs())
        }
        SendError::ConnectionClosed => "the connection was closed before the answer was complete".to_owned(),
        other => other.to_string(),
    }
}

fn refusal(status: StatusCode) -> String {
    let advice = match status.as_u16() {
        400 | 409 | 422 => "it doesn't take this record; correct the record or the mapping",
        403 => "our credentials may not do this; give them the permission over there",
        404 | 405 | 410 => "there is no such call; check `base_url` and the paths of `outbound.entities`",
        408 | 423 | 425 | 429 | 477 => "it asks us to come later; lower `limits` if this happens often",
        500.. => "it fails for the moment",
        _ => "it refuses the call; check the configuration of `outbound`",
    };
    format!("the system answered {}: {advice}", status.as_u16())
}

fn unusable(what: &Unusable) -> String {
    match what {
        Unusable::Html => {
            "the system answered with a web page instead of JSON; check `base_url`, or whether it is down for maintenance"
                .to_owned()
        }
        Unusable::NotJson => "the system's answer isn't JSON; check `base_url`".to_owned(),
        Unusable::Empty => "the system's answer is empty, so the record's id isn't known".to_owned(),
        Unusable::Status(status) => {
            format!("the system answered {}, a redirect or no status of HTTP; correct `base_url`", status.as_u16())
        }
        Unusable::ErrorInside(_) => "the system's answer has a status of success and an error inside".to_owned(),
        Unusable::NoId => "the system's answer has no usable id where `id` of the entity says; correct `id`".to_owned(),
        Unusable::WrongType(place) => {
            format!("the system's answer has something else where `{place}` of the entity leads; correct `{place}`")
        }
        Unusable::SamePage => "the system's list leads to the same page again; correct `next` and `cursor_param`".to_owned(),
        Unusable::NotTold => "the system's answer to a batch doesn't say what became of this record".to_owned(),
    }
}

/// Contract §4, and two statuses of HubSpot's that pass: 423, a record is locked for seconds, and 477, an account is being
/// moved for up to a day (<https://developers.hubspot.com/docs/api-reference/error-handling>).
fn passes(status: StatusCode) -> bool {
    is_retryable(status) || matches!(status.as_u16(), 423 | 477)
}

impl From<QuotaError> for CallError {
    fn from(error: QuotaError) -> Self {
        match error {
            QuotaError::Limited { until } => Self::Limited { until },
            QuotaError::Uncounted(error) => Self::Uncounted(error),
        }
    }
}

impl CallError {
    /// Stable and machine-readable, for records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer(error) => error.code(),
            Self::Status { status, .. } => match status.as_u16() {
                400 | 422 => "invalid_record",
                403 => "forbidden",
                409 => "conflict",
                408 | 423 | 425 | 429 | 477 => "try_later",
                500.. => "server_error",
                _ => "refused",
            },
            Self::Gone { .. } => "record_gone",
            Self::Unauthorized { .. } => "unauthorized",
            Self::NoToken(_) => "no_token",
            Self::Limited { .. } => "limit_reached",
            Self::Uncounted(_) => "uncounted",
            Self::Unusable(Unusable::ErrorInside(_)) => "error_inside",
            Self::Unusable(_) => "unusable_answer",
            Self::AnotherId { .. } => "another_record",
            Self::TooLarge(_) => "answer_too_large",
            Self::NotConfigured => "not_configured",
            Self::NoCredentials => "no_credentials",
            Self::BadId => "unusable_id",
        }
    }

    /// Whether another try can help (contract §4: "Retried: time-outs, connection errors, HTTP 408, 425, 429 and 5xx …
    /// Not retried: authentication, permission, validation, other 4xx"). An answer that can't be used counts as a fault
    /// that passes.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoAnswer(error) | Self::NoToken(TokenError::NoAnswer(error)) => *error != SendError::NotBuildable,
            Self::Status { status, .. } | Self::NoToken(TokenError::Status { status, .. }) => passes(*status),
            Self::Uncounted(error) => error.is_retryable(),
            Self::NoToken(TokenError::Unusable) | Self::Limited { .. } | Self::Unusable(_) | Self::TooLarge(_) => true,
            Self::Gone { .. }
            | Self::Unauthorized { .. }
            | Self::AnotherId { .. }
            | Self::NotConfigured
            | Self::NoCredentials
            | Self::BadId => false,
        }
    }

    /// Whether it says that the system, or the way to it, is unwell, and not this record: the next record would fare the
    /// same.
    #[must_use]
    pub fn is_systemic(&self) -> bool {
        match self {
            Self::NoAnswer(error) => *error != SendError::NotBuildable,
            Self::Status { status, .. } => passes(*status),
            // What a system says inside of a success may well be about the one record.
            Self::Unusable(what) => !matches!(what, Unusable::ErrorInside(_) | Unusable::NotTold),
            Self::Unauthorized { .. }
            | Self::NoToken(_)
            | Self::NoCredentials
            | Self::NotConfigured
            | Self::Limited { .. }
            | Self::Uncounted(_)
            | Self::TooLarge(_) => true,
            Self::Gone { .. } | Self::AnotherId { .. } | Self::BadId => false,
        }
    }

    /// How long the system asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::NoToken(TokenError::Status { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// Whether a write may have happened all the same, so that a create mustn't be made again without a look.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        match self {
            Self::NoAnswer(error) => {
                matches!(error, SendError::TimedOut(_) | SendError::ConnectionClosed | SendError::NotHttp)
            }
            Self::Status { status, .. } => status.is_server_error(),
            Self::Unusable(Unusable::Status(_)) => false,
            Self::Unusable(_) | Self::AnotherId { .. } | Self::TooLarge(_) => true,
            _ => false,
        }
    }

    /// Whether the record that was to be updated or deleted isn't there any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    /// What the other side said, cleaned and at most 200 characters; empty where it said nothing. It may name a person:
    /// for the tenant, not for logs.
    #[must_use]
    pub fn said(&self) -> &str {
        match self {
            Self::Status { said, .. }
            | Self::Gone { said }
            | Self::Unauthorized { said }
            | Self::Unusable(Unusable::ErrorInside(said))
            | Self::NoToken(TokenError::Status { said, .. }) => said.as_str(),
            _ => "",
        }
    }

    /// A sentence for the tenant, with what the other side said. It holds no secret and no query.
    #[must_use]
    pub fn for_tenant(&self) -> String {
        match self.said() {
            "" => self.to_string(),
            said => format!("{self}. It said: {said}"),
        }
    }
}
