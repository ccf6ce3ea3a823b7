//! Reading the headers that a signature consists of, strictly and in bounded time.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SignatureError;

/// Longest accepted value of a header that takes part in a signature, in bytes. The longest legitimate one is a list
/// of a few signatures, some hundred bytes each.
pub const HEADER_BYTES_MAX: usize = 4096;

/// The unit of a Unix timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimestampUnit {
    /// Seconds since 1970-01-01 UTC.
    Seconds,
    /// Milliseconds since 1970-01-01 UTC.
    Milliseconds,
}

impl TimestampUnit {
    /// Reads a Unix timestamp: digits only, so neither sign nor fraction. `None` if it isn't one, or if it lies beyond
    /// the year 9999, as milliseconds do where seconds are expected.
    pub(super) fn parse(self, text: &str) -> Option<Timestamp> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = text.parse().ok()?;
        match self {
            Self::Seconds => Timestamp::from_second(number).ok(),
            Self::Milliseconds => Timestamp::from_millisecond(number).ok(),
        }
    }

    /// Writes a timestamp as [`parse`](Self::parse) reads it.
    pub(super) fn format(self, timestamp: Timestamp) -> String {
        match self {
            Self::Seconds => timestamp.as_second().to_string(),
            Self::Milliseconds => timestamp.as_millisecond().to_string(),
        }
    }
}

/// The one value of a header. Two values are refused: a proxy and we could differ on which of them counts.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| SignatureError::Missing { header: name.clone() })?;
    match value.to_str() {
        Ok(text) if values.next().is_none() && (1..=HEADER_BYTES_MAX).contains(&text.len()) => Ok(text),
        _ => Err(SignatureError::Malformed { header: name.clone() }),
    }
}

/// The values of one name in a header of the form `name=value,name=value`; what isn't a pair is passed over.
pub(super) fn pairs<'h, 'n>(header: &'h str, name: &'n str) -> impl Iterator<Item = &'h str> + use<'h, 'n> {
    header
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}
