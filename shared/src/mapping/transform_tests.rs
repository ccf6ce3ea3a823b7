use super::*;
use serde_json::json;

fn run(spec: &Value, value: &Value) -> Result<Value, String> {
    let payload = json!({"first": "Ada", "last": " Lovelace ", "none": null, "currency": "kwd", "list": []});
    let source = Source::new(&payload);
    let context = Context { source: &source, region: &Region::default() };
    let transforms = Transform::compile_all(spec, Some(&json!("value"))).expect("a transform of the table");
    transforms.iter().try_fold(value.clone(), |value, transform| transform.apply(&value, &context))
}

/// Rows of a transform, a value, and what becomes of it, `null` for nothing.
fn check(rows: &[(Value, Value, Value)]) {
    for (spec, value, expected) in rows {
        let got = run(spec, value).unwrap_or_default();
        assert_eq!(got, *expected, "{spec} of {value}");
    }
}

#[test]
fn phone_and_duration() {
    let rows = json!([
        ["phone", "(415) 555-0132", "+14155550132"],
        ["phone", 4_155_550_132_u64, "+14155550132"],
        ["phone", "nobody", null],
        ["phone", ["+14155550132"], null],
        ["duration", "3:05", 185],
        [{"duration": "milliseconds"}, 185_000, 185],
        [{"duration": {"unit": "milliseconds"}}, 185_000, 185],
        [{"duration": {}}, 185, 185],
        ["duration", "soon", null],
    ]);
    check(&serde_json::from_value::<Vec<_>>(rows).expect("rows of three"));
}

#[test]
fn timestamps() {
    let rows = json!([
        ["timestamp", "2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z"],
        ["timestamp", "2024-01-15T10:30:00.250+02:00", "2024-01-15T08:30:00.25Z"],
        ["timestamp", "2024-01-15 10:30:00-05:00", "2024-01-15T15:30:00Z"],
        ["timestamp", 1_705_314_600, "2024-01-15T10:30:00Z"],
        ["timestamp", 1_705_314_600_250_u64, "2024-01-15T10:30:00.25Z"],
        ["timestamp", "1705314600", "2024-01-15T10:30:00Z"],
        ["timestamp", "1705314600.25", "2024-01-15T10:30:00.25Z"],
        ["timestamp", -1, "1969-12-31T23:59:59Z"],
        ["timestamp", "2024-01-15T10:30:00", null],
        ["timestamp", "2024-02-30T10:30:00Z", null],
        ["timestamp", "yesterday", null],
        ["timestamp", "", null],
        ["timestamp", u64::MAX, null],
        ["timestamp", 1e300, null],
        ["timestamp", "inf", null],
        ["timestamp", true, null],
    ]);
    check(&serde_json::from_value::<Vec<_>>(rows).expect("rows of three"));
}

#[test]
fn money_lookup_and_join() {
    let rows = json!([
        ["money", 4200, 4200],
        ["money", "42.00", 4200],
        [{"money": "major"}, 42, 4200],
        [{"money": {"unit": "major", "currency": "JPY"}}, 42, 42],
        [{"money": {"unit": "major", "currency_path": "currency"}}, "42", 42_000],
        [{"money": {"unit": "major", "currency": "JPY", "currency_path": "absent"}}, "42", 42],
        ["money", "a lot", null],
        [{"lookup": {"SALE": "sale", "1": "one", "true": "yes"}}, "SALE", "sale"],
        [{"lookup": {"SALE": "sale", "1": "one", "true": "yes"}}, " sale ", "sale"],
        [{"lookup": {"SALE": "sale", "1": "one", "true": "yes"}}, 1, "one"],
        [{"lookup": {"SALE": "sale", "1": "one", "true": "yes"}}, true, "yes"],
        [{"lookup": {"a": 1, "A": 2}}, "A", 2],
        [{"lookup": {"SALE": "sale"}}, "other", null],
        [{"lookup": {"SALE": "sale"}, "default": "other"}, "NEW", "other"],
        [{"lookup": {"SALE": "sale"}, "default": "other"}, {}, null],
        ["join", ["a", " ", "b", 3], "a b 3"],
        [{"join": ", "}, ["a", "b"], "a, b"],
        [{"join": {"paths": ["first", "none", "last"]}}, "ignored", "Ada Lovelace"],
        [{"join": {"paths": ["last", "first"], "separator": ", "}}, "ignored", "Lovelace, Ada"],
        [{"join": {"paths": ["absent"]}}, "ignored", null],
        ["join", [], null],
        ["join", "a", null],
        ["join", [["a"]], null],
    ]);
    check(&serde_json::from_value::<Vec<_>>(rows).expect("rows of three"));
}

