//! Paths into a payload: plain dotted ones, which are walked, and `JMESPath` expressions, which are evaluated.

use std::borrow::Cow;
use std::cell::OnceCell;

use jmespath::{Rcvar, ToJmespath};
use serde_json::Value;

use super::expression;
use super::rule::Paths;

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Largest index, from either end; far more than a body of 256 KiB can hold.
pub(super) const INDEX_MAX: i32 = 1_000_000;
/// Longest list that is made to set one of its elements.
const WRITTEN_LIST_MAX: i32 = 100;

/// A payload that paths look into. What `JMESPath` needs of it is made once, when the first expression asks.
pub(super) struct Source<'a> {
    payload: &'a Value,
    converted: OnceCell<Option<Rcvar>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(payload: &'a Value) -> Self {
        Self { payload, converted: OnceCell::new() }
    }

    fn converted(&self) -> Option<&Rcvar> {
        self.converted.get_or_init(|| self.payload.to_jmespath().ok()).as_ref()
    }
}

/// A step of a plain path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into an object.
    Key(Box<str>),
    /// Into a list; from its end if negative.
    Index(i32),
}

/// A compiled path.
pub(super) enum Path {
    /// `contact.phones[0].number`
    Plain(Vec<Step>),
    /// Any other `JMESPath` expression.
    Expression(jmespath::Expression<'static>),
}

impl Path {
    /// Compiles one path.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("a path is at most {PATH_BYTES_MAX} bytes"));
        }
        match plain_steps(text) {
            Some(steps) => Ok(Self::Plain(steps)),
            None => expression::compile(text).map(Self::Expression),
        }
    }

    /// The steps of a plain path.
    fn steps(&self) -> Option<&[Step]> {
        match self {
            Self::Plain(steps) => Some(steps),
            Self::Expression(_) => None,
        }
    }

    /// What stands there; `None` for nothing and for `null`. An expression that fails on this payload, because it
    /// sorts what is no list, say, finds nothing.
    pub(super) fn find<'a>(&self, source: &Source<'a>) -> Option<Cow<'a, Value>> {
        let found = match self {
            Self::Plain(steps) => Cow::Borrowed(walk(source.payload, steps)?),
            Self::Expression(expression) => {
                let found = expression.search(source.converted()?).ok()?;
                Cow::Owned(serde_json::to_value(&*found).ok()?)
            }
        };
        (!found.is_null()).then_some(found)
    }
}

/// Alternative paths, with their texts for messages.
pub(super) struct PathList {
    alternatives: Vec<Path>,
    text: String,
}

impl PathList {
    /// Compiles all alternatives.
    ///
    /// # Errors
    /// The first fault, as a sentence.
    pub(super) fn compile(paths: &Paths) -> Result<Self, String> {
        let paths = paths.as_slice();
        let alternatives = paths.iter().map(|path| Path::compile(path)).collect::<Result<_, _>>()?;
        Ok(Self { alternatives, text: paths.join(" or ") })
    }

    /// The first alternative that finds something.
    pub(super) fn find<'a>(&self, source: &Source<'a>) -> Option<Cow<'a, Value>> {
        self.alternatives.iter().find_map(|path| path.find(source))
    }

    /// Whether the payload says that there is no value: the first alternative that finds something finds a blank text, or
    /// none finds anything, and where a plain one looks stands `null`.
    pub(super) fn find_empty(&self, source: &Source<'_>) -> bool {
        let is_null =
            |path: &Path| path.steps().and_then(|steps| walk(source.payload, steps)).is_some_and(Value::is_null);
        match self.find(source) {
            Some(found) => is_blank(&found),
            None => self.alternatives.iter().any(is_null),
        }
    }

    /// Like [`Self::find`], as text: a non-empty string or a number.
    pub(super) fn find_text(&self, source: &Source<'_>) -> Option<String> {
        self.alternatives.iter().find_map(|path| match &*path.find(source)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// The first alternative that can be written to when the rule is reversed: a plain path whose lists are short and
    /// counted from their beginning.
    pub(super) fn first_writable(&self) -> Option<&[Step]> {
        let writable = |step: &Step| match step {
            Step::Key(_) => true,
            Step::Index(index) => (0..WRITTEN_LIST_MAX).contains(index),
        };
        self.alternatives.iter().filter_map(Path::steps).find(|steps| steps.iter().all(writable))
    }

    /// How many of the alternatives are expressions.
    pub(super) fn expressions(&self) -> usize {
        self.alternatives.iter().filter(|path| path.steps().is_none()).count()
    }

    /// The paths as the rule has them.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Whether a value is a text without anything in it.
pub(super) fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Reads `a.b[0].c`; `None` where the text is anything else.
fn plain_steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for segment in text.split('.') {
        let (key, mut indices) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return None;
        }
        steps.push(Step::Key(key.into()));
        while !indices.is_empty() {
            let (index, rest) = indices.strip_prefix('[')?.split_once(']')?;
            let index: i32 = index.parse().ok().filter(|index| (-INDEX_MAX..=INDEX_MAX).contains(index))?;
            steps.push(Step::Index(index));
            indices = rest;
        }
    }
    Some(steps)
}

