//! Who sent this webhook? Its signature says so, by the rules of the public contract, §2.
//!
//! A tenant's [`SignatureConfig`] is [compiled](SignatureConfig::compile) once into a [`Scheme`], which
//! [verifies](Scheme::verify) the requests of that integration and can [sign](Scheme::sign) as its sender does.
//! All schemes are the same few steps with different parameters: find the header, read its signatures, check the
//! time that they cover, put the signed message together, and compare HMACs in constant time.
//!
//! | module | holds |
//! | --- | --- |
//! | `config` | what a tenant writes, and its errors |
//! | `presets` | that configuration for well-known senders |
//! | `schemes` | the schemes that need none |
//! | `rule` | the steps |
//! | `template`, `header`, `mac` | what the steps are made of |
//! | `canonical` | what Python makes of a JSON text, which `custom` may have signed |
//!
//! # What a signature doesn't say
//!
//! `custom`, `github`, and templates without `{timestamp}` sign no time: a captured request verifies for ever, and only
//! the event's identity keeps it from having an effect twice. `{id}` is trusted only as [`Verified::signed_id`].
//!
//! With `auto`, the sender chooses the scheme by the header that it sends. It can choose only among schemes that are
//! keyed with the integration's own secret, so whoever doesn't know that secret gains nothing. But whoever captures a
//! request that Stripe signed may present its signed message, time and all (`1533204620.{…}`), as the body of an untimed
//! scheme. That is no JSON; as a form it is an event of its own. An integration that names its scheme doesn't take it at
//! all, so name it where it is known. If a request has the headers of several schemes, the first of `standard`,
//! `stripe`, `github` and `custom` alone decides: the timed ones come first.

mod canonical;
mod config;
mod header;
mod mac;
mod presets;
mod rule;
mod schemes;
mod template;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue, header::InvalidHeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use thiserror::Error;

use self::rule::Rule;
pub use self::{
    canonical::{CanonicalError, DEPTH_MAX, INTEGER_DIGITS_MAX, canonical_json},
    config::{ConfigError, SignatureConfig, TOLERANCE_SECONDS_MAX, TemplateConfig},
    header::{HEADER_BYTES_MAX, TimestampUnit},
    mac::{Algorithm, Encoding},
    presets::Preset,
    rule::SecretEncoding,
    schemes::TOLERANCE_SECONDS_DEFAULT,
};

/// A compiled [`SignatureConfig`]: how an integration's requests are signed. It holds no secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheme {
    /// The first rule, and the one to sign with.
    rule: Rule,
    /// The rules to take when the headers of those before are absent.
    alternatives: Vec<Rule>,
    preset: Option<Preset>,
}

/// A request as it came in. It has no `Debug`, because headers and body belong in no log.
#[derive(Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The HTTP method, in capitals.
    pub method: &'a str,
    /// The integration's configured public URL: never made from the `Host` header, which a caller can set.
    pub url: &'a str,
    /// All headers, doubled ones included.
    pub headers: &'a HeaderMap,
    /// The raw body.
    pub body: &'a [u8],
}

/// A request to be signed.
#[derive(Clone, Copy)]
pub struct UnsignedRequest<'a> {
    /// The HTTP method, in capitals.
    pub method: &'a str,
    /// The URL that the receiver knows itself by.
    pub url: &'a str,
    /// The exact bytes to be sent.
    pub body: &'a [u8],
}

/// What a signature vouches for besides the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The message's id, where the scheme signs one: `webhook-id` of `standard`, `{id}` of a template.
    pub signed_id: Option<String>,
    /// When it was signed, where the scheme signs that.
    pub signed_at: Option<Timestamp>,
}

/// Why a request is not authentic. For logs only: the sender gets the same answer for all of them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignatureError {
    /// A header that the scheme needs is absent.
    #[error("the header {header} is missing; check that the sender signs with the configured scheme")]
    Missing {
        /// Its name. With several possible schemes, the signature header of the first.
        header: HeaderName,
    },
    /// A header can't be read.
    #[error("the header {header} is doubled, too long, or not of the form that the configured scheme prescribes")]
    Malformed {
        /// Its name.
        header: HeaderName,
    },
    /// The time of signing is too far from ours.
    #[error("the request was signed {} s ago, which is outside the tolerance; check the sender's clock", age.as_secs())]
    Stale {
        /// How long ago; negative for a time to come.
        age: SignedDuration,
    },
    /// No secret gives this signature. The only one of these errors that a newer secret could cure.
    #[error("the signature fits none of the integration's secrets; check that the sender uses the current one")]
    Mismatch,
}

/// Why a request can't be signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// There is no secret, it is empty, or it isn't the base64 that the scheme prescribes.
    #[error("there is no secret that this scheme can sign with; give one, as base64 where the scheme needs that")]
    UnusableSecret,
    /// The id can't stand in a header.
    #[error("the id can't be sent in a header; use visible ASCII characters only")]
    UnusableId(#[from] InvalidHeaderValue),
}

impl Scheme {
    fn new(rule: Rule, alternatives: Vec<Rule>) -> Self {
        Self { rule, alternatives, preset: None }
    }

    /// Checks that a request was signed with one of the `secrets`, and within the tolerance of `now`.
    ///
    /// Signatures are compared in constant time; how long the check takes tells only which secret fits, if any.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], to be logged, and answered alike.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        secrets: &[&str],
        now: Timestamp,
    ) -> Result<Verified, SignatureError> {
        let mut rules = std::iter::once(&self.rule).chain(&self.alternatives);
        let rule = rules.find(|rule| rule.applies_to(request.headers)).unwrap_or(&self.rule);
        rule.verify(request, secrets, now)
    }

    /// The headers with which a sender signs this request at `now`; `id` is sent where the scheme signs one.
    /// `auto` signs as `standard`.
    ///
    /// With several `secrets`, the newest first, a header that can hold several signatures gets one of each (as during a
    /// rotation), any other that of the first.
    ///
    /// # Errors
    ///
    /// [`SignError`] if a secret can't be a key, or the id can't stand in a header.
    pub fn sign(
        &self,
        request: &UnsignedRequest<'_>,
        id: &str,
        secrets: &[&str],
        now: Timestamp,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        self.rule.sign(request, id, secrets, now)
    }

    /// The challenge to send back as the whole answer, if this (verified) payload is Slack's `url_verification`
    /// (<https://docs.slack.dev/reference/events/url_verification>). `None` with every preset but `slack`.
    #[must_use]
    pub fn challenge<'p>(&self, payload: &'p Value) -> Option<&'p str> {
        let is_challenge = self.preset == Some(Preset::Slack) && payload.get("type")?.as_str()? == "url_verification";
        if is_challenge { payload.get("challenge")?.as_str() } else { None }
    }
}
