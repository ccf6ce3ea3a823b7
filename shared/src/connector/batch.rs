//! Many records in one call, in the form of HubSpot's batches
//! (<https://developers.hubspot.com/docs/api-reference/error-handling>, "multi-status errors").
//!
//! Every record of a batch carries our id as its `objectWriteTraceId`: with it, one that is refused doesn't stop the
//! others, the answer is 207, and its error names the id. Results come in any order. A batch that is refused as a whole is
//! halved until the record that is to blame stands alone.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    Action, CallError, Connector, EntityPlan, Outgoing, PAGE_BYTES_MAX, Unusable, Written, answer,
    call::Ask,
    config::{Batch, Template},
    said::Said,
};

/// The field that tells the records of a batch apart.
const TRACE: &str = "objectWriteTraceId";
/// The method of all batches.
const POST: Method = Method::POST;

/// What a batch does.
#[derive(Clone, Copy)]
enum Task<'a> {
    /// Makes records or changes them, by this unique property, which holds our id.
    Upsert(&'a Template, &'a str),
    /// Changes records by their ids.
    Update(&'a Template),
}

/// One record of a batch.
#[derive(Clone, Copy)]
struct Input<'a> {
    /// Its place in the order given.
    at: usize,
    /// Our id.
    ours: &'a str,
    /// Its id over there, where it is updated.
    theirs: Option<&'a str>,
    body: &'a Value,
}

impl Connector<'_> {
    /// Carries changes over in batches: first what is made, then what is changed, then, one by one, what is deleted.
    pub(super) async fn in_batches(
        &self,
        plan: &EntityPlan,
        batch: &Batch,
        outgoing: &[Outgoing],
    ) -> Vec<Result<Written, CallError>> {
        let not_told = || Err(CallError::Unusable(Unusable::NotTold));
        let mut outcomes: Vec<_> = outgoing.iter().map(|_| not_told()).collect();
        let (mut upserts, mut updates, mut single) = (Vec::new(), Vec::new(), Vec::new());
        for (at, one) in outgoing.iter().enumerate() {
            let ours = one.id.as_str();
            match &one.action {
                Action::Create { body, .. } if batch.upsert.is_some() => {
                    upserts.push(Input { at, ours, theirs: None, body });
                }
                Action::Update { external_id, body } if batch.update.is_some() => {
                    updates.push(Input { at, ours, theirs: Some(external_id), body });
                }
                _ => single.push((at, one)),
            }
        }
        let upsert = batch.upsert.as_ref().map(|(path, property)| (Task::Upsert(path, property), upserts));
        let update = batch.update.as_ref().map(|path| (Task::Update(path), updates));
        for (task, inputs) in upsert.into_iter().chain(update) {
            for inputs in chunks(inputs, batch.max) {
                self.halving(plan, task, inputs, &mut outcomes).await;
            }
        }
        for (at, one) in single {
            put(&mut outcomes, at, self.write(plan, one).await);
        }
        outcomes
    }

    /// Sends a batch, and, while it is refused for what it holds, its halves.
    async fn halving(
        &self,
        plan: &EntityPlan,
        task: Task<'_>,
        inputs: Vec<Input<'_>>,
        outcomes: &mut [Result<Written, CallError>],
    ) {
        let mut waiting = vec![inputs];
        while let Some(mut inputs) = waiting.pop() {
            match self.batch(plan, task, &inputs).await {
                Ok(told) => {
                    for (input, outcome) in inputs.into_iter().zip(told) {
                        put(outcomes, input.at, outcome);
                    }
                }
                Err(error) if inputs.len() > 1 && is_of_content(&error) => {
                    let second = inputs.split_off(inputs.len() / 2);
                    waiting.extend([second, inputs]);
                }
                Err(error) => inputs.iter().for_each(|input| put(outcomes, input.at, Err(error.clone()))),
            }
        }
    }

    /// Sends one batch, and says what came of each record, in their order.
    async fn batch(
        &self,
        plan: &EntityPlan,
        task: Task<'_>,
        inputs: &[Input<'_>],
    ) -> Result<Vec<Result<Written, CallError>>, CallError> {
        let (Task::Upsert(path, _) | Task::Update(path)) = task;
        let path = path.fill(None, None).ok_or(CallError::BadId)?;
        let inputs_json: Vec<_> = inputs.iter().map(|input| input.json(plan, task)).collect();
        let body = json!({"inputs": inputs_json});
        let ask = Ask { method: &POST, path: &path, body: Some(&body), key: None, answer_bytes_max: PAGE_BYTES_MAX };
        let reply = self.call(ask).await?;
        let secrets = self.secrets();
        // Of more than one, 404 doesn't say which is gone.
        let existing = matches!((task, inputs), (Task::Update(_), [_]));
        let answer = answer::read(&reply, existing, &secrets)?.ok_or(CallError::Unusable(Unusable::Empty))?;
        let results = answer::results(&answer, &secrets)?;
        let errors = answer.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(inputs.iter().map(|input| input.outcome(plan, task, (results, errors), &secrets)).collect())
    }
}

