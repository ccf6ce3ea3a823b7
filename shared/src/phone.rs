//! Phone numbers: from whatever a system wrote to E.164, by libphonenumber's rules for the tenant's region and then
//! by the fall-backs of the original description.
//!
//! The port of libphonenumber is `rlibphonenumber` with `regex-lite`, the better one for a cold start. Measured on
//! one process each, built with `opt-level = "z"` and fat LTO:
//!
//! | | first parse | later parse | resident | binary |
//! | --- | --- | --- | --- | --- |
//! | `rlibphonenumber`, `regex-lite` (both at `opt-level = 3`) | 3–4 ms | 7 µs | +4.7 MB | +0.5 MB |
//! | `rlibphonenumber`, `regex` | 11–12 ms | 1.1 µs | +8.3 MB | +1.6 MB |
//! | `phonenumber` | 89–129 ms | 7–13 µs | +7.1 MB | +2.4 MB |
//!
//! A plainly written North American number doesn't need the library at all (see `plain_nanp`), so most processes
//! never pay for loading its metadata.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// libphonenumber's own bound on what it reads (`MAX_INPUT_STRING_LENGTH`), in characters.
const RAW_CHARS_MAX: usize = 250;
/// Text with fewer digits, or keypad letters standing for digits, is not a phone number (contract §3).
const DIGITS_MIN: usize = 7;
/// E.164 allows 15 digits, country code included.
const DIGITS_MAX: usize = 15;

/// The 249 assigned codes of ISO 3166-1, and XK, which libphonenumber uses for Kosovo.
const REGIONS: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY \
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK \
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR \
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK \
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM \
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF \
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// A phone number in E.164 form: `+`, a digit from 1 to 9, then 6 to 14 digits.
///
/// `Debug` shows it masked, so that a number doesn't reach a log by accident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct E164(String);

impl E164 {
    /// The number as text, e.g. `+14155550132`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number for logs: all but the first and the last three digits hidden, e.g. `+1•••••••132`.
    #[must_use]
    pub fn masked(&self) -> String {
        let last = self.0.len() - 3;
        self.0.char_indices().map(|(at, c)| if (2..last).contains(&at) { '•' } else { c }).collect()
    }
}

impl JsonSchema for E164 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "E164".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^\+[1-9][0-9]{6,14}$", "description": "A phone number in E.164 form."})
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E164({})", self.masked())
    }
}

impl TryFrom<String> for E164 {
    type Error = PhoneError;

    /// Takes text that is E.164 already; nothing is added or removed.
    fn try_from(text: String) -> Result<Self, PhoneError> {
        let digits = text.strip_prefix('+').ok_or(PhoneError::NotANumber)?;
        let well_formed = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if well_formed { Ok(Self(text)) } else { Err(PhoneError::NotANumber) }
    }
}

impl FromStr for E164 {
    type Err = PhoneError;

    fn from_str(text: &str) -> Result<Self, PhoneError> {
        text.to_owned().try_into()
    }
}

impl From<E164> for String {
    fn from(number: E164) -> Self {
        number.0
    }
}

/// A country or territory by its ISO 3166-1 alpha-2 code, in whose form numbers without a country code are read.
/// The default is `US`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Region(&'static str);

impl JsonSchema for Region {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Region".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = REGIONS.split_whitespace().collect();
        json_schema!({"enum": codes, "description": "The ISO 3166-1 code of a country, such as US."})
    }
}

// Not derived: the derive would take the `'static` of the field for a borrow from the input.
impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Region {
    /// The code in capitals, e.g. `GB`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Default for Region {
    fn default() -> Self {
        Self("US")
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({self})")
    }
}

impl FromStr for Region {
    type Err = PhoneError;

    fn from_str(code: &str) -> Result<Self, PhoneError> {
        REGIONS.split(' ').find(|region| *region == code).map(Self).ok_or(PhoneError::UnknownRegion)
    }
}

impl TryFrom<String> for Region {
    type Error = PhoneError;

    fn try_from(code: String) -> Result<Self, PhoneError> {
        code.parse()
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.as_str().to_owned()
    }
}

