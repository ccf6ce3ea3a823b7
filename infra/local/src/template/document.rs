//! The template's text: YAML with CloudFormation's functions, which this resolves as far as templates here use them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

use super::TemplateError;
use crate::aws::{ACCOUNT_ID, REGION};

/// What `AWS::StackName` is here; names that the template leaves to CloudFormation begin with it.
const STACK_NAME: &str = "smrt-local";

/// The end of a stream's ARN. In AWS it is the time at which the stream was made.
const STREAM_LABEL: &str = "2026-01-01T00:00:00.000";

/// Values of parameters that are other than their defaults.
const PARAMETERS: [(&str, &str); 1] = [("Stage", "local")];

/// A template and what its references stand for.
pub(super) struct Document {
    root: Value,
    /// Values by reference: `Name` for `!Ref`, `Name.Attribute` for `!GetAtt`.
    values: BTreeMap<String, Value>,
}

/// One entry of the template's `Resources`.
pub(super) struct Resource<'a> {
    document: &'a Document,
    /// The logical id.
    pub id: &'a str,
    /// The type, such as `AWS::SQS::Queue`.
    pub kind: &'a str,
}

impl Document {
    pub(super) fn parse(text: &str, endpoint_url: &str) -> Result<Self, TemplateError> {
        let yaml: Yaml = serde_yaml_ng::from_str(text).map_err(|error| TemplateError::Yaml(error.to_string()))?;
        let mut document = Self { root: without_tags(yaml)?, values: pseudo_parameters() };
        document.read_parameters()?;
        document.name_resources(endpoint_url)?;
        Ok(document)
    }

    fn read_parameters(&mut self) -> Result<(), TemplateError> {
        for (name, parameter) in entries(self.root.get("Parameters")) {
            let value = match PARAMETERS.iter().find(|(known, _)| known == name) {
                Some((_, value)) => Value::from(*value),
                None => parameter
                    .get("Default")
                    .cloned()
                    .ok_or_else(|| invalid(&format!("Parameters.{name}"), "it has no default"))?,
            };
            self.values.insert(name.clone(), value);
        }
        Ok(())
    }

    /// Gives each resource that others refer to the name, address and ARN that it has locally.
    fn name_resources(&mut self, endpoint_url: &str) -> Result<(), TemplateError> {
        let mut named = Vec::new();
        for resource in self.resources()? {
            let id = resource.id;
            let arn =
                |service: &str, path: &str| Value::from(format!("arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{path}"));
            match resource.kind {
                "AWS::DynamoDB::Table" => {
                    let name = resource.name("TableName")?;
                    named.push((format!("{id}.Arn"), arn("dynamodb", &format!("table/{name}"))));
                    if resource.has("/Properties/StreamSpecification") {
                        let stream = format!("table/{name}/stream/{STREAM_LABEL}");
                        named.push((format!("{id}.StreamArn"), arn("dynamodb", &stream)));
                    }
                    named.push((id.to_owned(), name.into()));
                }
                "AWS::SQS::Queue" => {
                    let name = resource.name("QueueName")?;
                    named.push((format!("{id}.Arn"), arn("sqs", &name)));
                    named.push((format!("{id}.QueueName"), name.clone().into()));
                    named.push((id.to_owned(), format!("{endpoint_url}/{ACCOUNT_ID}/{name}").into()));
                }
                "AWS::Serverless::Function" => {
                    let name = resource.binary()?;
                    named.push((format!("{id}.Arn"), arn("lambda", &format!("function:{name}"))));
                    named.push((id.to_owned(), name.into()));
                }
                _ => named.push((id.to_owned(), id.into())),
            }
        }
        self.values.extend(named);
        Ok(())
    }

