//! Helpers for this crate's tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::Clock;
use crate::aws::Aws;
use crate::functions::{Function, FunctionError, Functions, InvocationContext};
use crate::lambda::Lambda;
use crate::template::Template;

/// An empty folder that is deleted when the test ends.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("smrt-local-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A folder that stays behind fails no test.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A clock that stands still, this many seconds after 1970.
pub(crate) fn clock_at(seconds: u64) -> Clock {
    Arc::new(move || UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A function from a closure.
pub(crate) fn function<F, A>(body: F) -> Function
where
    F: Fn(Value, InvocationContext) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Value, FunctionError>> + Send + 'static,
{
    Arc::new(move |event, context| Box::pin(body(event, context)))
}

/// A template with these functions, which have no events, and more resources in YAML.
pub(crate) fn template(functions: &[&str], more: &str) -> Template {
    let function = |name: &&str| {
        format!("  {name}: {{Type: AWS::Serverless::Function, Metadata: {{BuildProperties: {{Binary: {name}}}}}}}\n")
    };
    let functions: String = functions.iter().map(function).collect();
    let text = format!("Resources:\n{functions}{more}");
    Template::parse(&text, "http://127.0.0.1:9001").expect("the test's template is valid")
}

/// Services with what a template in YAML names.
pub(crate) async fn provisioned(aws: Aws, template: &str) -> Aws {
    let template = Template::parse(template, &aws.endpoint_url()).expect("the test's template is valid");
    aws.provision(&template).await.expect("the template can be made");
    aws
}

/// A Lambda with these functions.
pub(crate) fn lambda<const N: usize>(functions: [(&str, Function); N]) -> Arc<Lambda> {
    let template = template(&functions.each_ref().map(|(name, _)| *name), "");
    let functions =
        functions.into_iter().fold(Functions::default(), |functions, (name, function)| functions.with(name, function));
    Arc::new(Lambda::new(&template, functions, clock_at(0), 1).expect("the template has the same functions"))
}
