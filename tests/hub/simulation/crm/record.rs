//! Contacts and companies: by the names of their fields here, and in the form of the CRM.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::simulation::traffic::mark;

/// What there is of both sides' making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Contact,
    Company,
}

/// Values by our names of the fields; what is empty isn't there.
pub type Fields = BTreeMap<&'static str, Value>;

/// Our names, and the CRM's.
const CONTACT: [(&str, &str); 6] = [
    ("first_name", "first_name"),
    ("last_name", "last_name"),
    ("phone_number", "phone"),
    ("email", "email"),
    ("company_name", "company"),
    ("custom_fields.tier", "custom_fields.tier"),
];
const COMPANY: [(&str, &str); 4] =
    [("name", "name"), ("domain", "domain"), ("phone_number", "phone"), ("custom_fields.tier", "custom_fields.tier")];

impl Kind {
    pub const ALL: [Self; 2] = [Self::Contact, Self::Company];

    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
        }
    }

    /// As it is in paths, on both sides.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Contact => "contacts",
            Self::Company => "companies",
        }
    }

    /// What our ids begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Contact => "con",
            Self::Company => "com",
        }
    }

    fn names(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Contact => &CONTACT,
            Self::Company => &COMPANY,
        }
    }

    pub fn fields(self) -> impl Iterator<Item = &'static str> {
        self.names().iter().map(|(ours, _)| *ours)
    }

    /// A record with all fields, each with a value that nothing had before; `number` is its tenant's.
    pub fn fresh(self, tenant: usize, number: u32) -> Fields {
        self.fields().map(|name| (name, value(name, tenant, number))).collect()
    }

    /// New values for some of the fields.
    pub fn some_fresh(self, rng: &mut Rng, tenant: usize, number: u32) -> Fields {
        let all: Vec<_> = self.fresh(tenant, number).into_iter().collect();
        let first = rng.usize(0..all.len());
        let share = rng.f64() * 0.5;
        all.into_iter().enumerate().filter(|(n, _)| *n == first || rng.f64() < share).map(|(_, field)| field).collect()
    }

    /// One of those that can be emptied over there: a custom field that vanishes there stays here.
    pub fn any_plain(self, rng: &mut Rng) -> &'static str {
        let all: Vec<_> = self.fields().filter(|name| !name.contains('.')).collect();
        rng.choice(all).unwrap()
    }

    /// As our API takes it.
    pub fn here(fields: &Fields) -> Value {
        nested(fields.iter().map(|(name, value)| (*name, value.clone())))
    }

    /// As the CRM has it.
    pub fn there(self, fields: &Fields) -> Map<String, Value> {
        let name = |ours: &str| self.names().iter().find(|(name, _)| *name == ours).unwrap().1;
        let Value::Object(map) = nested(fields.iter().map(|(ours, value)| (name(ours), value.clone()))) else {
            return Map::new();
        };
        map
    }

    /// Out of an answer of our API.
    pub fn read_here(self, record: &Value) -> Fields {
        self.read(record, |(ours, _)| ours)
    }

    /// Out of a record of the CRM.
    pub fn read_there(self, record: &Value) -> Fields {
        self.read(record, |(_, theirs)| theirs)
    }

    fn read(self, record: &Value, path: impl Fn((&'static str, &'static str)) -> &'static str) -> Fields {
        let value = |names: &(&'static str, &'static str)| {
            let value = record.pointer(&format!("/{}", path(*names).replace('.', "/")))?;
            (!value.is_null()).then(|| (names.0, value.clone()))
        };
        self.names().iter().filter_map(value).collect()
    }
}

fn value(name: &str, tenant: usize, number: u32) -> Value {
    let mark = mark(tenant);
    match name {
        "phone_number" => format!("+1415556{number:04}").into(),
        "email" => format!("person{number}@{mark}.example").into(),
        "domain" => format!("company{number}.{mark}.example").into(),
        _ => format!("{name} {number} {mark}").into(),
    }
}

fn nested(fields: impl Iterator<Item = (&'static str, Value)>) -> Value {
    let mut record = json!({});
    for (name, value) in fields {
        match name.split_once('.') {
            Some((bag, key)) => record[bag][key] = value,
            None => record[name] = value,
        }
    }
    record
}
