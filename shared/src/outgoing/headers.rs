//! Headers that a tenant may add to our requests.

use http::HeaderName;

/// Headers that say what a request is and how it travels.
const RESERVED_NAMES: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "sec-"];

/// Says that a header is reserved.
pub const RESERVED: &str = "is reserved; choose another name";

/// The name of a header that a tenant may set.
///
/// # Errors
/// What is wrong with it, to be read after the field.
pub fn header_name(text: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::try_from(text).map_err(|_| "is no header's name; use letters, digits and hyphens")?;
    let reserved = RESERVED_NAMES.contains(&name.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    if reserved { Err(RESERVED) } else { Ok(name) }
}

/// Whether a text can be a header's value: visible ASCII and spaces, no line ends.
#[must_use]
pub fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