fn walk<'a>(payload: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(payload, |value, step| match step {
        Step::Key(key) => value.get(&**key),
        Step::Index(index) => {
            let list = value.as_array()?;
            let distance = usize::try_from(index.unsigned_abs()).ok()?;
            let at = if *index < 0 { list.len().checked_sub(distance)? } else { distance };
            list.get(at)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_what_they_name() {
        let payload = json!({
            "contact": {"phones": [{"number": "1"}, {"number": "2"}], "first-name": "Ada", "none": null, "7": "seven"},
            "grid": [[1, 2], [3, 4]], "é": 1, "a.b": 2});
        let table = [
            ("contact.phones[0].number", Some(json!("1"))),
            ("contact.phones[-1].number", Some(json!("2"))),
            ("contact.phones[2].number", None),
            ("contact.phones[-3]", None),
            ("contact.phones.number", None),
            ("contact.first-name", Some(json!("Ada"))),
            ("contact.7", Some(json!("seven"))),
            ("contact.none", None),
            ("contact.none.deeper", None),
            ("contact[0]", None),
            ("grid[1][0]", Some(json!(3))),
            ("missing", None),
            // JMESPath.
            ("contact.phones[*].number", Some(json!(["1", "2"]))),
            ("contact.phones[?number=='2'].number | [0]", Some(json!("2"))),
            ("contact.phones[?number=='9'] | [0]", None),
            ("\"a.b\"", Some(json!(2))),
            ("\"é\"", Some(json!(1))),
            ("join(' ', [contact.\"first-name\", contact.\"7\"])", Some(json!("Ada seven"))),
            ("missing || contact.\"7\"", Some(json!("seven"))),
            ("sort(missing)", None),
            ("length(contact.phones)", Some(json!(2))),
            ("@", Some(payload.clone())),
        ];
        for (text, expected) in table {
            let path = Path::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(path.find(&Source::new(&payload)).map(Cow::into_owned), expected, "{text}");
        }
    }

    #[test]
    fn faulty_paths_are_refused() {
        for text in ["", ".", "a.", "a..b", "a[", "a[0", "a[x]", "a[99999999999]", "[0", "a b", "nosuch(@)", "é"] {
            assert!(Path::compile(text).is_err(), "{text}");
        }
        assert!(Path::compile(&"a".repeat(PATH_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn the_first_alternative_that_finds_something_counts() {
        let payload = json!({"a": null, "b": "", "c": 7, "d": "x"});
        let source = Source::new(&payload);
        let paths = |list: &[&str]| {
            PathList::compile(&Paths::Many(list.iter().map(|p| (*p).to_owned()).collect())).expect("well formed")
        };
        assert_eq!(paths(&["a", "b", "c"]).find(&source).as_deref(), Some(&json!("")));
        assert_eq!(paths(&["a", "b", "c", "d"]).find_text(&source).as_deref(), Some("7"));
        assert_eq!(paths(&["a", "x[0]", "d"]).find_text(&source).as_deref(), Some("x"));
        assert!(paths(&[]).find(&source).is_none());
    }
}
