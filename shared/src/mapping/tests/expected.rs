//! What each file of `events/` says, in our terms.

use serde_json::{Value, json};

/// What a sample is expected to say: record, action, key, time, rank, fields.
pub(super) type Expected = (&'static str, &'static str, &'static str, &'static str, u16, Value);

fn call_fields(rest: &Value) -> Value {
    let mut fields = json!({"phone_number": "+14155550132", "agent_name": "Sarah", "occurred_at": "2026-01-15T10:27:00Z",
        "metadata.sarah_call_id": "call_01HZX4T8K3"});
    merge(&mut fields, rest);
    fields
}

fn merge(fields: &mut Value, rest: &Value) {
    for (name, value) in rest.as_object().expect("an object") {
        fields[name] = value.clone();
    }
}

fn sarah_ai() -> Vec<(&'static str, Expected)> {
    let (call, key) = ("outbound_call", "call_01HZX4T8K3");
    vec![
        ("call_started", (call, "upsert", key, "2026-01-15T10:27:00Z", 1, call_fields(&json!({})))),
        (
            "call_transferred",
            (
                call,
                "upsert",
                key,
                "2026-01-15T10:29:10Z",
                2,
                call_fields(&json!({
                "metadata.transfers": {"to": "Maria Lindqvist (sales)", "at": "2026-01-15T10:29:10Z"}})),
            ),
        ),
        (
            "call_ended",
            (
                call,
                "upsert",
                key,
                "2026-01-15T10:30:00Z",
                3,
                call_fields(&json!({
                "duration_seconds": 180, "outcome": "interested", "metadata.call_quality_score": 0.94,
                "metadata.recording_url": "https://recordings.sarah-ai.example/call_01HZX4T8K3.mp3"})),
            ),
        ),
        (
            "recording_available",
            (
                call,
                "upsert",
                key,
                "2026-01-15T10:31:25Z",
                4,
                json!({
                "metadata.sarah_call_id": "call_01HZX4T8K3", "occurred_at": "2026-01-15T10:31:25Z",
                "metadata.recording_url": "https://recordings.sarah-ai.example/download/rec_01HZX4VJ5D.mp3"}),
            ),
        ),
        (
            "call_ended_other_spelling",
            (
                call,
                "upsert",
                "call_01HZX5BQ0F",
                "2026-01-15T10:05:40Z",
                3,
                json!({
                "phone_number": "+442079460958", "agent_name": "Sarah (UK)", "occurred_at": "2026-01-15T10:03:05Z",
                "duration_seconds": 155, "outcome": "callback_requested", "metadata.sarah_call_id": "call_01HZX5BQ0F",
                "metadata.call_quality_score": 0.81,
                "metadata.recording_url": "https://recordings.sarah-ai.example/download/rec_01HZX5C9WM.mp3"}),
            ),
        ),
    ]
}

fn payment(status: &str, id: &str, amount: u32, processor: &str, at: &str, rest: &Value) -> Value {
    let outcome = if status == "succeeded" { "payment_successful" } else { "payment_failed" };
    let mut fields = json!({"phone_number": "+14155550132", "outcome": outcome, "occurred_at": at,
        "payment.status": status, "payment.amount": amount, "payment.currency": "USD", "payment.processor": processor,
        "metadata.payment_id": id, "metadata.amount": amount, "metadata.currency": "USD", "metadata.processor": processor});
    if status == "succeeded" {
        fields["payment.paid_at"] = json!(at);
    }
    merge(&mut fields, rest);
    fields
}

fn payment_processor() -> Vec<(&'static str, Expected)> {
    let (kind, key, at) = ("payment_processed", "pay_cc_9001", "2026-01-15T10:41:08Z");
    let fields = |status, rest| payment(status, key, 4_200, "card_connect", at, &rest);
    let declined = json!({"metadata.failure_code": "insufficient_funds",
        "metadata.failure_message": "The card has insufficient funds."});
    vec![
        ("payment_failed", (kind, "upsert", key, "2026-01-15T10:41:10Z", 1, fields("failed", declined))),
        ("payment_succeeded", (kind, "upsert", key, "2026-01-15T10:43:02Z", 2, fields("succeeded", json!({})))),
        (
            "merchant_updated",
            (
                "merchant",
                "upsert",
                "mer_brightroof",
                "2026-01-15T12:00:05Z",
                0,
                json!({
                "name": "Bright Roof Solar LLC", "status": "active", "email": "billing@brightroof.example",
                "phone_number": "+14155550100", "country": "US", "currency": "USD", "updated_at": "2026-01-15T12:00:00Z",
                "metadata": {"mcc": "1711", "risk_tier": "standard"}}),
            ),
        ),
    ]
}