#[test]
fn plain_types() {
    let rows = json!([
        ["lowercase", "ÀB", "àb"],
        ["uppercase", "usd", "USD"],
        ["trim", "  x ", "x"],
        ["trim", {}, null],
        ["integer", 7, 7],
        ["integer", 7.0, 7],
        ["integer", " -7 ", -7],
        ["integer", "7.0", 7],
        ["integer", 7.5, null],
        ["integer", "seven", null],
        ["integer", 1e300, null],
        ["number", 7.5, 7.5],
        ["number", "7.5", 7.5],
        ["number", "12", 12],
        ["number", "1e3", 1000.0],
        ["number", "inf", null],
        ["number", "1e999", null],
        ["boolean", true, true],
        ["boolean", "Yes", true],
        ["boolean", 0, false],
        ["boolean", "off", false],
        ["boolean", "maybe", null],
        ["string", 12, "12"],
        ["string", false, "false"],
        ["string", [], null],
        ["constant", "ignored", "value"],
        [{"constant": {"a": 1}}, "ignored", {"a": 1}],
        [["trim", "lowercase", {"lookup": {"yes": true}}, "string"], " YES ", "true"],
        [[], "x", "x"],
    ]);
    check(&serde_json::from_value::<Vec<_>>(rows).expect("rows of three"));
}

#[test]
fn text_is_bounded() {
    let (source, payload) = (json!({}), "é".repeat(TEXT_CHARS_MAX));
    let source = Source::new(&source);
    let context = Context { source: &source, region: &Region::default() };
    assert!(Transform::Text.apply(&json!(payload), &context).is_ok());
    assert!(Transform::Text.apply(&json!(payload + "é"), &context).is_err());
}

#[test]
fn faulty_transforms_are_refused_with_a_reason() {
    let table = [
        (json!("fone"), "there is no transform `fone`"),
        (json!("lookup"), "`lookup` needs its table: {\"lookup\": {…}}"),
        (json!({"lookup": []}), "the table of `lookup` is an object"),
        (json!({"money": "cents"}), "the unit of `money` is `major` or `minor`"),
        (json!({"money": {"currency": "usd"}}), "the currency of `money` is an ISO 4217 code in capitals"),
        (json!({"money": {"currency_path": 5}}), "the currency_path of `money` is a path or a list of paths"),
        (json!({"money": {"curency": "USD"}}), "`money` has no option `curency`"),
        (json!({"duration": "hours"}), "the unit of `duration` is `seconds` or `milliseconds`"),
        (json!({"join": 5}), "the separator of `join` is text"),
        (json!({"join": {"paths": 5}}), "the paths of `join` are a list of paths"),
        (json!({"trim": true}), "there is no transform `trim` with options"),
        (json!({"trim": 1, "lowercase": 1}), "a transform object has one name, and `default` beside `lookup`"),
        (json!({"constant": 1, "default": 2}), "only `lookup` takes a `default` here"),
        (json!(5), "a transform is a name or an object"),
        (json!([["trim"]]), "a transform is a name or an object"),
    ];
    for (spec, expected) in table {
        assert_eq!(Transform::compile_all(&spec, None).err().as_deref(), Some(expected), "{spec}");
    }
    assert!(Transform::compile_all(&json!("constant"), None).is_err());
    let large: Map<String, Value> = (0..=LOOKUP_ENTRIES_MAX).map(|i| (i.to_string(), json!(i))).collect();
    assert!(Transform::compile_all(&json!({"lookup": large}), None).is_err());
}
