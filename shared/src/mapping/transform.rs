//! Transforms: what brings a value from a system's form into ours.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::duration::{self, SECONDS_MAX};
use super::fields::{Kind, TEXT_CHARS_MAX};
use super::money;
use super::path::{PathList, Source};
use super::rule::{Paths, STEPS_MAX};
use super::scalar::{boolean, integer, number, text_of, timestamp};
use crate::phone::{self, Region};

/// Most entries of one lookup.
pub const LOOKUP_ENTRIES_MAX: usize = 1_000;

/// What a transform may look at besides the value.
pub(super) struct Context<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) region: &'a Region,
}

/// A compiled transform.
pub(super) enum Transform {
    Phone,
    Duration(duration::Unit),
    Timestamp,
    Money {
        unit: money::Unit,
        currency: Option<String>,
        currency_paths: Option<PathList>,
    },
    Lookup(Lookup),
    Lowercase,
    Uppercase,
    Trim,
    Integer,
    Number,
    Boolean,
    String,
    /// Text of bounded length: what a field of kind [`Kind::Text`] holds.
    Text,
    Constant(Value),
    JoinList {
        separator: String,
    },
    JoinPaths {
        paths: Vec<PathList>,
        separator: String,
    },
}

/// A table from the system's words to ours.
pub(super) struct Lookup {
    pub(super) entries: Map<String, Value>,
    /// The keys in lower case, for words that are spelled otherwise than in the table.
    folded: HashMap<String, Value>,
    pub(super) default: Option<Value>,
}

impl Transform {
    /// Compiles one transform, or each of a list, from a rule's JSON. `constant` is the field's `value`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn compile_all(spec: &Value, constant: Option<&Value>) -> Result<Vec<Self>, String> {
        match spec {
            Value::Array(list) if list.len() > STEPS_MAX => Err(format!("a field has at most {STEPS_MAX} transforms")),
            Value::Array(list) => list.iter().map(|one| Self::compile(one, constant)).collect(),
            one => Ok(vec![Self::compile(one, constant)?]),
        }
    }

    fn compile(spec: &Value, constant: Option<&Value>) -> Result<Self, String> {
        match spec {
            Value::String(name) => Self::by_name(name, constant),
            Value::Object(object) => Self::by_object(object),
            _ => Err("a transform is a name or an object".to_owned()),
        }
    }

    fn by_name(name: &str, constant: Option<&Value>) -> Result<Self, String> {
        Ok(match name {
            "phone" => Self::Phone,
            "duration" => Self::Duration(duration::Unit::Seconds),
            "timestamp" => Self::Timestamp,
            "money" => Self::Money { unit: money::Unit::ByForm, currency: None, currency_paths: None },
            "lowercase" => Self::Lowercase,
            "uppercase" => Self::Uppercase,
            "trim" => Self::Trim,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "join" => Self::JoinList { separator: " ".to_owned() },
            "constant" => Self::Constant(constant.cloned().ok_or("`constant` needs a `value` in the field")?),
            "lookup" => return Err("`lookup` needs its table: {\"lookup\": {…}}".to_owned()),
            _ => return Err(format!("there is no transform `{name}`")),
        })
    }

    fn by_object(object: &Map<String, Value>) -> Result<Self, String> {
        let mut object = object.clone();
        let default = object.remove("default");
        let mut entries = object.into_iter();
        let (Some((name, argument)), None) = (entries.next(), entries.next()) else {
            return Err("a transform object has one name, and `default` beside `lookup`".to_owned());
        };
        if default.is_some() && name != "lookup" {
            return Err("only `lookup` takes a `default` here".to_owned());
        }
        match name.as_str() {
            "lookup" => Lookup::compile(argument, default).map(Self::Lookup),
            "constant" => Ok(Self::Constant(argument)),
            "duration" => {
                let options = Options::read(&name, "unit", &argument, &["unit"])?;
                let unit = options.text("unit")?.map_or(Some(duration::Unit::Seconds), duration::Unit::parse);
                unit.map(Self::Duration).ok_or("the unit of `duration` is `seconds` or `milliseconds`".to_owned())
            }
            "money" => {
                let options = Options::read(&name, "unit", &argument, &["unit", "currency", "currency_path"])?;
                let unit = options.text("unit")?.map_or(Some(money::Unit::ByForm), money::Unit::parse);
                let currency = options.text("currency")?.map(str::to_owned);
                if currency.as_deref().is_some_and(|code| !money::is_currency(code)) {
                    return Err("the currency of `money` is an ISO 4217 code in capitals".to_owned());
                }
                let currency_paths = options.paths("currency_path")?;
                let unit = unit.ok_or("the unit of `money` is `major` or `minor`")?;
                Ok(Self::Money { unit, currency, currency_paths })
            }
            "join" => {
                let options = Options::read(&name, "separator", &argument, &["separator", "paths"])?;
                let separator = options.text("separator")?.unwrap_or(" ").to_owned();
                Ok(match options.get("paths") {
                    None => Self::JoinList { separator },
                    Some(paths) => Self::JoinPaths { paths: compile_joined(paths)?, separator },
                })
            }
            _ => Err(format!("there is no transform `{name}` with options")),
        }
    }

    /// What brings a value into the form of a field of this kind.
    pub(super) fn finishing(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Phone => Some(Self::Phone),
            Kind::Text => Some(Self::Text),
            Kind::Currency => Some(Self::Uppercase),
            Kind::Seconds => Some(Self::Duration(duration::Unit::Seconds)),
            Kind::Time => Some(Self::Timestamp),
            Kind::Minor => Some(Self::Money { unit: money::Unit::ByForm, currency: None, currency_paths: None }),
            Kind::Any => None,
        }
    }

    /// How many expressions it evaluates.
    pub(super) fn expressions(&self) -> usize {
        match self {
            Self::Money { currency_paths, .. } => currency_paths.as_ref().map_or(0, PathList::expressions),
            Self::JoinPaths { paths, .. } => paths.iter().map(PathList::expressions).sum(),
            _ => 0,
        }
    }

    /// Whether it is the same transform, whatever its options.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether it makes a value by itself and needs no path.
    pub(super) fn makes_a_value(&self) -> bool {
        matches!(self, Self::Constant(_) | Self::JoinPaths { .. })
    }

    /// Applies it.
    ///
    /// # Errors
    /// Why the value can't be taken, to be read after the name of the field; never the value itself.
    pub(super) fn apply(&self, value: &Value, context: &Context<'_>) -> Result<Value, String> {
        match self {
            Self::Phone => phone::parse(&text_of(value)?, context.region)
                .map(|number| Value::String(number.into()))
                .map_err(|error| error.to_string()),
            Self::Duration(unit) => duration::seconds(value, *unit)
                .map(Value::from)
                .ok_or_else(|| format!("is not a duration from 0 to {SECONDS_MAX} seconds")),
            Self::Timestamp => timestamp(value).map(|time| Value::String(time.to_string())).ok_or_else(|| {
                "is not a time in RFC 3339 with an offset, nor in Unix seconds or milliseconds".to_owned()
            }),
            Self::Money { unit, currency, currency_paths } => {
                let found = currency_paths.as_ref().and_then(|paths| paths.find_text(context.source));
                let currency = found.map(|code| code.to_ascii_uppercase()).or_else(|| currency.clone());
                let exponent = money::exponent(currency.as_deref().unwrap_or_default());
                money::minor_units(value, *unit, exponent)
                    .map(Value::from)
                    .ok_or_else(|| "is not an amount of money".to_owned())
            }
            Self::Lookup(lookup) => lookup.find(value),
            Self::Lowercase => Ok(text_of(value)?.to_lowercase().into()),
            Self::Uppercase => Ok(text_of(value)?.to_uppercase().into()),
            Self::Trim => Ok(text_of(value)?.trim().into()),
            Self::Integer => integer(value).map(Value::from).ok_or_else(|| "is not an integer".to_owned()),
            Self::Number => number(value).ok_or_else(|| "is not a number".to_owned()),
            Self::Boolean => boolean(value).map(Value::Bool).ok_or_else(|| "is neither true nor false".to_owned()),
            Self::String => text_of(value).map(Value::String),
            Self::Text => match text_of(value)? {
                text if text.chars().nth(TEXT_CHARS_MAX).is_none() => Ok(Value::String(text)),
                _ => Err(format!("is longer than {TEXT_CHARS_MAX} characters")),
            },
            Self::Constant(value) => Ok(value.clone()),
            Self::JoinList { separator } => {
                let list = value.as_array().ok_or("is not a list")?;
                join(list.iter().map(text_of), separator)
            }
            Self::JoinPaths { paths, separator } => {
                join(paths.iter().filter_map(|path| path.find(context.source)).map(|found| text_of(&found)), separator)
            }
        }
    }
}

