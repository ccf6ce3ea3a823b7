//! What a tenant writes about an integration's signatures, checked once.

use http::HeaderName;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Scheme,
    header::TimestampUnit,
    mac::{Algorithm, Encoding},
    presets::Preset,
    rule::{Layout, Rewriting, Rule, SecretEncoding, SignatureField, TimestampField},
    schemes::{self, TOLERANCE_SECONDS_DEFAULT},
    template::{Part, Template},
};

/// The widest tolerance that can be configured: one day.
pub const TOLERANCE_SECONDS_MAX: i64 = 86_400;

/// Longest accepted prefix or pair name, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// The `signature` of an integration (public contract, §7), such as `{"scheme":"template","preset":"slack"}`.
///
/// The schemes without fields are written with empty braces, because serde would accept any field beside them else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "lowercase", deny_unknown_fields)]
pub enum SignatureConfig {
    /// One of the next four, by the header that is present.
    Auto {},
    /// Ours: the raw body, or its canonical form.
    Custom {},
    /// GitHub's.
    Github {},
    /// Stripe's.
    Stripe {},
    /// Standard Webhooks, and Svix.
    Standard {},
    /// As these fields say.
    Template(TemplateConfig),
}

/// The fields of the scheme `template`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TemplateConfig {
    /// The sender whose fields to take where they aren't given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The HMAC's hash function; `sha256` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// What is signed, of `{id}`, `{timestamp}`, `{method}`, `{url}`, `{body}` and text; required unless a preset has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The header with the signature; required unless a preset has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_header: Option<String>,
    /// The name of the pair with the signature, where the header is of the form `name=value,name=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_pair: Option<String>,
    /// What stands before the signature, such as `sha256=`; nothing by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How the signature is written; `hex` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// How the secret is written; `utf8` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_encoding: Option<SecretEncoding>,
    /// The header with the message's id; given exactly if the template has `{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_header: Option<String>,
    /// The header with the time of signing, if the template has `{timestamp}`; beside a `timestamp_pair` it is the
    /// signature header by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// The name of the pair with the time, where the header is of the form `name=value,name=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_pair: Option<String>,
    /// The unit of the time; `seconds` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_unit: Option<TimestampUnit>,
    /// How many seconds past or future the time may be, from 0 to [`TOLERANCE_SECONDS_MAX`];
    /// [`TOLERANCE_SECONDS_DEFAULT`] by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_seconds: Option<i64>,
}

/// What is wrong with one field of a [`TemplateConfig`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{field}` {problem}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it: the rest of a sentence that begins with its name.
    pub problem: String,
}

impl SignatureConfig {
    /// Checks the configuration and makes it ready for use.
    ///
    /// # Errors
    ///
    /// What is wrong with each field, all at once.
    pub fn compile(&self) -> Result<Scheme, Vec<ConfigError>> {
        let [standard, svix] = schemes::standard();
        Ok(match self {
            Self::Auto {} => Scheme::new(standard, vec![svix, schemes::stripe(), schemes::github(), schemes::custom()]),
            Self::Custom {} => Scheme::new(schemes::custom(), vec![]),
            Self::Github {} => Scheme::new(schemes::github(), vec![]),
            Self::Stripe {} => Scheme::new(schemes::stripe(), vec![]),
            Self::Standard {} => Scheme::new(standard, vec![svix]),
            Self::Template(config) => {
                let rule = config.clone().with_preset().rule()?;
                Scheme { preset: config.preset, ..Scheme::new(rule, vec![]) }
            }
        })
    }
}

impl TemplateConfig {
    /// Fills what isn't given from the preset.
    fn with_preset(self) -> Self {
        let preset = self.preset.map(Preset::config).unwrap_or_default();
        Self {
            preset: self.preset,
            algorithm: self.algorithm.or(preset.algorithm),
            template: self.template.or(preset.template),
            signature_header: self.signature_header.or(preset.signature_header),
            signature_pair: self.signature_pair.or(preset.signature_pair),
            prefix: self.prefix.or(preset.prefix),
            encoding: self.encoding.or(preset.encoding),
            secret_encoding: self.secret_encoding.or(preset.secret_encoding),
            id_header: self.id_header.or(preset.id_header),
            timestamp_header: self.timestamp_header.or(preset.timestamp_header),
            timestamp_pair: self.timestamp_pair.or(preset.timestamp_pair),
            timestamp_unit: self.timestamp_unit.or(preset.timestamp_unit),
            tolerance_seconds: self.tolerance_seconds.or(preset.tolerance_seconds),
        }
    }

