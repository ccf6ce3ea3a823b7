//! What an event does to the record of its call and to the number's statistics. The floor writes the record.

use std::{collections::BTreeMap, hint::black_box};

use criterion::Criterion;
use serde_json::Value;
use shared::{
    mapping::{Merge, Outcome},
    phone::Region,
    record::{Change, Record, Stamp},
    statistics::{CALL_ENDED as COUNTS_AS_CALL, Counters, contribution, difference},
};

use crate::samples::{CALL_ENDED, Sample, now};

/// The other events of the call, which came first.
const BEFORE: [&str; 3] = [
    include_str!("../../../events/sarah_ai/call_started.json"),
    include_str!("../../../events/sarah_ai/call_transferred.json"),
    include_str!("../../../events/sarah_ai/recording_available.json"),
];

pub(crate) fn bench(c: &mut Criterion) {
    let before =
        BEFORE.iter().map(|text| Event::read(text)).fold(Record::default(), |record, event| event.join(&record));
    let event = Event::read(CALL_ENDED);
    let after = event.join(&before);

    let mut group = c.benchmark_group("record");
    group.bench_function("floor: write the record", |b| b.iter(|| serde_json::to_string(black_box(&after))));
    group.bench_function("apply, write, count", |b| {
        b.iter(|| {
            let before = black_box(&before);
            let after = event.join(before);
            (serde_json::to_string(&after), difference(&counters(&after), &counters(before)))
        });
    });
    group.bench_function("apply", |b| b.iter(|| event.join(black_box(&before))));
    group.bench_function("count", |b| b.iter(|| difference(&counters(black_box(&after)), &counters(&before))));
    group.finish();
}

fn counters(record: &Record) -> Counters {
    contribution(record).map(|c| c.counters).unwrap_or_default()
}

/// A mapped event, as `process` makes a change of it.
struct Event {
    key: String,
    stamp: Stamp,
    fields: BTreeMap<String, (Value, Merge)>,
}

impl Event {
    fn read(text: &str) -> Self {
        let sample = Sample::read(text);
        let Outcome::Mapped(mapped) = sample.map(&sample.payload, &Region::default()) else { panic!("it is mapped") };
        let mut fields: BTreeMap<_, _> = mapped.fields.into_iter().map(|(n, f)| (n, (f.value, f.merge))).collect();
        if mapped.counts_as_call {
            fields.insert(COUNTS_AS_CALL.into(), (Value::from(1), Merge::Last));
        }
        let key = sample.integration.rule.event_id(&sample.payload).expect("the sample has an id");
        Self { key, stamp: Stamp::new(mapped.occurred_at, mapped.rank, now()), fields }
    }

    /// The record with this event joined in; a copy, because the one before is still needed for the difference.
    fn join(&self, before: &Record) -> Record {
        let mut record = before.clone();
        record.apply(&Change { event_key: &self.key, stamp: self.stamp, received: now(), fields: &self.fields });
        record
    }
}