/// Why text is not taken as a phone number, or a code not as a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Longer than 250 characters.
    #[error("is too long for a phone number; send at most 250 characters")]
    TooLong,
    /// Fewer than 7 digits.
    #[error("has too few digits for a phone number; send at least 7, best as +, country code and number")]
    TooShort,
    /// Neither libphonenumber nor the fall-backs make an E.164 number of it.
    #[error("is not a phone number; send +, country code and number, 7 to 15 digits in all")]
    NotANumber,
    /// Not an assigned code in capitals.
    #[error("is not an ISO 3166 country code of two capital letters, such as US or GB")]
    UnknownRegion,
}

/// Reads a phone number that someone wrote in some form.
///
/// What libphonenumber takes as a valid number, read in `region` where it names no country, is formatted as E.164.
/// The rest goes by the fall-backs of contract §3: with a leading `+` the digits as they are; 10 digits get `+1`;
/// 11 digits with a leading 1 get `+`; one leading 0 is dropped; else `+` and the digits.
///
/// # Errors
/// When the text has more than 250 characters or fewer than 7 digits, or when what comes out is not E.164.
pub fn parse(raw: &str, region: &Region) -> Result<E164, PhoneError> {
    if raw.len() > RAW_CHARS_MAX && raw.chars().nth(RAW_CHARS_MAX).is_some() {
        return Err(PhoneError::TooLong);
    }
    let raw = raw.trim();
    // Letters count, because they stand for digits in numbers such as 1-800-FLOWERS.
    if raw.chars().filter(|c| c.is_alphanumeric()).count() < DIGITS_MIN {
        return Err(PhoneError::TooShort);
    }
    if let Some(number) = plain_nanp(raw, *region) {
        return Ok(number);
    }
    by_library(raw, *region).or_else(|| by_fallback(raw)).ok_or(PhoneError::NotANumber)
}

/// The number, if it is a North American one written with nothing but digits, spaces, dots, hyphens, parentheses
/// and a leading `+`.
///
/// libphonenumber and the fall-backs agree on those, whether the number is in service or not: +1 and the ten digits.
/// No national prefix is stripped, because the ten digits begin with 2 to 9 and that prefix is 1.
fn plain_nanp(raw: &str, region: Region) -> Option<E164> {
    let (international, rest) = match raw.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, raw),
    };
    let mut number = String::with_capacity(12);
    number.push_str("+1");
    let mut digits = rest.bytes().filter(|b| !matches!(b, b' ' | b'.' | b'-' | b'(' | b')')).peekable();
    let has_country_code = digits.next_if_eq(&b'1').is_some();
    let at_home = matches!(region.as_str(), "US" | "CA");
    if international && !has_country_code || !international && !at_home {
        return None;
    }
    for digit in digits {
        if !digit.is_ascii_digit() || number.len() == 12 {
            return None;
        }
        number.push(char::from(digit));
    }
    let complete = number.len() == 12 && matches!(number.as_bytes(), [_, _, b'2'..=b'9', ..]);
    complete.then_some(E164(number))
}

fn by_library(raw: &str, region: Region) -> Option<E164> {
    let region = rlibphonenumber::Region::from_code(region.as_str()).ok();
    let number = PHONE_NUMBER_UTIL.parse(raw, region).ok()?;
    if !PHONE_NUMBER_UTIL.is_valid_number(&number) {
        return None;
    }
    PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).parse().ok()
}

