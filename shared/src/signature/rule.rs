//! One way of signing: which headers, which message, which key. Every scheme is one or more of these.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    SignError, SignatureError, SignedRequest, UnsignedRequest, Verified,
    canonical::canonical_json,
    header::{self, TimestampUnit},
    mac::{Algorithm, Digest, Encoding},
    template::{Fields, Part, Template},
};

/// How a secret's text becomes the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// The text's own bytes.
    Utf8,
    /// The bytes that its base64 stands for, after a leading `whsec_` if it has one.
    Base64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) algorithm: Algorithm,
    pub(super) secret_encoding: SecretEncoding,
    pub(super) template: Template,
    pub(super) signature: SignatureField,
    /// Where `{id}` comes from; given exactly if the template signs it.
    pub(super) id_header: Option<HeaderName>,
    /// Where `{timestamp}` comes from; given exactly if the template signs it.
    pub(super) timestamp: Option<TimestampField>,
    /// What else may have been signed in the place of the raw body and URL.
    pub(super) rewriting: Rewriting,
}

/// Where and how the signature is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SignatureField {
    pub(super) header: HeaderName,
    pub(super) layout: Layout,
    /// Stands before each signature; what doesn't begin with it is not a signature of this rule.
    pub(super) prefix: String,
    pub(super) encoding: Encoding,
}

/// How a header holds signatures.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Layout {
    /// The value is the signature.
    Single,
    /// Signatures are separated by spaces.
    List,
    /// The value is of the form `name=value,name=value`; signatures have this name.
    Pairs(String),
}

/// Where and how the time of signing is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimestampField {
    pub(super) header: HeaderName,
    /// The name of the pair in a header of the form `name=value,name=value`; `None` if the value is the timestamp.
    pub(super) pair: Option<String>,
    pub(super) unit: TimestampUnit,
    /// How far past or future the time may be, inclusive.
    pub(super) tolerance: SignedDuration,
}

/// What a sender changes in a message before it signs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rewriting {
    None,
    /// The signature may also be that of the body's canonical form.
    CanonicalBody,
    /// Some escapes of the URL are decoded, see [`decode_url`].
    DecodedUrl,
}

impl Rule {
    /// Whether the request carries this rule's signature header.
    pub(super) fn applies_to(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(&self.signature.header)
    }