fn stripe() -> Vec<(&'static str, Expected)> {
    let (kind, key) = ("payment_processed", "pi_3QhXa2LkdIwHu7ix1pR0sVwE");
    let (made, failed, succeeded) = ("2026-01-15T10:40:00Z", "2026-01-15T10:40:04Z", "2026-01-15T10:41:35Z");
    let charged = "2026-01-15T10:41:34Z";
    let charge = "ch_3QhXa2LkdIwHu7ix1vT8mN2c";
    let fields = |status, at, rest| payment(status, key, 12_900, "stripe", at, &rest);
    let declined =
        |code| json!({"metadata.failure_code": code, "metadata.failure_message": "Your card has insufficient funds."});
    let mut declined_charge = declined("card_declined");
    declined_charge["payment.charge_id"] = json!("ch_3QhXa2LkdIwHu7ix1aDeClNd");
    let receipt =
        json!({"payment.charge_id": charge, "metadata.receipt_url": "https://pay.stripe.com/receipts/payment/EXAMPLE"});
    let refund = json!({"payment.charge_id": charge, "payment.refunded": 2_900});
    let intent_declined = fields("failed", made, declined("insufficient_funds"));
    vec![
        ("payment_intent_payment_failed", (kind, "upsert", key, failed, 1, intent_declined)),
        ("charge_failed", (kind, "upsert", key, failed, 1, fields("failed", "2026-01-15T10:40:03Z", declined_charge))),
        ("payment_intent_succeeded", (kind, "upsert", key, succeeded, 2, fields("succeeded", made, json!({})))),
        ("charge_succeeded", (kind, "upsert", key, succeeded, 2, fields("succeeded", charged, receipt))),
        ("charge_refunded", (kind, "upsert", key, "2026-01-16T10:40:00Z", 3, fields("succeeded", charged, refund))),
        (
            "account_updated",
            (
                "merchant",
                "upsert",
                "acct_1QhXzYLkdIwHu7ix",
                "2026-01-15T10:50:00Z",
                0,
                json!({
                "name": "Bright Roof Solar", "status": "active", "email": "owner@brightroof.example",
                "phone_number": "+14155550100", "country": "US", "currency": "USD", "updated_at": "2026-01-15T10:50:00Z",
                "metadata.payouts_enabled": true, "metadata.details_submitted": true}),
            ),
        ),
    ]
}

fn external_crm() -> Vec<(&'static str, Expected)> {
    let company = |employees: u32, at: &str| {
        json!({"name": "Whitfield Dental", "domain": "whitfield-dental.example",
        "phone_number": "+14155550145", "custom_fields": {"industry": "healthcare", "employees": employees}, "updated_at": at})
    };
    let contact = |custom_fields: Value, at: &str| {
        json!({"first_name": "Dana", "last_name": "Whitfield",
        "phone_number": "+14155550132", "email": "dana.whitfield@example.com", "company_id": "crm_co_311",
        "company_name": "Whitfield Dental", "custom_fields": custom_fields, "updated_at": at})
    };
    let nine = "2026-01-15T09:00:00Z";
    let referral = json!({"lead_source": "referral"});
    let scored = json!({"lead_source": "referral", "score": 87});
    vec![
        ("company_created", ("company", "upsert", "crm_co_311", "2026-01-15T09:00:01Z", 0, company(14, nine))),
        (
            "company_updated",
            ("company", "upsert", "crm_co_311", "2026-01-15T15:00:01Z", 0, company(15, "2026-01-15T15:00:00Z")),
        ),
        (
            "contact_created",
            ("contact", "upsert", "crm_ct_204", "2026-01-15T09:05:01Z", 0, contact(referral, "2026-01-15T09:05:00Z")),
        ),
        (
            "contact_updated",
            ("contact", "upsert", "crm_ct_204", "2026-01-15T16:20:01Z", 0, contact(scored, "2026-01-15T16:20:00Z")),
        ),
        (
            "contact_deleted",
            (
                "contact",
                "delete",
                "crm_ct_198",
                "2026-01-15T17:00:01Z",
                0,
                json!({"updated_at": "2026-01-15T17:00:00Z"}),
            ),
        ),
        (
            "interaction_created",
            (
                "meeting",
                "upsert",
                "crm_act_881",
                "2026-01-15T17:30:01Z",
                0,
                json!({
                "phone_number": "+14155550132", "outcome": "appointment_set", "duration_seconds": 2_700,
                "agent_name": "Maria Lindqvist", "occurred_at": "2026-01-15T17:30:00Z", "updated_at": "2026-01-15T17:30:00Z",
                "metadata.external_id": "crm_act_881", "metadata.notes": "Walked the roof, measured the south side."}),
            ),
        ),
    ]
}

fn helpdesk() -> Vec<(&'static str, Expected)> {
    let ticket = |rest: &Value| {
        let mut fields = json!({"phone_number": "+14155550132", "metadata.ticket_id": 5511});
        merge(&mut fields, rest);
        fields
    };
    vec![
        (
            "ticket_created",
            (
                "support_ticket",
                "upsert",
                "5511",
                "2026-01-15T18:00:00Z",
                1,
                ticket(&json!({
                "outcome": "open", "metadata.subject": "Invoice shows the wrong address", "metadata.priority": "high",
                "metadata.requester": "Dana Whitfield"})),
            ),
        ),
        (
            "ticket_closed",
            (
                "support_ticket",
                "upsert",
                "5511",
                "2026-01-15T18:42:30Z",
                2,
                ticket(&json!({
                "outcome": "resolved", "duration_seconds": 2_550, "agent_name": "Tomás Rivera", "metadata.satisfaction": 5})),
            ),
        ),
    ]
}

/// Every sample but GitHub's, by its path in `events/`.
pub(super) fn table() -> Vec<(String, Expected)> {
    let systems = [
        ("sarah_ai", sarah_ai()),
        ("payment_processor", payment_processor()),
        ("stripe", stripe()),
        ("external_crm", external_crm()),
        ("helpdesk", helpdesk()),
    ];
    let path = |system: &str, name: &str| format!("{system}/{name}.json");
    let rows = systems.into_iter().flat_map(|(system, rows)| rows.into_iter().map(move |row| (system, row)));
    rows.map(|(system, (name, expected))| (path(system, name), expected)).collect()
}
