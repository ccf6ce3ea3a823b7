//! Answers that say nothing, something else, or too much: what each means.

use super::*;

/// What an outcome is held for: its code, then `r`etryable, `s`ystemic, in `d`oubt, `g`one.
fn judged(outcome: &Result<Written, CallError>) -> String {
    let Err(error) = outcome else { return "ok".to_owned() };
    let flags =
        [(error.is_retryable(), 'r'), (error.is_systemic(), 's'), (error.is_in_doubt(), 'd'), (error.is_gone(), 'g')];
    let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect();
    format!("{} {flags}", error.code()).trim_end().to_owned()
}

async fn each(answered: Answered) -> [String; 3] {
    let outbound = generic(&json!({}));
    let crm = Crm::answering(answered);
    let outgoing = [create("con_1", json!({})), update("con_1", "7", json!({})), delete("con_1", "7")];
    let outcomes = crm.sync(&outbound, &outgoing).await;
    assert_eq!(crm.calls().len(), 3, "one try each");
    [judged(&outcomes[0]), judged(&outcomes[1]), judged(&outcomes[2])]
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_its_meaning() {
    let html = "<!DOCTYPE html><html><body>Sign in</body></html>";
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    // The answer, and what it makes of a create, an update and a delete.
    let table = [
        (answer(201, &json!({"id": "7"})), ["ok", "ok", "ok"]),
        (answer(200, &json!({"id": 7, "error": null, "errors": [], "success": true})), ["ok", "ok", "ok"]),
        (reply(200, "\u{feff}{\"id\": \"7\"}"), ["ok", "ok", "ok"]),
        (reply(204, ""), ["unusable_answer rsd", "ok", "ok"]),
        (reply(200, " \n"), ["unusable_answer rsd", "ok", "ok"]),
        (answer(200, &json!({"ok": true})), ["unusable_answer rsd", "ok", "ok"]),
        (reply(200, html), ["unusable_answer rsd"; 3]),
        (reply(200, "OK"), ["unusable_answer rsd"; 3]),
        (reply(200, "{\"id\": \"7\""), ["unusable_answer rsd"; 3]),
        (reply(200, vec![0xff, 0xfe, 0x7b]), ["unusable_answer rsd"; 3]),
        (reply(200, deep), ["unusable_answer rsd"; 3]),
        (answer(200, &json!({"success": false})), ["error_inside rd"; 3]),
        (answer(200, &json!({"success": false, "id": "7"})), ["error_inside rd"; 3]),
        (answer(200, &json!({"error": "no"})), ["error_inside rd"; 3]),
        (answer(200, &json!({"error": {"code": 5}})), ["error_inside rd"; 3]),
        (answer(200, &json!({"errors": [{"message": "no"}]})), ["error_inside rd"; 3]),
        (answer(200, &json!({"status": "error"})), ["error_inside rd"; 3]),
        // Beside an id, it is a remark.
        (answer(200, &json!({"id": "7", "errors": ["the phone was not checked"]})), ["ok", "ok", "ok"]),
        (answer(200, &json!({"id": null})), ["unusable_answer rsd", "ok", "ok"]),
        (answer(200, &json!({"id": ""})), ["unusable_answer rsd", "unusable_answer rsd", "ok"]),
        (answer(200, &json!({"id": {"a": 1}})), ["unusable_answer rsd", "unusable_answer rsd", "ok"]),
        (answer(200, &json!({"id": ".."})), ["unusable_answer rsd", "unusable_answer rsd", "ok"]),
        (answer(200, &json!({"id": "x".repeat(300)})), ["unusable_answer rsd", "unusable_answer rsd", "ok"]),
        (answer(200, &json!([{"id": "7"}])), ["unusable_answer rsd", "unusable_answer rsd", "ok"]),
        (answer(200, &json!("7")), ["unusable_answer rsd", "unusable_answer rsd", "ok"]),
        (answer(200, &json!({"id": "8"})), ["ok", "another_record d", "ok"]),
        (reply(302, ""), ["unusable_answer rs"; 3]),
        (reply(304, ""), ["unusable_answer rs"; 3]),
        (reply(999, ""), ["unusable_answer rs"; 3]),
        (answer(400, &json!({})), ["invalid_record"; 3]),
        (reply(401, html), ["unauthorized s"; 3]),
        (answer(402, &json!({})), ["refused"; 3]),
        (answer(403, &json!({})), ["forbidden"; 3]),
        (answer(404, &json!({})), ["refused", "record_gone g", "record_gone g"]),
        (answer(410, &json!({})), ["refused", "record_gone g", "record_gone g"]),
        (answer(409, &json!({})), ["conflict"; 3]),
        (answer(422, &json!({})), ["invalid_record"; 3]),
        (answer(408, &json!({})), ["try_later rs"; 3]),
        (answer(423, &json!({})), ["try_later rs"; 3]),
        (answer(425, &json!({})), ["try_later rs"; 3]),
        (answer(429, &json!({})), ["try_later rs"; 3]),
        (answer(477, &json!({})), ["try_later rs"; 3]),
        (answer(500, &json!({})), ["server_error rsd"; 3]),
        (reply(503, html), ["server_error rsd"; 3]),
        (Err(SendError::TimedOut(Duration::from_secs(10))), ["timed_out rsd"; 3]),
        (Err(SendError::ConnectionClosed), ["connection_closed rsd"; 3]),
        (Err(SendError::NotHttp), ["not_http rsd"; 3]),
        (Err(SendError::TooLarge(1_048_576)), ["answer_too_large rsd"; 3]),
        (Err(SendError::ConnectionFailed), ["connection_failed rs"; 3]),
        (Err(SendError::NameNotFound), ["name_not_found rs"; 3]),
        (Err(SendError::AddressRefused), ["address_refused rs"; 3]),
        (Err(SendError::TlsFailed), ["tls_failed rs"; 3]),
        (Err(SendError::NotBuildable), ["not_buildable"; 3]),
    ];
    for (answered, expected) in table {
        assert_eq!(each(answered.clone()).await, expected, "{answered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_passed_on() {
    let mut waiting = reply(429, "").unwrap();
    waiting.retry_after = Some(Duration::from_secs(30));
    let outcomes = Crm::answering(Ok(waiting)).sync(&generic(&json!({})), &[delete("con_1", "7")]).await;
    assert_eq!(outcomes[0].as_ref().unwrap_err().retry_after(), Some(Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn a_sentence_says_what_to_do_and_keeps_secrets() {
    let long = "x".repeat(10_000);
    let table = [
        (
            answer(422, &json!({"message": "Email is taken"})),
            "correct the record or the mapping. It said: Email is taken",
        ),
        (
            answer(400, &json!({"message": format!("see https://crm.example/api?key=abc {long}")})),
            "https://crm.example/api?… x",
        ),
        (reply(500, "<html>stack trace</html>"), "the system answered 500: it fails for the moment"),
        (answer(200, &json!({"success": false, "message": "quota\u{0}\n"})), "an error inside. It said: quota"),
        (Err(SendError::TimedOut(Duration::from_secs(10))), "no answer within 10 s; raise `timeout_seconds`"),
    ];
    for (answered, expected) in table {
        let outcomes = Crm::answering(answered).sync(&generic(&json!({})), &[create("con_1", json!({}))]).await;
        let error = outcomes[0].as_ref().unwrap_err();
        let sentence = error.for_tenant();
        assert!(sentence.contains(expected), "{sentence}");
        assert!(
            sentence.chars().count() < 400 && !sentence.contains("abc") && !sentence.contains("stack"),
            "{sentence}"
        );
        assert!(!error.to_string().contains("It said"), "logs hold nothing of theirs: {error}");
    }
}
