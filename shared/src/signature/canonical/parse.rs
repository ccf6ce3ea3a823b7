//! Reading JSON exactly as strictly, and as loosely, as Python's `json.loads` does with a `str`.

use std::{borrow::Cow, collections::BTreeMap};

use super::{CanonicalError, DEPTH_MAX, INTEGER_DIGITS_MAX, Value, Wtf8};

/// Parses one whole text.
pub(super) fn parse(text: &str) -> Result<Value<'_>, CanonicalError> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_whitespace();
    let value = parser.value(0)?;
    parser.skip_whitespace();
    if parser.at == text.len() { Ok(value) } else { Err(parser.unexpected()) }
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes read so far; always on a character boundary.
    at: usize,
}

impl<'a> Parser<'a> {
    /// Reads a value that stands inside `depth` containers.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, CanonicalError> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{' | b'[') if depth == DEPTH_MAX => Err(CanonicalError::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'0'..=b'9') => self.number(),
            Some(b'-') if !self.rest().starts_with(b"-I") => self.number(),
            _ => self.literal(),
        }
    }

    fn literal(&mut self) -> Result<Value<'a>, CanonicalError> {
        let literals = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];
        let literal = literals.into_iter().find(|literal| self.rest().starts_with(literal.as_bytes()));
        let literal = literal.ok_or_else(|| self.unexpected())?;
        self.at += literal.len();
        Ok(Value::Plain(Cow::Borrowed(literal)))
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, CanonicalError> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        self.skip_whitespace();
        if self.eat(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_whitespace();
            items.push(self.value(depth)?);
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(Value::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, CanonicalError> {
        let mut members = BTreeMap::new();
        self.expect(b'{')?;
        self.skip_whitespace();
        if self.eat(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_whitespace();
            let key = self.string()?;
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            // Of several equal keys the last one wins.
            members.insert(key, self.value(depth)?);
            self.skip_whitespace();
            if self.eat(b'}') {
                return Ok(Value::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Result<Value<'a>, CanonicalError> {
        let start = self.at;
        self.eat(b'-');
        let digits = if self.eat(b'0') { 1 } else { self.digits()? };
        let mut is_float = false;
        if self.eat(b'.') {
            is_float = true;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            is_float = true;
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if is_float {
            // Rust's and Python's readers both round correctly, and both give an infinity for what is too large.
            let number = text.parse().map_err(|_| CanonicalError::Syntax { at: start })?;
            return Ok(Value::Plain(python_float(number)));
        }
        match text {
            _ if digits > INTEGER_DIGITS_MAX => Err(CanonicalError::IntegerTooLong),
            "-0" => Ok(Value::Plain(Cow::Borrowed("0"))),
            _ => Ok(Value::Plain(Cow::Borrowed(text))),
        }
    }

    /// Reads one or more digits and counts them.
    fn digits(&mut self) -> Result<usize, CanonicalError> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(count) } else { Err(self.unexpected()) }
    }

    fn string(&mut self) -> Result<Wtf8<'a>, CanonicalError> {
        self.expect(b'"')?;
        let mut string = Cow::Borrowed(self.unescaped());
        loop {
            if self.eat(b'"') {
                return Ok(string);
            }
            self.expect(b'\\')?;
            let unescaped = string.to_mut();
            self.escape(unescaped)?;
            unescaped.extend_from_slice(self.unescaped());
        }
    }

    /// Takes what needs no decoding, up to a quote, a backslash or a control character.
    fn unescaped(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0x00..=0x1f)).count();
        self.at += plain;
        rest.get(..plain).unwrap_or_default()
    }

    /// Decodes one escape, the backslash of which is read already.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        let decoded = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let code_point = self.unicode_escape()?;
                push_code_point(code_point, out);
                return Ok(());
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        out.push(decoded);
        Ok(())
    }

    /// Reads `uXXXX`, and with it a second escape where the two are a surrogate pair.
    fn unicode_escape(&mut self) -> Result<u32, CanonicalError> {
        let first = self.unit()?;
        if !(0xd800..=0xdbff).contains(&first) || !self.rest().starts_with(br"\u") {
            return Ok(first);
        }
        let after_first = self.at;
        self.at += 1;
        let second = self.unit()?;
        if (0xdc00..=0xdfff).contains(&second) {
            return Ok(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        }
        // The second escape stands for itself: it is read again.
        self.at = after_first;
        Ok(first)
    }

    /// Reads `uXXXX` as one UTF-16 code unit.
    fn unit(&mut self) -> Result<u32, CanonicalError> {
        self.expect(b'u')?;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(|| self.unexpected())?;
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), CanonicalError> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn skip_whitespace(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn unexpected(&self) -> CanonicalError {
        CanonicalError::Syntax { at: self.at }
    }
}

/// Appends a code point, which may be a lone surrogate, as WTF-8.
fn push_code_point(code_point: u32, out: &mut Vec<u8>) {
    if let Some(character) = char::from_u32(code_point) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        let [_, _, high, low] = code_point.to_be_bytes();
        out.extend([0xe0 | high >> 4, 0x80 | (high & 0xf) << 2 | low >> 6, 0x80 | low & 0x3f]);
    }
}

/// Spells a float as Python's `repr`, and as `json.dumps`, do.
///
/// Rust's `{:?}` changes to an exponent at the same sizes (below 1e-4, from 1e16) and finds as few digits. But of two
/// equally near spellings Python takes the even one, as Rust does only when told how many digits to write. Not every
/// such spelling reads back as the same number, so `{:?}` still has the last word.
fn python_float(number: f64) -> Cow<'static, str> {
    if number.is_infinite() {
        return Cow::Borrowed(if number > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let shortest = format!("{number:?}");
    let mantissa = shortest.split('e').next().unwrap_or_default();
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let has_exponent = mantissa.len() < shortest.len();
    let nearest = if has_exponent { format!("{number:.decimals$e}") } else { format!("{number:.decimals$}") };
    let text = if nearest.parse() == Ok(number) { nearest } else { shortest };
    // The exponent itself is spelled differently: `1e16` for `1e+16`, `1e-5` for `1e-05`.
    Cow::Owned(match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
    })
}
