//! The functions of the bundle, as Lambda sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

/// One function: takes an event and returns its answer.
pub type Function =
    Arc<dyn Fn(Value, InvocationContext) -> BoxFuture<'static, Result<Value, FunctionError>> + Send + Sync>;

/// What Lambda tells a function about an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvocationContext {
    /// A UUID that no other invocation has.
    pub request_id: String,
    /// The function's name, such as `webhook-stripe`.
    pub function_name: String,
    /// The function's ARN.
    pub invoked_function_arn: String,
    /// When the invocation is cut off, in milliseconds since 1970.
    pub deadline_ms: u64,
}

/// A function's own failure, in the form in which Lambda reports it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error_type}: {message}")]
pub struct FunctionError {
    /// The kind of error, such as `Unhandled`.
    pub error_type: String,
    /// What happened. Shown to whoever invoked the function.
    pub message: String,
}

/// Functions by name.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Function>);

impl Functions {
    /// Adds `function` under `name`, in the place of the one that had it.
    #[must_use]
    pub fn with(mut self, name: &str, function: Function) -> Self {
        self.0.insert(name.to_owned(), function);
        self
    }

    /// The function of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
