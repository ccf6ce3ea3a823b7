//! Paths of calls, with places for ids.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::mapping::PATH_BYTES_MAX;

/// What stands for an id in a path: everything but RFC 3986's unreserved characters is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest id of the other side, in bytes; those of the CRMs we know have at most 36.
const ID_BYTES_MAX: usize = 256;

/// Which ids a call may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// None.
    None,
    /// Ours, if it likes: the other side has none yet.
    Ours,
    /// Ours, and it must: it is looked for.
    OursRequired,
    /// At least one of both.
    One,
}

enum Piece {
    Text(String),
    Ours,
    Theirs,
}

/// A path, and what follows its `?`.
pub(in crate::connector) struct Template {
    pieces: Vec<Piece>,
    text: String,
}

impl Template {
    /// Reads a path, as `/contacts/{external_id}`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn parse(text: &str, ids: Ids) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#')) {
            return Err(format!(
                "must be a path of at most {PATH_BYTES_MAX} visible ASCII characters without `#` and `\\`; percent-encode others"
            ));
        }
        if !text.starts_with('/') || text.starts_with("//") {
            return Err("must begin with one `/`; it follows `base_url`".to_owned());
        }
        let path = text.split('?').next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("must not have `.` or `..` as a segment".to_owned());
        }
        let template = Self { pieces: pieces(text)?, text: text.to_owned() };
        let ours = template.pieces.iter().any(|piece| matches!(piece, Piece::Ours));
        let theirs = template.pieces.iter().any(|piece| matches!(piece, Piece::Theirs));
        match ids {
            Ids::None if ours || theirs => Err("must not have a placeholder".to_owned()),
            Ids::Ours if theirs => Err("must not have `{external_id}`: there is none before the create".to_owned()),
            Ids::OursRequired if !ours || theirs => {
                Err("must have `{id}`, our record's id, and not `{external_id}`".to_owned())
            }
            Ids::One if !ours && !theirs => Err("must have `{external_id}`, the record's id over there".to_owned()),
            _ => Ok(template),
        }
    }

    /// The path for these ids, percent-encoded; `None` where one is missing or can't stand in a path.
    pub(in crate::connector) fn fill(&self, ours: Option<&str>, theirs: Option<&str>) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.pieces {
            let id = match piece {
                Piece::Text(text) => {
                    filled.push_str(text);
                    continue;
                }
                Piece::Ours => ours?,
                Piece::Theirs => theirs?,
            };
            if !is_id(id) {
                return None;
            }
            filled.extend(utf8_percent_encode(id, ENCODED));
        }
        Some(filled)
    }

    /// The path as it is configured, without its query, which may hold a key.
    pub(in crate::connector) fn shown(&self) -> &str {
        self.text.split('?').next().unwrap_or_default()
    }
}

/// A path with one more parameter in its query.
pub(in crate::connector) fn with_parameter(path: &str, name: &str, value: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    format!("{path}{joint}{}={}", encoded(name), encoded(value))
}

/// Whether a text can be an id: it stands in paths, where dots alone would lead elsewhere however they are encoded, and in
/// keys.
pub(in crate::connector) fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && !matches!(text, "." | "..") && !text.chars().any(char::is_control)
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    const UNKNOWN: &str = "has braces that are no placeholder; there are `{external_id}` and `{id}`";
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(UNKNOWN)?;
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(match name {
            "id" => Piece::Ours,
            "external_id" => Piece::Theirs,
            _ => return Err(UNKNOWN.to_owned()),
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    let stray = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('}'));
    if pieces.iter().any(stray) { Err(UNKNOWN.to_owned()) } else { Ok(pieces) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_encoded_and_lead_nowhere_else() {
        let template = Template::parse("/c/{external_id}?by={id}", Ids::One).unwrap();
        let table = [
            ("7", "con_1", Some("/c/7?by=con_1")),
            ("a/b?c#d", "é", Some("/c/a%2Fb%3Fc%23d?by=%C3%A9")),
            ("a b+c&d%2e", "1", Some("/c/a%20b%2Bc%26d%252e?by=1")),
            ("...", "1", Some("/c/...?by=1")),
            ("..", "1", None),
            (".", "1", None),
            ("", "1", None),
            ("a\nb", "1", None),
            ("1", "", None),
        ];
        for (theirs, ours, expected) in table {
            assert_eq!(template.fill(Some(ours), Some(theirs)).as_deref(), expected, "{theirs:?}");
        }
        assert_eq!(template.fill(Some("1"), None), None);
        assert_eq!(template.fill(Some("1"), Some(&"x".repeat(257))), None);
        assert_eq!(template.shown(), "/c/{external_id}");
    }

    #[test]
    fn faulty_paths_are_refused() {
        let table = [
            ("contacts", Ids::None, "must begin with one `/`"),
            ("//evil.example/x", Ids::None, "must begin with one `/`"),
            ("/a b", Ids::None, "visible ASCII"),
            ("/é", Ids::None, "visible ASCII"),
            ("/a#b", Ids::None, "visible ASCII"),
            ("/a\\b", Ids::None, "visible ASCII"),
            ("/../b", Ids::None, "segment"),
            ("/a/%2E./b", Ids::None, "segment"),
            ("/{id}", Ids::None, "must not have a placeholder"),
            ("/{external_id}", Ids::Ours, "must not have `{external_id}`"),
            ("/x", Ids::OursRequired, "must have `{id}`"),
            ("/x", Ids::One, "must have `{external_id}`"),
            ("/{x}", Ids::One, "no placeholder"),
            ("/{id", Ids::One, "no placeholder"),
            ("/id}", Ids::None, "no placeholder"),
            ("/{{id}}", Ids::One, "no placeholder"),
        ];
        for (text, ids, expected) in table {
            let fault = Template::parse(text, ids).err().unwrap_or_default();
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }

    #[test]
    fn parameters_are_added() {
        assert_eq!(with_parameter("/a", "after", "x=&y"), "/a?after=x%3D%26y");
        assert_eq!(with_parameter("/a?b=1", "after", "2"), "/a?b=1&after=2");
    }
}