    fn rule(self) -> Result<Rule, Vec<ConfigError>> {
        let mut errors = Errors::default();
        let signature = self.signature_field(&mut errors);
        let timestamp = self.timestamp_field(signature.as_ref(), &mut errors);
        let id_header = errors.check_optional("id_header", self.id_header.as_deref(), header_name);
        let template = errors.check("template", required(self.template.as_deref()).and_then(Template::parse));
        if let Some(template) = &template {
            let is_timed = self.timestamp_header.is_some() || self.timestamp_pair.is_some();
            let is_timed_field = if self.timestamp_pair.is_some() { "timestamp_pair" } else { "timestamp_header" };
            errors.check_signed(is_timed_field, is_timed, template.contains(&Part::Timestamp), "{timestamp}");
            errors.check_signed("id_header", self.id_header.is_some(), template.contains(&Part::Id), "{id}");
        }
        match (template, signature) {
            (Some(template), Some(signature)) if errors.0.is_empty() => Ok(Rule {
                algorithm: self.algorithm.unwrap_or(Algorithm::Sha256),
                secret_encoding: self.secret_encoding.unwrap_or(SecretEncoding::Utf8),
                template,
                signature,
                id_header,
                timestamp,
                rewriting: match self.preset {
                    Some(Preset::HubspotV3) => Rewriting::DecodedUrl,
                    _ => Rewriting::None,
                },
            }),
            _ => Err(errors.0),
        }
    }

    fn signature_field(&self, errors: &mut Errors) -> Option<SignatureField> {
        let header = errors.check("signature_header", required(self.signature_header.as_deref()).and_then(header_name));
        let pair = errors.check_optional("signature_pair", self.signature_pair.as_deref(), pair_name);
        let prefix = errors.check_optional("prefix", self.prefix.as_deref(), word);
        Some(SignatureField {
            header: header?,
            layout: pair.map_or(Layout::Single, Layout::Pairs),
            prefix: prefix.unwrap_or_default(),
            encoding: self.encoding.unwrap_or(Encoding::Hex),
        })
    }

    fn timestamp_field(&self, signature: Option<&SignatureField>, errors: &mut Errors) -> Option<TimestampField> {
        let header = errors.check_optional("timestamp_header", self.timestamp_header.as_deref(), header_name);
        let pair = errors.check_optional("timestamp_pair", self.timestamp_pair.as_deref(), pair_name);
        let tolerance = self.tolerance_seconds.unwrap_or(TOLERANCE_SECONDS_DEFAULT);
        if !(0..=TOLERANCE_SECONDS_MAX).contains(&tolerance) {
            errors.add("tolerance_seconds", format!("must be from 0 to {TOLERANCE_SECONDS_MAX}"));
        }
        let signature = signature?;
        let header = header.or_else(|| pair.as_ref().map(|_| signature.header.clone()))?;
        if header == signature.header {
            match (&pair, &signature.layout) {
                (Some(pair), Layout::Pairs(name)) if pair != name => {}
                (Some(_), Layout::Pairs(_)) => errors.add("timestamp_pair", "must differ from `signature_pair`"),
                _ => errors.add(
                    "timestamp_header",
                    "is the signature header too: name the pairs with `timestamp_pair` and `signature_pair`",
                ),
            }
        }
        Some(TimestampField {
            header,
            pair,
            unit: self.timestamp_unit.unwrap_or(TimestampUnit::Seconds),
            tolerance: SignedDuration::from_secs(tolerance),
        })
    }
}

/// The errors found so far.
#[derive(Default)]
struct Errors(Vec<ConfigError>);

impl Errors {
    fn add(&mut self, field: &'static str, problem: impl Into<String>) {
        self.0.push(ConfigError { field, problem: problem.into() });
    }

    fn check<T>(&mut self, field: &'static str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|problem| self.add(field, problem)).ok()
    }

    fn check_optional<T>(
        &mut self,
        field: &'static str,
        given: Option<&str>,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.check(field, check(given?))
    }

    /// A header that isn't signed proves nothing, and a placeholder needs its header.
    fn check_signed(&mut self, field: &'static str, is_given: bool, is_signed: bool, placeholder: &str) {
        match (is_given, is_signed) {
            (true, false) => self.add(field, format!("is given, but the template doesn't sign {placeholder}")),
            (false, true) => self.add(field, format!("is required, because the template signs {placeholder}")),
            _ => {}
        }
    }
}

fn required(given: Option<&str>) -> Result<&str, String> {
    given.ok_or_else(|| "is required, unless a preset gives it".to_owned())
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "must be an HTTP header name".to_owned())
}

fn word(text: &str) -> Result<String, String> {
    if text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be at most {WORD_BYTES_MAX} visible ASCII characters"))
    }
}

fn pair_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains([',', '=']) {
        return Err("must be the name of a pair, without `,` and `=`".to_owned());
    }
    word(text)
}

#[cfg(test)]
mod tests;