    /// Cheap checks come before the HMAC, so that a forged request costs little.
    pub(super) fn verify(
        &self,
        request: &SignedRequest<'_>,
        secrets: &[&str],
        now: Timestamp,
    ) -> Result<Verified, SignatureError> {
        let signatures = self.signatures(request.headers)?;
        let id = self.id_header.as_ref().map(|name| header::single(request.headers, name)).transpose()?;
        let timestamp = self.timestamp.as_ref().map(|field| field.read(request.headers, now)).transpose()?;
        let fields = Fields {
            id: id.unwrap_or_default(),
            timestamp: timestamp.map_or("", |(text, _)| text),
            method: request.method,
            url: self.url(request.url),
            body: request.body,
        };
        if self.matches(&fields, &signatures, secrets) || self.matches_canonical(&fields, &signatures, secrets) {
            Ok(Verified { signed_id: id.map(str::to_owned), signed_at: timestamp.map(|(_, time)| time) })
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    pub(super) fn sign(
        &self,
        request: &UnsignedRequest<'_>,
        id: &str,
        secrets: &[&str],
        now: Timestamp,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        let timestamp = self.timestamp.as_ref().map(|field| field.unit.format(now)).unwrap_or_default();
        let UnsignedRequest { method, url, body } = *request;
        let fields = Fields { id, timestamp: &timestamp, method, url: self.url(url), body };
        let signatures = secrets.iter().map(|secret| self.signature(secret, &fields)).collect::<Result<Vec<_>, _>>()?;
        let mut signature = self.signature.layout.join(&signatures).ok_or(SignError::UnusableSecret)?;
        let mut headers = Vec::new();
        if let Some(name) = &self.id_header {
            headers.push((name, id.to_owned()));
        }
        if let Some(field) = &self.timestamp {
            let text = match &field.pair {
                Some(name) => format!("{name}={timestamp}"),
                None => timestamp.clone(),
            };
            if field.header == self.signature.header {
                signature = format!("{text},{signature}");
            } else {
                headers.push((&field.header, text));
            }
        }
        headers.push((&self.signature.header, signature));
        headers.into_iter().map(|(name, value)| Ok((name.clone(), HeaderValue::try_from(value)?))).collect()
    }

    /// The signature of a message as it is written, with its prefix.
    fn signature(&self, secret: &str, fields: &Fields<'_>) -> Result<String, SignError> {
        let digest = self.digest(secret, fields).ok_or(SignError::UnusableSecret)?;
        Ok(format!("{}{}", self.signature.prefix, digest.encode(self.signature.encoding)))
    }

    /// The well-formed signatures in the signature header, at least one.
    fn signatures(&self, headers: &HeaderMap) -> Result<Vec<Digest>, SignatureError> {
        let SignatureField { header, layout, prefix, encoding } = &self.signature;
        let value = header::single(headers, header)?;
        let decode = |text: &str| Digest::decode(text.strip_prefix(prefix.as_str())?, self.algorithm, *encoding);
        let signatures: Vec<_> = match layout {
            Layout::Single => decode(value).into_iter().collect(),
            Layout::List => value.split(' ').filter_map(decode).collect(),
            Layout::Pairs(name) => header::pairs(value, name).filter_map(decode).collect(),
        };
        if signatures.is_empty() { Err(SignatureError::Malformed { header: header.clone() }) } else { Ok(signatures) }
    }

    /// Whether one of the signatures is that of the message under one of the secrets.
    fn matches(&self, fields: &Fields<'_>, signatures: &[Digest], secrets: &[&str]) -> bool {
        let mut expected = secrets.iter().filter_map(|secret| self.digest(secret, fields));
        expected.any(|expected| signatures.iter().any(|signature| expected.equals(signature)))
    }

    fn matches_canonical(&self, fields: &Fields<'_>, signatures: &[Digest], secrets: &[&str]) -> bool {
        if self.rewriting != Rewriting::CanonicalBody {
            return false;
        }
        let Ok(canonical) = canonical_json(fields.body) else {
            return false;
        };
        self.matches(&Fields { body: &canonical, ..fields.clone() }, signatures, secrets)
    }

    /// The HMAC of a message; `None` if the secret can't be a key.
    fn digest(&self, secret: &str, fields: &Fields<'_>) -> Option<Digest> {
        let key = self.secret_encoding.key(secret)?;
        self.algorithm.digest(&key, self.template.chunks(fields))
    }

    fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        match self.rewriting {
            Rewriting::DecodedUrl if self.template.contains(&Part::Url) => Cow::Owned(decode_url(url)),
            _ => Cow::Borrowed(url),
        }
    }
}

impl Layout {
    /// Puts signatures together as the header holds them: all, or the first if there is room for one only. `None` if
    /// there are none.
    fn join(&self, signatures: &[String]) -> Option<String> {
        let newest = signatures.first()?;
        Some(match self {
            Self::Single => newest.clone(),
            Self::List => signatures.join(" "),
            Self::Pairs(name) => {
                let pairs: Vec<_> = signatures.iter().map(|text| format!("{name}={text}")).collect();
                pairs.join(",")
            }
        })
    }
}

impl TimestampField {
    /// The timestamp as it is written, and the time that it means, if that is within the tolerance.
    fn read<'h>(&self, headers: &'h HeaderMap, now: Timestamp) -> Result<(&'h str, Timestamp), SignatureError> {
        let malformed = || SignatureError::Malformed { header: self.header.clone() };
        let value = header::single(headers, &self.header)?;
        let text = match &self.pair {
            None => value,
            Some(name) => {
                let mut found = header::pairs(value, name);
                found.next().filter(|_| found.next().is_none()).ok_or_else(malformed)?
            }
        };
        let time = self.unit.parse(text).ok_or_else(malformed)?;
        let age = now.duration_since(time);
        if age.abs() <= self.tolerance { Ok((text, time)) } else { Err(SignatureError::Stale { age }) }
    }
}

impl SecretEncoding {
    /// `None` if the secret can't be a key. An empty one never is: whoever knows the scheme would know the key.
    fn key(self, secret: &str) -> Option<Cow<'_, [u8]>> {
        let key = match self {
            Self::Utf8 => Cow::Borrowed(secret.as_bytes()),
            Self::Base64 => Cow::Owned(STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?),
        };
        Some(key).filter(|key| !key.is_empty())
    }
}

/// Decodes the escapes of a URL that `HubSpot` decodes before it signs: those of `:/?@!$'()*,;`
/// (<https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation>).
fn decode_url(url: &str) -> String {
    let mut pieces = url.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let escape = piece.split_at_checked(2);
        let escape = escape.and_then(|(digits, rest)| Some((char::from(u8::from_str_radix(digits, 16).ok()?), rest)));
        match escape {
            Some((character, rest)) if ":/?@!$'()*,;".contains(character) => {
                decoded.push(character);
                decoded.push_str(rest);
            }
            _ => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    decoded
}
