//! What a tenant says about a subscription, and what is wrong with it.

use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::{Headers, TypePattern};
use crate::{
    endpoint::{Endpoint, Reach},
    event::EventType,
    integration::FieldError,
    mapping::Filter,
    outgoing::{RESERVED, header_name, is_header_value},
};

/// A subscription as the tenant writes it (contract §7, `subscription`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// Where to.
    #[schemars(extend("format" = "uri"))]
    pub url: String,
    /// What: types, `prefix.*` or `*`.
    #[schemars(with = "Vec<TypePattern>", length(min = 1, max = 50))]
    pub event_types: Vec<String>,
    /// Only events whose payload passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Filter>")]
    pub filter: Option<Value>,
    /// Headers of its own.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    #[schemars(schema_with = "headers_schema")]
    pub headers: Headers,
    /// At most so many deliveries a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub rate_per_second: Option<Number>,
    /// When failed deliveries are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// What people want to remember of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub description: Option<String>,
}

fn headers_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "maxProperties": HEADERS_MAX,
        "propertyNames": {"format": "header-name"},
        "additionalProperties": {"type": "string", "pattern": "^[ -~]*$", "maxLength": HEADER_BYTES_MAX},
    })
}

/// In the place of [`super::SCHEDULE_SECONDS`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// The waits before each retry, in seconds.
    #[schemars(length(max = 20), inner(range(min = 1, max = 86_400)))]
    pub schedule_seconds: Vec<u32>,
}

/// Fields that are given beside the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscriptionFields {
    /// `is_active`.
    pub is_active: Option<bool>,
    /// `secret`, where the tenant brings its own.
    pub secret: Option<String>,
}

const URL: &str = "url";
const FIELDS: [&str; 9] =
    [URL, "event_types", "filter", "headers", "rate_per_second", "retry_policy", "description", "is_active", "secret"];

const TYPES_MAX: usize = 50;
const HEADERS_MAX: usize = 20;
const HEADER_BYTES_MAX: usize = 1_024;
const FILTER_BYTES_MAX: usize = 4_096;
const DESCRIPTION_CHARS_MAX: usize = 500;
const RETRIES_MAX: usize = 20;
/// The longest wait of one retry: a day, as for all operations (contract §4).
const WAIT_SECONDS_MAX: u32 = 86_400;
/// From one delivery in 100 s to more than one endpoint takes from one sender.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=1_000.0;

/// Headers by which receivers tell whose word a request is.
const RESERVED_PREFIXES: [&str; 4] = ["webhook-", "x-webhook-", "svix-", "x-amz"];

/// Checks what a tenant wrote; with `before`, only the fields to be changed are given, and `null` takes one away.
///
/// # Errors
/// Every [`FieldError`] at once.
pub fn check(
    given: &Map<String, Value>,
    before: Option<&Config>,
    reach: Reach,
) -> Result<(Config, SubscriptionFields), Vec<FieldError>> {
    let mut errors = Vec::new();
    for name in given.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
        errors.push(FieldError::unknown(name, &FIELDS, "a field of a subscription"));
    }
    let mut merged = before.and_then(|config| serde_json::to_value(config).ok()).unwrap_or_default();
    if !merged.is_object() {
        merged = Value::Object(Map::new());
    }
    let mut fields = merged.as_object().cloned().unwrap_or_default();
    fields.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut reader = Reader { fields: &fields, errors: &mut errors };
    let config = Config {
        url: reader.url(reach),
        event_types: reader.event_types(),
        filter: reader.filter(),
        headers: reader.headers(),
        rate_per_second: reader.rate(),
        retry_policy: reader.retry_policy(),
        description: reader.description(),
    };
    let beside = SubscriptionFields { is_active: reader.is_active(), secret: reader.secret() };
    if errors.is_empty() { Ok((config, beside)) } else { Err(errors) }
}

