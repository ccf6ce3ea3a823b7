//! Money: amounts in minor units, and the currencies of ISO 4217 with their exponents.

use serde_json::Value;

/// The active alphabetic codes of ISO 4217 for currencies and funds, without metals, bonds and test codes.
const CODES: &str = "\
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF \
    CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD \
    GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP \
    LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB \
    PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB \
    TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER \
    ZAR ZMW ZWG";

/// Whether this is an ISO 4217 code, in capitals.
pub(super) fn is_currency(code: &str) -> bool {
    code.len() == 3 && CODES.split(' ').any(|known| known == code)
}

/// How many decimal digits of a currency's major unit its minor unit has, by ISO 4217; 2 for unknown ones.
pub(super) fn exponent(code: &str) -> u32 {
    match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// In which unit an amount is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Integers are minor units, what has a decimal point is major units.
    ByForm,
    Major,
    Minor,
}

impl Unit {
    /// Reads the unit's name in a rule.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "major" => Some(Self::Major),
            "minor" => Some(Self::Minor),
            _ => None,
        }
    }
}

/// The amount in minor units of a currency with this exponent, rounded to the nearest, halves away from zero.
/// `None` for what is no amount, or doesn't fit 63 bits.
pub(super) fn minor_units(value: &Value, unit: Unit, exponent: u32) -> Option<i64> {
    let text = match value {
        Value::Number(number) if number.is_f64() => {
            // `Display` of a float, unlike that of a JSON number, has no exponent; a whole one keeps its point here.
            let float = number.as_f64()?;
            if float.fract() == 0.0 { format!("{float:.1}") } else { float.to_string() }
        }
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let is_major = match unit {
        Unit::Major => true,
        Unit::Minor => false,
        Unit::ByForm => text.contains('.'),
    };
    scaled(&text, if is_major { exponent } else { 0 })
}

/// A decimal times ten to the `exponent`, as an integer.
fn scaled(text: &str, exponent: u32) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let exponent = usize::try_from(exponent).ok()?;
    let (kept, cut) = fraction.split_at(exponent.min(fraction.len()));
    let amount: i64 = format!("{whole}{kept:0<exponent$}").parse().ok()?;
    let rounded = amount.checked_add(i64::from(cut.starts_with(['5', '6', '7', '8', '9'])))?;
    Some(if negative { -rounded } else { rounded })
}

/// The reverse of [`minor_units`] for major units: a decimal with all digits of the currency, e.g. `12.50`.
pub(super) fn major_units(amount: i64, exponent: u32) -> String {
    let factor = 10_u64.pow(exponent);
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    if exponent == 0 {
        return format!("{sign}{amount}");
    }
    let width = usize::try_from(exponent).unwrap_or_default();
    format!("{sign}{}.{:0width$}", amount / factor, amount % factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_in_every_form() {
        let table = [
            (json!(4200), Unit::ByForm, "USD", Some(4_200)),
            (json!("4200"), Unit::ByForm, "USD", Some(4_200)),
            (json!("42.00"), Unit::ByForm, "USD", Some(4_200)),
            (json!(42.5), Unit::ByForm, "USD", Some(4_250)),
            (json!(42.0), Unit::ByForm, "USD", Some(4_200)),
            (json!(19.99), Unit::ByForm, "USD", Some(1_999)),
            (json!(0.1), Unit::ByForm, "USD", Some(10)),
            (json!("-3.5"), Unit::ByForm, "USD", Some(-350)),
            (json!(" 1.005 "), Unit::ByForm, "USD", Some(101)),
            (json!(19.990_000_000_000_002), Unit::ByForm, "USD", Some(1_999)),
            (json!("1.5"), Unit::ByForm, "JPY", Some(2)),
            (json!("1.2345"), Unit::ByForm, "KWD", Some(1_235)),
            (json!("1.23456"), Unit::ByForm, "CLF", Some(12_346)),
            (json!(42), Unit::Major, "USD", Some(4_200)),
            (json!("42"), Unit::Major, "JPY", Some(42)),
            (json!("42"), Unit::Major, "KWD", Some(42_000)),
            (json!(42.4), Unit::Minor, "USD", Some(42)),
            (json!(1e20), Unit::Major, "USD", None),
            (json!(u64::MAX), Unit::Minor, "USD", None),
            (json!("92233720368547758.08"), Unit::Major, "USD", None),
            (json!("$42"), Unit::ByForm, "USD", None),
            (json!("1,234.50"), Unit::ByForm, "USD", None),
            (json!("1e3"), Unit::ByForm, "USD", None),
            (json!("."), Unit::ByForm, "USD", None),
            (json!("5."), Unit::ByForm, "USD", None),
            (json!(""), Unit::ByForm, "USD", None),
            (json!(true), Unit::ByForm, "USD", None),
        ];
        for (value, unit, currency, expected) in table {
            assert_eq!(minor_units(&value, unit, exponent(currency)), expected, "{value} {unit:?} {currency}");
        }
    }

    #[test]
    fn major_units_are_written_with_all_digits() {
        let table =
            [(1_250, "USD", "12.50"), (5, "USD", "0.05"), (-5, "USD", "-0.05"), (7, "JPY", "7"), (1, "KWD", "0.001")];
        for (amount, currency, expected) in table {
            let written = major_units(amount, exponent(currency));
            assert_eq!(written, expected);
            assert_eq!(minor_units(&json!(written), Unit::Major, exponent(currency)), Some(amount));
        }
        assert_eq!(major_units(i64::MIN, 2), "-92233720368547758.08");
    }

    #[test]
    fn currencies_are_those_of_iso_4217() {
        assert!(["USD", "EUR", "JPY", "KWD", "ZWG"].into_iter().all(is_currency));
        assert!(!["usd", "US", "USDX", "XXX", "", "D E"].into_iter().any(is_currency));
    }
}