fn compile_joined(paths: &Value) -> Result<Vec<PathList>, String> {
    let paths: Vec<String> = Paths::of(paths).ok_or("the paths of `join` are a list of paths")?.as_slice().to_vec();
    paths.into_iter().map(|path| PathList::compile(&Paths::One(path))).collect()
}

impl Lookup {
    fn compile(table: Value, default: Option<Value>) -> Result<Self, String> {
        let Value::Object(entries) = table else {
            return Err("the table of `lookup` is an object".to_owned());
        };
        if entries.len() > LOOKUP_ENTRIES_MAX {
            return Err(format!("a lookup has at most {LOOKUP_ENTRIES_MAX} entries"));
        }
        let folded = entries.iter().map(|(key, value)| (key.trim().to_lowercase(), value.clone())).collect();
        Ok(Self { entries, folded, default })
    }

    fn find(&self, value: &Value) -> Result<Value, String> {
        let text = text_of(value)?;
        let found = self.entries.get(&text).or_else(|| self.folded.get(&text.trim().to_lowercase()));
        found.or(self.default.as_ref()).cloned().ok_or_else(|| "is not in the lookup table".to_owned())
    }
}

/// The options of a transform that is written as an object, or as its one most common option.
struct Options<'a> {
    transform: &'a str,
    shorthand: &'a str,
    argument: &'a Value,
}

impl<'a> Options<'a> {
    fn read(transform: &'a str, shorthand: &'a str, argument: &'a Value, known: &[&str]) -> Result<Self, String> {
        if let Some(unknown) = argument.as_object().and_then(|o| o.keys().find(|key| !known.contains(&key.as_str()))) {
            return Err(format!("`{transform}` has no option `{unknown}`"));
        }
        Ok(Self { transform, shorthand, argument })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        match self.argument {
            Value::Object(object) => object.get(name),
            short => (name == self.shorthand).then_some(short),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        let wrong = || format!("the {name} of `{}` is text", self.transform);
        self.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    fn paths(&self, name: &str) -> Result<Option<PathList>, String> {
        let wrong = || format!("the {name} of `{}` is a path or a list of paths", self.transform);
        self.get(name).map(|value| PathList::compile(&Paths::of(value).ok_or_else(wrong)?)).transpose()
    }
}

fn join(parts: impl Iterator<Item = Result<String, String>>, separator: &str) -> Result<Value, String> {
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { Err("has no parts to join".to_owned()) } else { Ok(parts.join(separator).into()) }
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;
