//! Keeping contacts, companies and interactions in step with external CRMs, both ways (contract §5).
//!
//! ```text
//! a record changes ──▶ link: marked, in the same transaction ──▶ the index `due`
//!                                                                     │
//! every 5 minutes: schedule ──▶ a job for each tenant, system and entity with marks ──▶ SQS
//!                                                                     │
//! run: lease ──▶ page of marks ──▶ what differs over there ──▶ connector ──▶ link: id, what is known there, mark cleared
//!
//! a webhook of the CRM ──▶ process ──▶ told: which record, and what of it is news ──▶ the record, and its link
//! ```

mod adopt;
pub mod fields;
pub mod flight;
pub mod import;
pub mod job;
pub mod known;
pub mod link;
mod look;
pub mod matches;
mod page;
mod run;
pub mod schedule;
mod settle;
pub mod state;
pub mod told;

pub use self::settle::{Held, again, held_by};