fn by_fallback(raw: &str) -> Option<E164> {
    let digits = PHONE_NUMBER_UTIL.normalize_digits_only(raw);
    let digits: &str = digits.as_ref();
    let number = if raw.starts_with(['+', '＋']) {
        format!("+{digits}")
    } else if digits.len() == 10 {
        format!("+1{digits}")
    } else {
        format!("+{}", digits.strip_prefix('0').unwrap_or(digits))
    };
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region(code: &str) -> Region {
        code.parse().expect("a region of the test")
    }

    #[test]
    fn numbers_are_read_by_region_and_then_by_the_fall_backs() {
        let table = [
            // By libphonenumber.
            ("(415) 555-2671", "US", Ok("+14155552671")),
            ("(415) 555-2671", "GB", Ok("+14155552671")), // not a British number, so ten digits get +1
            ("+1 (415) 555-2671 ext. 5", "US", Ok("+14155552671")),
            ("1-800-FLOWERS", "US", Ok("+18003569377")),
            ("tel:+1-415-555-2671", "US", Ok("+14155552671")),
            ("020 7946 0958", "GB", Ok("+442079460958")),
            ("+44 (0)20 7946 0958", "US", Ok("+442079460958")),
            ("0044 20 7946 0958", "DE", Ok("+442079460958")),
            ("011 44 20 7946 0958", "US", Ok("+442079460958")),
            ("030 123456", "DE", Ok("+4930123456")),
            ("٠٢٠٧٩٤٦٠٩٥٨", "GB", Ok("+442079460958")),
            ("+390612345678", "US", Ok("+390612345678")),
            ("06 1234 5678", "IT", Ok("+390612345678")),
            // By the fall-backs.
            ("+12345678900", "US", Ok("+12345678900")),
            ("+1234567890", "US", Ok("+1234567890")),
            ("1555000000", "US", Ok("+11555000000")),
            ("15550000000", "GB", Ok("+15550000000")),
            ("0999999999999", "US", Ok("+999999999999")),
            ("999 9999 999 999", "US", Ok("+9999999999999")),
            // Refused.
            ("0044 20 7946 0958", "US", Err(PhoneError::NotANumber)),
            ("+0441234567890", "US", Err(PhoneError::NotANumber)),
            ("+1234567890123456", "US", Err(PhoneError::NotANumber)),
            ("not a phone number", "US", Err(PhoneError::NotANumber)),
            ("911", "US", Err(PhoneError::TooShort)),
            ("+123456", "US", Err(PhoneError::TooShort)),
            ("", "US", Err(PhoneError::TooShort)),
        ];
        for (raw, code, expected) in table {
            let got = parse(raw, &region(code));
            assert_eq!(got.as_ref().map(E164::as_str).map_err(|e| *e), expected, "{raw} in {code}");
        }
        assert_eq!(parse(&"4155550132 ".repeat(23), &Region::default()), Err(PhoneError::TooLong));
    }

    #[test]
    fn e164_is_checked_and_masked() {
        let number: E164 = "+12345678900".parse().expect("well formed");
        assert_eq!(number.masked(), "+1•••••••900");
        assert_eq!(format!("{number:?} {number}"), "E164(+1•••••••900) +12345678900");
        for bad in ["", "+", "12345678900", "+0123456789", "+123456", "+1234567890123456", "+1 415 555", "+١٢٣٤٥٦٧٨"]
        {
            assert_eq!(bad.parse::<E164>(), Err(PhoneError::NotANumber), "{bad}");
        }
        assert!(serde_json::from_str::<E164>("\"+0123456789\"").is_err());
    }

    #[test]
    fn a_region_is_an_assigned_code_in_capitals() {
        assert_eq!(region("GB").as_str(), "GB");
        assert_eq!(Region::default().as_str(), "US");
        for bad in ["", "UK", "us", "USA", "001", "ZZ", "É"] {
            assert_eq!(bad.parse::<Region>(), Err(PhoneError::UnknownRegion), "{bad}");
        }
    }

    fn any_region() -> impl Strategy<Value = Region> {
        prop::sample::select(vec!["US", "CA", "GB", "DE", "IT", "AG", "JP", "AQ"]).prop_map(region)
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_what_comes_out_is_e164(
            raw in prop_oneof![any::<String>(), "[+＋0-9٠-٩ ()./;=x#~*a-zA-Z-]{0,40}"],
            region in any_region(),
        ) {
            if let Ok(number) = parse(&raw, &region) {
                prop_assert_eq!(number.as_str().parse::<E164>(), Ok(number.clone()));
                prop_assert_eq!(parse(number.as_str(), &region).is_ok(), true);
            }
        }

        #[test]
        fn the_short_way_gives_what_the_long_way_gives(
            raw in "\\+?[ (.-]{0,2}1?[ (.-]{0,2}[2-9][0-9]{2}[ ).-]{0,2}[0-9]{3}[ .-]{0,2}[0-9]{4}[ )]{0,1}",
            region in any_region(),
        ) {
            let raw = raw.trim();
            if let Some(number) = plain_nanp(raw, region) {
                prop_assert_eq!(by_library(raw, region).or_else(|| by_fallback(raw)), Some(number));
            }
        }
    }
}
