//! The bundle as its users see it: HTTP requests in, answers and stored records out, over embedded AWS services in one
//! process. No port, no sleeping; time and randomness are the test's.

mod administer;
mod api;
mod bad_input;
mod calls_to_aws;
mod crashes;
mod crm;
mod deployment;
mod exactly_once;
mod isolation;
mod limits;
mod logs;
mod outgoing;
mod provisioning;
mod receiving;
mod retries;
mod samples;
mod sessions;
mod simulation;
mod subscriptions;
mod sync;
mod threats;
mod waits;
mod world;
