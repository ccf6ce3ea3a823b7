//! The SMRT Integration Hub: what its Lambda functions have in common.
//!
//! The path of a webhook, in the order of the modules:
//!
//! ```text
//! API Gateway ──▶ webhook ──▶ receive ──▶ process ──▶ store ──▶ DynamoDB (one transaction)
//!                   edge        │           │           └─────▶ SQS, where DynamoDB fails
//!                               │           ├ mapping    what the event means
//!                               │           ├ record     the join of all events of one call, payment, contact
//!                               │           └ statistics what that adds to the phone number
//!                               ├ limits     by source address, by tenant and system
//!                               ├ registry   is there such a system, and how is it configured
//!                               ├ secrets    what it signs with
//!                               └ signature  did it sign this
//! ```
//!
//! The path of an event to a tenant's own endpoint:
//!
//! ```text
//! process ──▶ event (outbox, in the same transaction) ──▶ the table's stream ──▶ publish ──▶ SQS ──▶ deliver ──▶ outgoing ──▶ endpoint
//! ```
//!
//! The path of a record to a tenant's CRM, and of an answer back: [`connector`].
//!
//! SQS ──▶ retry: what had to wait, through the same process; every minute ──▶ release: what waited for longer than SQS
//! can delay; a person ──▶ api ──▶ replay: what failed, by way of the queue.
//!
//! The other edges: [`api`] (the management API), [`authorize`] (its keys), [`provision`] (an operator makes a tenant).
//! A tenant's data is reached only with a [`tenant::TenantContext`].

// Edges, stages.
pub mod administer;
pub mod api;
pub mod authorize;
pub mod batch;
pub mod deliver;
pub mod process;
pub mod provision;
pub mod publish;
pub mod receive;
mod registration;
pub mod release;
pub mod replay;
pub mod retry;
pub mod run;
pub mod sync;
pub mod webhook;

// Rules: pure.
pub mod endpoint;
pub mod event;
pub mod inbound;
pub mod integration;
pub mod mapping;
pub mod operation;
pub mod partitions;
pub mod phone;
pub mod record;
pub mod schedule;
pub mod signature;
pub mod statistics;
pub mod subscription;
mod view;

// What they touch.
pub mod aws;
pub mod connector;
pub mod hub;
pub mod keys;
pub mod lease;
pub mod limits;
pub mod metrics;
pub mod outgoing;
pub mod registry;
pub mod secrets;
pub mod store;
pub mod tenant;

// Small things.
pub mod cache;
pub mod codec;
pub mod ids;
pub mod json;
pub mod problem;
pub mod time;
