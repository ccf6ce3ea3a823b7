//! The canonical form of a JSON text, for senders that sign what Python makes of a payload instead of its bytes.
//!
//! It is byte for byte what Python 3.11 gives for
//! `json.dumps(json.loads(text), sort_keys=True, separators=(',', ':'))`: keys sorted by code point, ASCII only,
//! the last of several equal keys, integers of any size, Python's spelling of floats, and the literals `NaN`,
//! `Infinity` and `-Infinity`, which Python both reads and writes. What Python refuses is refused here too.
//! The one difference is a bound: containers may be nested at most [`DEPTH_MAX`] deep.

mod parse;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use thiserror::Error;

/// How many arrays and objects may stand inside one another: the bound that the public contract gives for bodies.
pub const DEPTH_MAX: usize = 128;

/// How many digits an integer may have: Python's default `sys.set_int_max_str_digits`, over which it raises.
pub const INTEGER_DIGITS_MAX: usize = 4300;

/// Why a text has no canonical form.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CanonicalError {
    /// The bytes are not UTF-8.
    #[error("the body is not UTF-8; send JSON encoded as UTF-8")]
    NotUtf8,
    /// The text is not JSON as Python reads it; `at` is the byte where reading stopped.
    #[error("the body is not JSON: unexpected input at byte {at}")]
    Syntax {
        /// Offset in bytes from the start of the body.
        at: usize,
    },
    /// Containers are nested deeper than [`DEPTH_MAX`].
    #[error("the body nests more than {DEPTH_MAX} arrays and objects; send a flatter one")]
    TooDeep,
    /// An integer has more than [`INTEGER_DIGITS_MAX`] digits.
    #[error("the body has an integer of more than {INTEGER_DIGITS_MAX} digits; send it as a string")]
    IntegerTooLong,
}

/// Makes the canonical form of a JSON text. Takes time `n log n` at worst and memory proportional to `body`.
///
/// # Errors
///
/// [`CanonicalError`] when Python would refuse the text, or when it is nested too deep.
pub fn canonical_json(body: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    let text = std::str::from_utf8(body).map_err(|_| CanonicalError::NotUtf8)?;
    let value = parse::parse(text)?;
    let mut out = Vec::with_capacity(body.len());
    value.write(&mut out);
    Ok(out)
}

/// A parsed value, borrowing from the text what is there as needed.
enum Value<'a> {
    /// A number or a literal, already in its canonical spelling.
    Plain(Cow<'a, str>),
    /// A string, unescaped.
    String(Wtf8<'a>),
    Array(Vec<Value<'a>>),
    /// Members in the order of their keys.
    Object(BTreeMap<Wtf8<'a>, Value<'a>>),
}

/// An unescaped string as WTF-8: UTF-8 that may also encode lone surrogates, which JSON's escapes can spell.
/// Its byte order is the order of its code points, which is how Python sorts keys.
type Wtf8<'a> = Cow<'a, [u8]>;

impl Value<'_> {
    /// Recursion is bounded by [`DEPTH_MAX`], which the parser enforces.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Value::String(text) => write_string(text, out),
            Value::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Value::Object(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_string(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Writes a string as Python's `ensure_ascii` does: everything outside `' '..='~'` is escaped.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, escaped) = rest.split_at(rest.iter().take_while(|byte| is_plain(**byte)).count());
        out.extend_from_slice(plain);
        let Some((&first, tail)) = escaped.split_first() else { break };
        rest = tail;
        match first {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            0x08 => out.extend_from_slice(br"\b"),
            0x0c => out.extend_from_slice(br"\f"),
            _ => {
                let (code_point, after) = code_point(first, tail);
                rest = after;
                write_escaped(code_point, out);
            }
        }
    }
    out.push(b'"');
}

/// Whether Python writes this byte as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Decodes the code point that begins with the byte `first` of well-formed WTF-8, and gives what follows it.
fn code_point(first: u8, tail: &[u8]) -> (u32, &[u8]) {
    let (bits, continuation) = match first {
        0x00..=0x7f => (first, 0),
        0x80..=0xdf => (first & 0x1f, 1),
        0xe0..=0xef => (first & 0x0f, 2),
        0xf0..=0xff => (first & 0x07, 3),
    };
    let (continued, after) = tail.split_at(continuation.min(tail.len()));
    let decoded = continued.iter().fold(u32::from(bits), |bits, byte| bits << 6 | u32::from(byte & 0x3f));
    (decoded, after)
}

/// Writes `\uXXXX`, twice (a surrogate pair) for what lies beyond the basic plane.
fn write_escaped(code_point: u32, out: &mut Vec<u8>) {
    match char::from_u32(code_point) {
        Some(character) => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_unit((*unit).into(), out)),
        // A lone surrogate is no character, but Python keeps it.
        None => write_unit(code_point, out),
    }
}

fn write_unit(unit: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(br"\u");
    let digits = [12, 8, 4, 0].map(|shift| char::from_digit(unit >> shift & 0xf, 16));
    out.extend(digits.into_iter().flatten().map(|digit| digit as u8));
}