    /// All resources, in the template's order.
    pub(super) fn resources(&self) -> Result<Vec<Resource<'_>>, TemplateError> {
        let resources = entries(self.root.get("Resources")).map(|(id, resource)| {
            let kind = resource.get("Type").and_then(Value::as_str);
            let kind = kind.ok_or_else(|| invalid(&format!("Resources.{id}"), "it has no Type"))?;
            Ok(Resource { document: self, id, kind })
        });
        resources.collect()
    }

    /// Replaces all functions in `value` by what they stand for.
    fn resolve(&self, value: &Value, at: &str) -> Result<Value, TemplateError> {
        match value {
            Value::Array(items) => items.iter().map(|item| self.resolve(item, at)).collect(),
            Value::Object(fields) => {
                if let Some((name, argument)) = function_call(fields) {
                    return self.call(name, argument, at);
                }
                let mut resolved = Map::new();
                for (name, field) in fields {
                    resolved.insert(name.clone(), self.resolve(field, &format!("{at}.{name}"))?);
                }
                Ok(resolved.into())
            }
            plain => Ok(plain.clone()),
        }
    }

    fn call(&self, name: &str, argument: &Value, at: &str) -> Result<Value, TemplateError> {
        match (name, argument) {
            ("Ref" | "Fn::GetAtt", Value::String(reference)) => self.value(reference, at).cloned(),
            ("Fn::GetAtt", Value::Array(path)) => {
                let path: Vec<_> = path.iter().filter_map(Value::as_str).collect();
                self.value(&path.join("."), at).cloned()
            }
            ("Fn::Sub", Value::String(text)) => Ok(self.substitute(text, at)?.into()),
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(condition), holds, fails] => {
                    self.resolve(if self.holds(condition, at)? { holds } else { fails }, at)
                }
                _ => Err(unsupported(name, at)),
            },
            ("Fn::Equals", Value::Array(parts)) => match parts.as_slice() {
                [one, other] => Ok((self.resolve(one, at)? == self.resolve(other, at)?).into()),
                _ => Err(unsupported(name, at)),
            },
            ("Fn::Not", Value::Array(parts)) => match parts.as_slice() {
                [condition] => match self.resolve(condition, at)? {
                    Value::Bool(holds) => Ok((!holds).into()),
                    _ => Err(unsupported(name, at)),
                },
                _ => Err(unsupported(name, at)),
            },
            _ => Err(unsupported(name, at)),
        }
    }

    /// Whether one of the template's `Conditions` holds.
    fn holds(&self, condition: &str, at: &str) -> Result<bool, TemplateError> {
        let known = self.root.get("Conditions").and_then(|conditions| conditions.get(condition));
        let known = known.ok_or_else(|| invalid(at, &format!("there is no condition {condition}")))?;
        self.resolve(known, at)?.as_bool().ok_or_else(|| invalid(at, &format!("{condition} is no condition")))
    }

    fn value(&self, reference: &str, at: &str) -> Result<&Value, TemplateError> {
        let value = self.values.get(reference);
        value.ok_or_else(|| invalid(at, &format!("nothing is known as {reference}")))
    }

    /// Fills in `${Reference}`; `${!Literal}` stands for `${Literal}`.
    fn substitute(&self, text: &str, at: &str) -> Result<String, TemplateError> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (reference, after) = after.split_once('}').ok_or_else(|| invalid(at, "a ${ has no end"))?;
            result.push_str(before);
            match reference.strip_prefix('!') {
                Some(literal) => result.extend(["${", literal, "}"]),
                None => result.push_str(&plain_text(self.value(reference, at)?)),
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }
}

