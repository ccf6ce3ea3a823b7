//! Parsing JSON from outside within bounds.

use serde::de::DeserializeOwned;

/// Contract §2: deeper nesting is refused.
pub const DEPTH_MAX: usize = 128;

/// Why text isn't JSON that we take. Tells where, never what stands there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Nested too deep.
    #[error("nested over {DEPTH_MAX} deep")]
    TooDeep,
    /// Not JSON, a number that no double holds, or a lone surrogate.
    #[error("not JSON: {0}")]
    NotJson(String),
}

/// Parses `text`, at most [`DEPTH_MAX`] deep.
///
/// # Errors
/// [`JsonError`].
pub fn parse(text: &str) -> Result<serde_json::Value, JsonError> {
    if depth(text) > DEPTH_MAX {
        return Err(JsonError::TooDeep);
    }
    parse_ours(text).map_err(|e| JsonError::NotJson(e.to_string()))
}

/// Parses what we wrote ourselves, that may hold something from outside: a little deeper than [`DEPTH_MAX`].
///
/// # Errors
/// What `serde_json` finds.
pub fn parse_ours<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    // The parser's own limit is 127; the depth was bounded when it came in, so its recursion is too.
    reader.disable_recursion_limit();
    let value = T::deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// How deep brackets nest, outside of strings. Exact for JSON; of anything else the parser says what is wrong.
fn depth(text: &str) -> usize {
    let (mut deepest, mut open, mut in_string, mut escaped) = (0, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
