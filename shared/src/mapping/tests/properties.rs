//! What holds for any payload and any rule.

use super::*;

/// Words that occur in rules and payloads, so that random ones meet.
const WORDS: [&str; 24] = [
    "call",
    "id",
    "data",
    "object",
    "type",
    "event_type",
    "call.ended",
    "payment.succeeded",
    "charge.refunded",
    "destination_number",
    "+14155550132",
    "metadata",
    "customer_phone",
    "amount",
    "currency",
    "usd",
    "contact",
    "contact.created",
    "interaction.created",
    "duration",
    "3:05",
    "timestamp",
    "2026-01-15T10:30:00Z",
    "account.updated",
];

fn any_json() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(WORDS.as_slice());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let key = prop_oneof![4 => word().prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Mostly well-formed paths, transforms and validators, with some that are not.
fn any_field() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        4 => prop::sample::select(WORDS.as_slice()).prop_map(str::to_owned),
        2 => "[a-z]{1,4}(\\.[a-z]{1,4}|\\[-?[0-9]{1,11}\\]){0,4}",
        2 => "[\\[\\]a-z.*?@|&'`(){}:, 0-9!<>=-]{0,40}",
        1 => any::<String>(),
    ];
    let transform = prop_oneof![
        prop::sample::select(
            &[
                "phone",
                "duration",
                "timestamp",
                "money",
                "lowercase",
                "uppercase",
                "trim",
                "integer",
                "number",
                "boolean",
                "string",
                "join",
                "constant",
                "nonsense",
            ][..]
        )
        .prop_map(Value::from),
        any_json().prop_map(|table| json!({"lookup": table})),
        any_json().prop_map(|options| json!({"money": options})),
        any_json(),
    ];
    let validate = prop_oneof![
        prop::sample::select(&["e164", "email", "url", "currency", "nonsense"][..]).prop_map(Value::from),
        "[a-z(){}*+?|\\[\\]^$.0-9,]{0,20}".prop_map(|pattern| json!({"pattern": pattern})),
        any_json(),
    ];
    (path, prop::option::of(transform), prop::option::of(validate)).prop_map(|(path, transform, validate)| {
        let mut field = json!({"path": path});
        for (name, part) in [("transform", transform), ("validate", validate)] {
            if let Some(part) = part {
                field[name] = part;
            }
        }
        field
    })
}

fn any_rule() -> impl Strategy<Value = Value> {
    let fields =
        ["phone_number", "duration_seconds", "outcome", "metadata.x", "payment.amount", "payment.currency", "nonsense"];
    let fields = prop::collection::btree_map(prop::sample::select(fields.to_vec()), any_field(), 0..5);
    (fields, any_field()).prop_map(|(fields, head)| {
        json!({"key": head["path"], "occurred_at": head["path"],
            "events": {"*": {"interaction_type": "x", "without_phone": "wait", "fields": fields}}})
    })
}

proptest! {
    #[test]
    fn built_in_rules_take_any_payload(payload in any_json()) {
        for system_id in BUILTIN_SYSTEMS {
            let rule = builtin_rule(system_id);
            let _ = rule.event_id(&payload);
            let _ = map(&rule, &payload);
            for event_type in WORDS {
                let _ = rule.map(Some(event_type), &payload, &Region::default());
            }
        }
    }

    #[test]
    fn any_rule_is_compiled_or_refused_and_maps_any_payload(
        rule in prop_oneof![4 => any_rule(), 1 => any_json()],
        payload in any_json(),
    ) {
        let _ = preview(&rule, &payload, &Region::default());
        if let Ok(rule) = parse_rule(&rule).and_then(|rule| rule.compile()) {
            let _ = map(&rule, &payload);
            if let Some(record) = payload.as_object() {
                let _ = rule.outward("*", record, Nulls::Skip);
            }
        }
    }

    #[test]
    fn what_is_mapped_outward_maps_in_again(
        number in 1_000_000_u64..9_999_999,
        seconds in 0_u64..1_000_000,
        amount in any::<i32>(),
        currency in prop::sample::select(&["USD", "JPY", "KWD"][..]),
        outcome in prop::sample::select(&["interested", "no_answer"][..]),
        seen in -10_000_000_000_i64..10_000_000_000,
        flag in any::<bool>(),
        name in "[a-z]{1,20}",
    ) {
        let rule = compiled(&json!({"events": {"*": {"interaction_type": "x", "fields": {
            "phone_number": {"path": "a.phone", "transform": "phone"},
            "duration_seconds": {"path": "a.ms", "transform": {"duration": {"unit": "milliseconds"}}},
            "outcome": {"path": "a.b[1].c", "transform": {"lookup": {"INTERESTED": "interested", "NO": "no_answer"}}},
            "occurred_at": {"path": "at", "transform": "timestamp"},
            "payment.amount": {"path": "paid", "transform": {"money": {"unit": "major", "currency_path": "currency"}}},
            "payment.currency": {"path": "currency"},
            "agent_name": {"path": ["agent | [0]", "agent.name"], "transform": ["trim", "lowercase"]},
            "metadata.flag": {"path": "a.b[0]", "transform": "boolean"}}}}}));
        let record = json!({"phone_number": format!("+1415{number}"), "duration_seconds": seconds, "outcome": outcome,
            "occurred_at": jiff::Timestamp::from_second(seen).expect("in range").to_string(),
            "payment": {"amount": amount, "currency": currency}, "agent_name": name, "metadata": {"flag": flag}});
        let outward = rule.outward("*", record.as_object().expect("an object"), Nulls::Skip).expect("the event is named");
        prop_assert!(outward.left_out.is_empty(), "{:?}", outward.left_out);
        let again = mapped(map(&rule, &outward.value));
        let mut nested = Map::new();
        for (field, value) in values(&again) {
            match field.split_once('.') {
                Some((bag, inner)) => nested.entry(bag).or_insert_with(|| json!({}))[inner] = value,
                None => drop(nested.insert(field.to_owned(), value)),
            }
        }
        prop_assert_eq!(Value::Object(nested), record);
    }
}