impl Resource<'_> {
    /// The place that errors name.
    pub(super) fn place(&self) -> String {
        format!("Resources.{}", self.id)
    }

    /// The name of the function's binary.
    pub(super) fn binary(&self) -> Result<String, TemplateError> {
        let binary = self.raw().pointer("/Metadata/BuildProperties/Binary").and_then(Value::as_str);
        let binary = binary.ok_or_else(|| invalid(&self.place(), "it has no Metadata.BuildProperties.Binary"))?;
        Ok(binary.to_owned())
    }

    /// The name in this property, or else one made as CloudFormation does, but without the random part.
    fn name(&self, property: &str) -> Result<String, TemplateError> {
        let name = self.raw().pointer(&format!("/Properties/{property}"));
        match name {
            Some(name) => Ok(plain_text(&self.document.resolve(name, &self.place())?)),
            None => Ok(format!("{STACK_NAME}-{}", self.id)),
        }
    }

    /// What `!Ref` of this resource gives.
    pub(super) fn reference(&self) -> &str {
        self.document.values.get(self.id).and_then(Value::as_str).unwrap_or(self.id)
    }

    /// Those of the named properties that the resource has, all references resolved.
    pub(super) fn properties(&self, names: &[&str]) -> Result<Map<String, Value>, TemplateError> {
        let mut properties = Map::new();
        for (name, property) in entries(self.raw().get("Properties")) {
            if names.contains(&name.as_str()) {
                let at = format!("{}.{name}", self.place());
                properties.insert(name.clone(), self.document.resolve(property, &at)?);
            }
        }
        Ok(properties)
    }

    /// A setting that all functions of the template share.
    pub(super) fn global(&self, path: &str) -> Result<Option<Value>, TemplateError> {
        let setting = self.document.root.pointer(&format!("/Globals/Function{path}"));
        setting.map(|setting| self.document.resolve(setting, "Globals.Function")).transpose()
    }

    /// Whether the resource has a property or attribute at this JSON pointer.
    pub(super) fn has(&self, pointer: &str) -> bool {
        self.raw().pointer(pointer).is_some()
    }

    fn raw(&self) -> &Value {
        self.document.root.get("Resources").and_then(|resources| resources.get(self.id)).unwrap_or(&Value::Null)
    }
}

fn unsupported(name: &str, at: &str) -> TemplateError {
    TemplateError::Unsupported { at: at.to_owned(), what: format!("this use of {name}") }
}

pub(super) fn invalid(at: &str, problem: &str) -> TemplateError {
    TemplateError::Invalid { at: at.to_owned(), problem: problem.to_owned() }
}

/// Reads a resolved part of the template.
pub(super) fn read<T: DeserializeOwned>(value: Value, at: &str) -> Result<T, TemplateError> {
    serde_json::from_value(value).map_err(|error| invalid(at, &error.to_string()))
}

/// A value as text: what an environment variable or a name in a longer text becomes.
pub(super) fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pseudo_parameters() -> BTreeMap<String, Value> {
    let values = [
        ("AWS::AccountId", ACCOUNT_ID),
        ("AWS::Partition", "aws"),
        ("AWS::Region", REGION),
        ("AWS::StackName", STACK_NAME),
        ("AWS::StackId", "arn:aws:cloudformation:stack/local"),
        ("AWS::URLSuffix", "amazonaws.com"),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.and_then(Value::as_object).into_iter().flatten()
}

/// The function and its argument, if that is what the object is.
fn function_call(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = fields.iter().next().filter(|_| fields.len() == 1)?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name, argument))
}

/// YAML as JSON, with each short form of a function (`!Sub x`) as its long form (`Fn::Sub: x`).
fn without_tags(yaml: Yaml) -> Result<Value, TemplateError> {
    match yaml {
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            let name = name.trim_start_matches('!');
            let name = if name == "Ref" { name.to_owned() } else { format!("Fn::{name}") };
            Ok(json!({name: without_tags(tagged.value)?}))
        }
        Yaml::Sequence(items) => items.into_iter().map(without_tags).collect(),
        Yaml::Mapping(fields) => {
            let fields = fields.into_iter().map(|(name, field)| {
                let name: String =
                    serde_yaml_ng::from_value(name).map_err(|error| TemplateError::Yaml(error.to_string()))?;
                Ok((name, without_tags(field)?))
            });
            Ok(Value::Object(fields.collect::<Result<_, _>>()?))
        }
        plain => serde_json::to_value(plain).map_err(|error| TemplateError::Yaml(error.to_string())),
    }
}
