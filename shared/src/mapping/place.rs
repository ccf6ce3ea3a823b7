//! Where a value stands, for those who look for one value and have no rule.

use std::borrow::Cow;

use serde_json::Value;

use super::path::{PathList, Source};
use super::rule::Paths;

/// One path, or several of which the first that finds something counts; dotted or `JMESPath`, as in a rule.
pub struct Place(PathList);

impl Place {
    /// Compiles a path or a list of paths.
    ///
    /// # Errors
    /// The first fault, as a sentence.
    pub fn compile(json: &Value) -> Result<Self, String> {
        let paths = Paths::of(json).filter(|paths| !paths.as_slice().is_empty());
        PathList::compile(&paths.ok_or("must be a path or a list of paths")?).map(Self)
    }

    /// What stands there; `None` for nothing and for `null`.
    #[must_use]
    pub fn value(&self, answer: &Value) -> Option<Value> {
        self.0.find(&Source::new(answer)).map(Cow::into_owned)
    }

    /// Like [`Place::value`], as text: a non-empty string or a number.
    #[must_use]
    pub fn text(&self, answer: &Value) -> Option<String> {
        self.0.find_text(&Source::new(answer))
    }
}
