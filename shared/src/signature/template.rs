//! The template of a signed message, such as `v0:{timestamp}:{body}`.

use std::borrow::Cow;

/// Longest accepted template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 1024;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

/// A piece of a signed message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(String),
    Id,
    Timestamp,
    Method,
    Url,
    Body,
}

/// What stands for the placeholders in one message.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    pub(super) id: &'a str,
    /// The text of the header, not the time that it means: that text is what was signed.
    pub(super) timestamp: &'a str,
    pub(super) method: &'a str,
    pub(super) url: Cow<'a, str>,
    pub(super) body: &'a [u8],
}

impl Template {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Parses a template, which must sign the body.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub(super) fn parse(template: &str) -> Result<Self, String> {
        if template.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("must be at most {TEMPLATE_BYTES_MAX} bytes long"));
        }
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(brace) = rest.find(['{', '}']) {
            let (literal, placeholder) = rest.split_at(brace);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (part, after) = Part::take(placeholder)?;
            parts.push(part);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Self(parts);
        if template.contains(&Part::Body) {
            Ok(template)
        } else {
            Err("must contain {body}, or the signature would not cover the body".to_owned())
        }
    }

    pub(super) fn contains(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// The message, piece by piece, so that the body is never copied.
    pub(super) fn chunks<'a>(&'a self, fields: &'a Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().map(|part| match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Id => fields.id.as_bytes(),
            Part::Timestamp => fields.timestamp.as_bytes(),
            Part::Method => fields.method.as_bytes(),
            Part::Url => fields.url.as_bytes(),
            Part::Body => fields.body,
        })
    }
}

impl Part {
    /// Takes the placeholder that `text` begins with, and gives what follows it.
    fn take(text: &str) -> Result<(Self, &str), String> {
        let placeholder = text.strip_prefix('{').and_then(|text| text.split_once('}'));
        let part = match placeholder.map(|(name, _)| name) {
            Some("id") => Self::Id,
            Some("timestamp") => Self::Timestamp,
            Some("method") => Self::Method,
            Some("url") => Self::Url,
            Some("body") => Self::Body,
            _ => {
                let known = "{id}, {timestamp}, {method}, {url} and {body}";
                return Err(format!("has a brace that begins or ends no placeholder; there are {known}"));
            }
        };
        Ok((part, placeholder.map_or("", |(_, after)| after)))
    }
}
