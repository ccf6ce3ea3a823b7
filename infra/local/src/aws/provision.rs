//! Makes the tables and queues that a template names.

use serde_json::{Value, json};

use super::stream::{SIDE_TABLE, Spec};
use super::{Aws, Service};
use crate::template::{Queue, Table, Template};

/// Why what a template names can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The data directory has a table of this name with other keys or indexes.
    #[error(
        "The table {0} in the data directory has other keys or indexes than infra/template.yaml. \
         Delete the data directory to start anew, or choose another with --data-dir."
    )]
    TableDiffers(String),
    /// A service refused a request.
    #[error("{operation} for {name} was refused: {message}")]
    Refused {
        /// The operation, such as `CreateTable`.
        operation: &'static str,
        /// The table or queue.
        name: String,
        /// The service's answer.
        message: String,
    },
}

impl Aws {
    /// Makes what `template` names and isn't there yet, and gives queues that are there their attributes.
    ///
    /// # Errors
    /// When a table that is there is another one, or a service refuses the definition.
    pub async fn provision(&self, template: &Template) -> Result<(), ProvisionError> {
        for table in &template.tables {
            self.provision_table(table).await?;
        }
        for trigger in &template.stream_triggers {
            let spec = Spec::new(trigger, &template.tables);
            self.engines.dynamodb.serve_stream(spec).await.map_err(|message| ProvisionError::Refused {
                operation: "CreateTable",
                name: SIDE_TABLE.to_owned(),
                message,
            })?;
        }
        for queue in &template.queues {
            self.provision_queue(queue).await?;
        }
        Ok(())
    }

    async fn provision_table(&self, table: &Table) -> Result<(), ProvisionError> {
        let name = json!({"TableName": table.name});
        match self.ask(Service::DynamoDb, "DescribeTable", &table.name, &name).await {
            Ok(answer) if shape(answer.get("Table").unwrap_or(&Value::Null)) == shape(&table.definition) => {}
            Ok(_) => return Err(ProvisionError::TableDiffers(table.name.clone())),
            Err(_) => {
                self.ask(Service::DynamoDb, "CreateTable", &table.name, &table.definition).await?;
            }
        }
        let Some(attribute) = &table.ttl_attribute else { return Ok(()) };
        let ttl = self.ask(Service::DynamoDb, "DescribeTimeToLive", &table.name, &name).await?;
        let current = ttl.pointer("/TimeToLiveDescription/AttributeName").and_then(Value::as_str);
        if current != Some(attribute) {
            let ttl = json!({
                "TableName": table.name,
                "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": true},
            });
            self.ask(Service::DynamoDb, "UpdateTimeToLive", &table.name, &ttl).await?;
        }
        Ok(())
    }

    async fn provision_queue(&self, queue: &Queue) -> Result<(), ProvisionError> {
        let name = json!({"QueueName": queue.name});
        let Ok(existing) = self.ask(Service::Sqs, "GetQueueUrl", &queue.name, &name).await else {
            let create = json!({"QueueName": queue.name, "Attributes": queue.attributes});
            self.ask(Service::Sqs, "CreateQueue", &queue.name, &create).await?;
            return Ok(());
        };
        let set = json!({"QueueUrl": existing.get("QueueUrl"), "Attributes": queue.attributes});
        self.ask(Service::Sqs, "SetQueueAttributes", &queue.name, &set).await?;
        Ok(())
    }

    async fn ask(
        &self,
        service: Service,
        operation: &'static str,
        name: &str,
        request: &Value,
    ) -> Result<Value, ProvisionError> {
        let answer = self.request(service, operation, request).await;
        answer.map_err(|message| ProvisionError::Refused { operation, name: name.to_owned(), message })
    }
}

/// What can't be changed without losing data, or without waiting: keys and indexes.
fn shape(table: &Value) -> Value {
    let indexes = |kind: &str| {
        let mut indexes: Vec<_> = table.get(kind).and_then(Value::as_array).into_iter().flatten().map(index).collect();
        indexes.sort_by_key(ToString::to_string);
        indexes
    };
    let mut attributes = table.get("AttributeDefinitions").and_then(Value::as_array).cloned().unwrap_or_default();
    attributes.sort_by_key(|attribute| attribute.get("AttributeName").map(ToString::to_string));
    json!([attributes, table.get("KeySchema"), indexes("GlobalSecondaryIndexes"), indexes("LocalSecondaryIndexes")])
}

fn index(index: &Value) -> Value {
    json!([index.get("IndexName"), index.get("KeySchema"), index.get("Projection")])
}