/// Reads fields one by one. What is wrong is noted, and something harmless given in its place.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    errors: &'a mut Vec<FieldError>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn note(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    fn wrong<T: Default>(&mut self, field: &str, message: impl Into<String>) -> T {
        self.note(field, message);
        T::default()
    }

    fn url(&mut self, reach: Reach) -> String {
        match self.get(URL).map(Value::as_str) {
            None => self.wrong(URL, "is required: the https URL of your endpoint"),
            Some(None) => self.wrong(URL, "must be text: the https URL of your endpoint"),
            Some(Some(url)) => match Endpoint::parse(url, reach) {
                Ok(_) => url.to_owned(),
                Err(error) => self.wrong(URL, error.to_string()),
            },
        }
    }

    fn event_types(&mut self) -> Vec<String> {
        const FORM: &str = "must be a list of 1 to 50 event types, prefixes such as `phone_number.*`, or `*`";
        let Some(list) = self.get("event_types").map(Value::as_array) else {
            return self.wrong("event_types", format!("is required and {FORM}"));
        };
        let Some(list) = list.filter(|list| (1..=TYPES_MAX).contains(&list.len())).cloned() else {
            return self.wrong("event_types", FORM);
        };
        let mut types = Vec::new();
        for (n, value) in list.iter().enumerate() {
            match value.as_str() {
                Some(text) if TypePattern::parse(text).is_some() => types.push(text.to_owned()),
                Some(text) => {
                    let known = EventType::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ");
                    let text: String = text.chars().take(64).collect();
                    self.note(&format!("event_types[{n}]"), format!("`{text}` is no event type; there are {known}"));
                }
                None => self.note(&format!("event_types[{n}]"), "must be text"),
            }
        }
        types
    }

    fn filter(&mut self) -> Option<Value> {
        let filter = self.get("filter")?.clone();
        if filter.to_string().len() > FILTER_BYTES_MAX {
            return self.wrong("filter", format!("must be at most {FILTER_BYTES_MAX} bytes"));
        }
        match Filter::compile(&filter) {
            Ok(_) => Some(filter),
            Err(reason) => self.wrong("filter", reason),
        }
    }

    fn headers(&mut self) -> Headers {
        let Some(given) = self.get("headers").cloned() else { return Headers::new() };
        let Some(given) = given.as_object().filter(|given| given.len() <= HEADERS_MAX) else {
            return self.wrong("headers", format!("must be an object of at most {HEADERS_MAX} names and texts"));
        };
        let mut headers = Headers::new();
        for (name, value) in given {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            let field = format!("headers.{shown}");
            match header_problem(name, value) {
                Some(problem) => self.note(&field, problem),
                None => {
                    headers.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
                }
            }
        }
        headers
    }

    fn rate(&mut self) -> Option<Number> {
        let rate = self.get("rate_per_second")?.as_number().cloned();
        let rate = rate.filter(|rate| rate.as_f64().is_some_and(|rate| RATES.contains(&rate)));
        rate.or_else(|| self.wrong("rate_per_second", "must be a number from 0.01 to 1000"))
    }

    fn retry_policy(&mut self) -> Option<RetryPolicy> {
        let policy = RetryPolicy::deserialize(self.get("retry_policy")?).ok();
        let policy = policy.filter(|policy| {
            let waits = &policy.schedule_seconds;
            waits.len() <= RETRIES_MAX && waits.iter().all(|wait| (1..=WAIT_SECONDS_MAX).contains(wait))
        });
        let form = "must be {\"schedule_seconds\": […]}: at most 20 waits of 1 to 86400 whole seconds";
        policy.or_else(|| self.wrong("retry_policy", form))
    }

    fn description(&mut self) -> Option<String> {
        let text = self.get("description")?.as_str().filter(|text| text.chars().count() <= DESCRIPTION_CHARS_MAX);
        let text = text.map(str::to_owned);
        text.or_else(|| {
            self.wrong("description", format!("must be text of at most {DESCRIPTION_CHARS_MAX} characters"))
        })
    }

    fn is_active(&mut self) -> Option<bool> {
        let active = self.get("is_active")?.as_bool();
        active.or_else(|| self.wrong("is_active", "must be true or false"))
    }

    fn secret(&mut self) -> Option<String> {
        let secret = self.get("secret")?.as_str().filter(|secret| crate::secrets::is_subscription_secret(secret));
        let secret = secret.map(str::to_owned);
        secret.or_else(|| {
            self.wrong("secret", "must be `whsec_` and 24 to 64 bytes in base64; leave it out to get a new one")
        })
    }
}

/// What is wrong with a header of one's own.
fn header_problem(name: &str, value: &Value) -> Option<String> {
    let name = match header_name(name) {
        Ok(name) => name,
        Err(problem) => return Some(problem.to_owned()),
    };
    if RESERVED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)) {
        return Some(RESERVED.to_owned());
    }
    let Some(value) = value.as_str() else { return Some("must be text".to_owned()) };
    (!is_header_value(value) || value.len() > HEADER_BYTES_MAX)
        .then(|| format!("must be at most {HEADER_BYTES_MAX} visible ASCII characters, without line ends"))
}

