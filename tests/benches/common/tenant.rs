//! A tenant as an operator makes it.

use std::sync::Arc;

use local::{
    Clock,
    aws::Aws,
    bundle::{Surroundings, functions},
    lambda::Lambda,
    template::Template,
};
use serde_json::Value;
use shared::hub::Random;

/// Invokes `provision-tenant`, with endpoints on this machine allowed; gives the answer.
pub async fn provision(aws: &Aws, template: &Template, tenant: Value, (clock, random): (Clock, Random)) -> Value {
    let surroundings = Surroundings {
        clock: Arc::clone(&clock),
        random,
        emit: Arc::new(|_: &str| {}),
        send: None,
        public_url: "https://hub.example".to_owned(),
        interactive: true,
    };
    let functions = functions(aws, template, &surroundings).unwrap();
    Lambda::new(template, functions, clock, 1).unwrap().invoke("provision-tenant", tenant).await.unwrap()
}