impl Input<'_> {
    fn json(&self, plan: &EntityPlan, task: Task<'_>) -> Value {
        let mut json = plan.wrapped(self.body);
        if let Some(fields) = json.as_object_mut() {
            fields.insert(TRACE.to_owned(), self.ours.into());
            fields.insert("id".to_owned(), self.theirs.unwrap_or(self.ours).into());
            if let Task::Upsert(_, property) = task {
                fields.insert("idProperty".to_owned(), property.into());
            }
        }
        json
    }

    /// What a batch's answer says of this record.
    fn outcome(
        &self,
        plan: &EntityPlan,
        task: Task<'_>,
        (results, errors): (&[Value], &[Value]),
        secrets: &[String],
    ) -> Result<Written, CallError> {
        let is_mine = |result: &&Value| {
            let id = match task {
                Task::Upsert(_, property) => {
                    plan.inside(result).get(property).and_then(Value::as_str).map(str::to_owned)
                }
                Task::Update(_) => plan.external_id(result),
            };
            let traced = result.get(TRACE).and_then(Value::as_str) == Some(self.ours);
            traced || id.as_deref() == Some(self.theirs.unwrap_or(self.ours))
        };
        match (results.iter().find(is_mine), self.theirs) {
            (Some(result), None) => return answer::created(plan, Some(result), secrets),
            (Some(result), Some(theirs)) => return answer::updated(plan, theirs, Some(result), secrets),
            (None, _) => {}
        }
        let names = |error: &Value, place: &str, id: &str| {
            let ids = error.pointer(place).and_then(Value::as_array);
            ids.is_some_and(|ids| ids.iter().any(|there| there.as_str() == Some(id)))
        };
        let is_mine = |error: &&Value| {
            names(error, "/context/objectWriteTraceId", self.ours)
                || names(error, "/context/ids", self.theirs.unwrap_or(self.ours))
        };
        Err(match errors.iter().find(is_mine) {
            Some(error) => self.refused(error, secrets),
            None => CallError::Unusable(Unusable::NotTold),
        })
    }

    /// The error of one record, with the status that its category has elsewhere
    /// (<https://developers.hubspot.com/docs/api-reference/error-handling>).
    fn refused(&self, error: &Value, secrets: &[String]) -> CallError {
        let said = Said::of(error, secrets);
        let category = error.get("category").and_then(Value::as_str).unwrap_or_default();
        let status = match category {
            "OBJECT_NOT_FOUND" if self.theirs.is_some() => return CallError::Gone { said },
            "CONFLICT" | "OBJECT_ALREADY_EXISTS" => StatusCode::CONFLICT,
            "MISSING_SCOPES" => StatusCode::FORBIDDEN,
            "RATE_LIMITS" => StatusCode::TOO_MANY_REQUESTS,
            "INTERNAL_ERROR" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        CallError::Status { status, said, retry_after: None }
    }
}

/// Whether a whole batch was refused for what one of its records holds, and not for who sends it or when.
fn is_of_content(error: &CallError) -> bool {
    match error {
        CallError::Status { status, .. } => {
            status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 405 | 415) && !error.is_retryable()
        }
        _ => false,
    }
}

/// Batches of at most `max`. One id twice makes HubSpot refuse a whole batch, so such go into different ones.
fn chunks(inputs: Vec<Input<'_>>, max: usize) -> Vec<Vec<Input<'_>>> {
    let mut chunks: Vec<Vec<Input<'_>>> = Vec::new();
    for input in inputs {
        let same =
            |other: &Input<'_>| other.ours == input.ours || (input.theirs.is_some() && other.theirs == input.theirs);
        match chunks.last_mut().filter(|chunk| chunk.len() < max && !chunk.iter().any(same)) {
            Some(chunk) => chunk.push(input),
            None => chunks.push(vec![input]),
        }
    }
    chunks
}

fn put(outcomes: &mut [Result<Written, CallError>], at: usize, outcome: Result<Written, CallError>) {
    if let Some(place) = outcomes.get_mut(at) {
        *place = outcome;
    }
}
