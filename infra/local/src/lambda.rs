//! Lambda in this process: invokes functions, and keeps their panics and endless waits to themselves.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::Clock;
use crate::aws::{ACCOUNT_ID, REGION};
use crate::functions::{FunctionError, Functions, InvocationContext};
use crate::ids::RequestIds;
use crate::template::{FunctionsDiffer, Template};

/// The functions, ready to be invoked.
pub struct Lambda {
    functions: Functions,
    timeouts: BTreeMap<String, Duration>,
    ids: RequestIds,
    clock: Clock,
}

/// Why an invocation has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// There is no function of this name.
    #[error("There is no function {0}.")]
    UnknownFunction(String),
    /// The function failed, panicked, or took too long.
    #[error(transparent)]
    Failed(FunctionError),
}

impl Lambda {
    /// Takes the functions that `template` deploys. Request ids are drawn from `seed`; `clock` tells when an
    /// invocation will be cut off.
    ///
    /// # Errors
    /// When the template names other functions than these.
    pub fn new(template: &Template, functions: Functions, clock: Clock, seed: u64) -> Result<Self, FunctionsDiffer> {
        template.check(&functions)?;
        let timeouts = template.functions.iter().map(|function| (function.name.clone(), function.timeout)).collect();
        Ok(Self { functions, timeouts, ids: RequestIds::new(seed), clock })
    }

    /// Whether there is a function of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.functions.get(name).is_some()
    }

    /// Invokes a function and returns its answer. The function runs on when nobody waits any more.
    ///
    /// # Errors
    /// When there is no such function, or the invocation fails in any way.
    pub async fn invoke(&self, name: &str, event: Value) -> Result<Value, InvokeError> {
        let unknown = || InvokeError::UnknownFunction(name.to_owned());
        let function = self.functions.get(name).cloned().ok_or_else(unknown)?;
        let timeout = *self.timeouts.get(name).ok_or_else(unknown)?;
        let context = self.context(name, timeout);
        // A task of its own, so that a panic ends only the task.
        let task = tokio::spawn(async move { tokio::time::timeout(timeout, function(event, context)).await });
        match task.await {
            Ok(Ok(answer)) => answer.map_err(InvokeError::Failed),
            Ok(Err(_)) => {
                let message = format!("Task timed out after {:.2} seconds", timeout.as_secs_f64());
                Err(failed("Sandbox.Timedout", message))
            }
            Err(_) => Err(failed("Runtime.ExitError", format!("The function {name} panicked"))),
        }
    }

    /// An id for a request that isn't an invocation.
    pub(crate) fn request_id(&self) -> String {
        self.ids.next()
    }

    fn context(&self, name: &str, timeout: Duration) -> InvocationContext {
        let deadline = ((self.clock)() + timeout).duration_since(UNIX_EPOCH).unwrap_or_default();
        InvocationContext {
            request_id: self.ids.next(),
            function_name: name.to_owned(),
            invoked_function_arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name}"),
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn failed(error_type: &str, message: String) -> InvokeError {
    InvokeError::Failed(FunctionError { error_type: error_type.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{clock_at, function, lambda};

    #[tokio::test(start_paused = true)]
    async fn each_way_to_end_is_told_apart() {
        let refusal = FunctionError { error_type: "Refused".to_owned(), message: "no".to_owned() };
        let lambda = lambda([
            ("answers", function(|event, _| async move { Ok(json!({"got": event})) })),
            (
                "fails",
                function({
                    let refusal = refusal.clone();
                    move |_, _| std::future::ready(Err(refusal.clone()))
                }),
            ),
            ("panics", function(|event, _| async move { panic!("{event}") })),
            ("hangs", function(|_, _| std::future::pending())),
        ]);
        assert_eq!(lambda.invoke("answers", json!(1)).await, Ok(json!({"got": 1})));
        assert_eq!(lambda.invoke("fails", json!(1)).await, Err(InvokeError::Failed(refusal)));
        let error = lambda.invoke("panics", json!(1)).await.unwrap_err().to_string();
        assert_eq!(error, "Runtime.ExitError: The function panics panicked");
        let error = lambda.invoke("hangs", json!(1)).await.unwrap_err().to_string();
        assert_eq!(error, "Sandbox.Timedout: Task timed out after 3.00 seconds");
        let error = lambda.invoke("other", json!(1)).await.unwrap_err();
        assert_eq!(error, InvokeError::UnknownFunction("other".to_owned()));
    }

    #[tokio::test]
    async fn a_function_learns_what_lambda_tells() {
        let template = crate::testing::template(&["f"], "");
        let functions = Functions::default().with(
            "f",
            function(|_, context| async move {
                Ok(json!([context.function_name, context.invoked_function_arn, context.deadline_ms]))
            }),
        );
        let lambda = Lambda::new(&template, functions, clock_at(100), 1).unwrap();
        let expected = json!(["f", "arn:aws:lambda:us-east-1:000000000000:function:f", 103_000]);
        assert_eq!(lambda.invoke("f", json!({})).await, Ok(expected));
    }
}
