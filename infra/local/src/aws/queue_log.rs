//! What the queues hold, written down as it changes.
//!
//! The queue engine keeps its messages to itself, so this follows them by the requests that pass: what was sent and
//! not deleted since is still there.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rustack_sqs_core::provider::SqsSnapshot;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OpenError;
use super::journal::Journal;

/// One line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// From here on these are the queues.
    Queues(SqsSnapshot),
    /// A message was sent.
    Sent { id: String, message: Message },
    /// A message was handed to a consumer of this queue.
    Received { id: String, queue: String },
    /// A consumer deleted a message.
    Deleted { id: String },
    /// All messages of a queue were deleted.
    Purged { queue: String },
}

/// A message that waits in a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// The queue's name.
    pub queue: String,
    /// The fields of the `SendMessage` request, without queue and delay.
    pub request: Value,
    /// When the delay that the request asked for ends, in milliseconds since 1970.
    pub due_ms: Option<u64>,
    /// How often this queue handed it out.
    #[serde(default)]
    pub receives: u64,
}

/// The state that all entries together describe.
#[derive(Debug, Default)]
pub(super) struct Contents {
    queues: SqsSnapshot,
    /// By id, with the position at which each was sent.
    messages: HashMap<String, (u64, Message)>,
    sent: u64,
    /// Deletions that were noted before the sending was: a consumer can be that fast.
    deleted_early: HashSet<String>,
}

impl Contents {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Queues(queues) => self.queues = queues,
            Entry::Sent { id, message } => {
                self.sent += 1;
                if !self.deleted_early.remove(&id) {
                    self.messages.insert(id, (self.sent, message));
                }
            }
            Entry::Received { id, queue } => {
                if let Some((_, message)) = self.messages.get_mut(&id) {
                    // Out of another queue than before: it was moved to the dead letters.
                    if message.queue != queue {
                        message.queue = queue;
                        message.receives = 0;
                    }
                    message.receives += 1;
                }
            }
            Entry::Deleted { id } => {
                if self.messages.remove(&id).is_none() {
                    self.deleted_early.insert(id);
                }
            }
            Entry::Purged { queue } => self.messages.retain(|_, (_, message)| message.queue != queue),
        }
    }

    /// The queues, and the messages in the order in which they were sent. A message that its queue handed out as
    /// often as its redrive policy allows is with the dead letters.
    pub(super) fn into_parts(self) -> (SqsSnapshot, Vec<Message>) {
        let mut messages: Vec<_> = self.messages.into_values().collect();
        messages.sort_by_key(|(position, _)| *position);
        let dead_letters: HashMap<_, _> = self.queues.queues.iter().filter_map(redrive).collect();
        let settled = messages.into_iter().map(|(_, mut message)| {
            if let Some((target, max_receives)) = dead_letters.get(message.queue.as_str())
                && message.receives >= *max_receives
            {
                message.queue.clone_from(target);
                message.receives = 0;
            }
            message
        });
        (self.queues.clone(), settled.collect())
    }
}

/// A queue's name, with the name of its dead-letter queue and how many receives lead there.
fn redrive(queue: &rustack_sqs_core::provider::SqsQueueSnapshot) -> Option<(&str, (String, u64))> {
    let policy: Value = serde_json::from_str(queue.attributes.get("RedrivePolicy")?).ok()?;
    let (_, target) = policy.get("deadLetterTargetArn")?.as_str()?.rsplit_once(':')?;
    let max_receives = policy.get("maxReceiveCount")?;
    let max_receives = max_receives.as_u64().or_else(|| max_receives.as_str()?.parse().ok())?;
    Some((&queue.name, (target.to_owned(), max_receives)))
}

/// The log in its file.
pub(super) struct QueueLog {
    journal: Journal,
    path: PathBuf,
}

impl QueueLog {
    /// Opens the log at `path` and returns what it says is there.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), OpenError> {
        let (journal, entries) = Journal::open::<Entry>(path)?;
        let mut contents = Contents::default();
        for entry in entries {
            contents.apply(entry);
        }
        Ok((Self { journal, path: path.to_owned() }, contents))
    }

    /// Replaces everything that the log says by these entries.
    pub(super) fn restart(self, entries: &[Entry]) -> Result<Self, OpenError> {
        let journal = Journal::replace(&self.path, entries)?;
        Ok(Self { journal, path: self.path })
    }

    /// Notes what happened. The disk may take its time: a queue is not a table, and survives the death of the
    /// process, but not of the machine.
    pub(super) fn note(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.journal.append(entry)
    }
}

#[cfg(test)]
mod tests {
    use rustack_sqs_core::provider::SqsQueueSnapshot;
    use serde_json::json;

    use super::*;

    fn message(queue: &str, body: &str) -> Message {
        Message { queue: queue.to_owned(), request: json!({"MessageBody": body}), due_ms: None, receives: 0 }
    }

    fn sent(id: &str) -> Entry {
        Entry::Sent { id: id.to_owned(), message: message("work", id) }
    }

    fn received(id: &str, queue: &str) -> Entry {
        Entry::Received { id: id.to_owned(), queue: queue.to_owned() }
    }

    fn deleted(id: &str) -> Entry {
        Entry::Deleted { id: id.to_owned() }
    }

    fn queues() -> Entry {
        let policy = json!({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 2});
        let queue = |name: &str, attributes: &[(&str, String)]| SqsQueueSnapshot {
            name: name.to_owned(),
            attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            tags: HashMap::new(),
        };
        let queues = vec![queue("work", &[("RedrivePolicy", policy.to_string())]), queue("dead", &[])];
        Entry::Queues(SqsSnapshot { queues })
    }

    /// The queue and body of each message that is left.
    fn left(entries: Vec<Entry>) -> Vec<String> {
        let mut contents = Contents::default();
        for entry in entries {
            contents.apply(entry);
        }
        let (_, messages) = contents.into_parts();
        messages
            .iter()
            .map(|message| format!("{}:{}", message.queue, message.request["MessageBody"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn what_was_sent_and_not_deleted_is_left_in_order() {
        let table: [(&[Entry], &[&str]); 6] = [
            (&[sent("b"), sent("a"), sent("c")], &["work:b", "work:a", "work:c"]),
            (&[sent("a"), sent("b"), received("a", "work"), deleted("a")], &["work:b"]),
            (&[deleted("a"), sent("a"), sent("b")], &["work:b"]),
            (&[sent("a"), Entry::Purged { queue: "work".to_owned() }, sent("b")], &["work:b"]),
            (&[sent("a"), received("a", "work"), received("a", "work")], &["dead:a"]),
            (&[sent("a"), received("a", "work"), received("a", "dead"), received("a", "dead")], &["dead:a"]),
        ];
        for (entries, expected) in table {
            let entries = std::iter::once(queues()).chain(entries.iter().cloned()).collect();
            assert_eq!(left(entries), expected);
        }
    }
}