impl Config {
    /// Its own headers, ready to be sent; `None` where they aren't valid.
    pub(super) fn header_map(&self) -> Option<HeaderMap> {
        let header = |(name, value): (&String, &String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?))
        };
        self.headers.iter().map(header).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(fields: &Value) -> Vec<String> {
        let fields = fields.as_object().unwrap();
        check(fields, None, Reach::Public).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn with(name: &str, value: Value) -> Value {
        let mut fields = json!({"url": "https://example.com/hooks", "event_types": ["*"]});
        fields[name] = value;
        fields
    }

    #[test]
    fn a_subscription_has_what_the_contract_says() {
        let all = json!({"url": "https://example.com/hooks?a=1", "event_types": ["phone_number.*", "payment.recorded"],
            "filter": {"interaction.outcome": "sale"}, "headers": {"Authorization": "Bearer x", "X-Env": "prod"},
            "rate_per_second": 0.5, "retry_policy": {"schedule_seconds": [1, 86400]}, "description": "ours"});
        let (config, beside) = check(all.as_object().unwrap(), None, Reach::Public).unwrap();
        assert_eq!(beside, SubscriptionFields::default());
        assert_eq!(config.headers["X-Env"], "prod");
        // A change keeps what it doesn't name, and `null` takes away.
        let change = json!({"filter": null, "description": "theirs", "is_active": false});
        let (changed, beside) = check(change.as_object().unwrap(), Some(&config), Reach::Public).unwrap();
        assert_eq!(changed, Config { filter: None, description: Some("theirs".into()), ..config });
        assert_eq!(beside.is_active, Some(false));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let all =
            json!({"event_types": ["phone.created"], "filter": "data.[", "rate_per_second": "fast", "colour": "red"});
        let fields: Vec<_> = problems(&all).iter().map(|p| p.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(fields, ["colour", "url", "event_types[0]", "filter", "rate_per_second"]);
    }

    #[test]
    fn each_wrong_field_gets_a_reason() {
        let table = [
            ("url", json!(5), "must be text"),
            ("url", json!("http://example.com/"), "https"),
            ("event_types", json!([]), "1 to 50"),
            ("event_types", json!("*"), "must be a list"),
            ("event_types", json!(["phone_number.interaction"]), "no event type"),
            ("event_types", json!(["phone*"]), "no event type"),
            ("event_types", json!(["rocket.*"]), "no event type"),
            ("event_types", json!([7]), "must be text"),
            ("filter", json!([1]), "must be an object"),
            ("filter", json!({"a": "x".repeat(5000)}), "at most 4096 bytes"),
            ("headers", json!({"a b": "1"}), "no header's name"),
            ("headers", json!({"a\nb": "1"}), "no header's name"),
            ("headers", json!({"x-a": "1\r\nx-b: 2"}), "without line ends"),
            ("headers", json!({"x-a": "é"}), "visible ASCII"),
            ("headers", json!({"x-a": 1}), "must be text"),
            ("headers", json!({"Host": "evil.example.com"}), "reserved"),
            ("headers", json!({"Webhook-Id": "1"}), "reserved"),
            ("headers", json!({"X-Webhook-Signature": "1"}), "reserved"),
            ("headers", json!(["x-a"]), "must be an object"),
            ("rate_per_second", json!(0), "0.01 to 1000"),
            ("rate_per_second", json!(1e9), "0.01 to 1000"),
            ("retry_policy", json!({"schedule_seconds": [0]}), "1 to 86400"),
            ("retry_policy", json!({"schedule_seconds": [86_401]}), "1 to 86400"),
            ("retry_policy", json!({"schedule_seconds": vec![1; 21]}), "at most 20"),
            ("retry_policy", json!({"schedule": [1]}), "schedule_seconds"),
            ("description", json!("x".repeat(501)), "at most 500"),
            ("is_active", json!("yes"), "true or false"),
            ("secret", json!("hunter2"), "whsec_"),
            ("secret", json!("whsec_c2hvcnQ="), "24 to 64 bytes"),
        ];
        for (field, value, reason) in table {
            let said = problems(&with(field, value.clone()));
            assert!(said.len() == 1 && said[0].starts_with(field) && said[0].contains(reason), "{value}: {said:?}");
        }
        assert_eq!(problems(&with("headers", json!({"x-a": ""}))), [] as [String; 0]);
    }
}
