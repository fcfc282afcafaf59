//! `io.prometheus.client.MetricFamily`, delimited: the protobuf format of Prometheus.
//!
//! The messages: <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>; the wire:
//! <https://protobuf.dev/programming-guides/encoding/>.

use super::families::Kind;
use super::histogram::HistogramRow;
use crate::counters::native_buckets::ZERO_THRESHOLD;
use crate::counters::{Exemplar, NativeBuckets};
use crate::domain::Timestamp;

/// Field numbers of the messages.
mod field {
    pub(super) const FAMILY_NAME: u32 = 1;
    pub(super) const FAMILY_HELP: u32 = 2;
    pub(super) const FAMILY_TYPE: u32 = 3;
    pub(super) const FAMILY_METRIC: u32 = 4;
    pub(super) const FAMILY_UNIT: u32 = 5;
    pub(super) const LABEL: u32 = 1;
    pub(super) const GAUGE: u32 = 2;
    pub(super) const COUNTER: u32 = 3;
    pub(super) const HISTOGRAM: u32 = 7;
    pub(super) const NAME: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const NUMBER: u32 = 1;
    pub(super) const COUNTER_EXEMPLAR: u32 = 2;
    pub(super) const COUNTER_CREATED: u32 = 3;
    pub(super) const COUNT: u32 = 1;
    pub(super) const SUM: u32 = 2;
    pub(super) const BUCKET: u32 = 3;
    pub(super) const SCHEMA: u32 = 5;
    pub(super) const ZERO_THRESHOLD: u32 = 6;
    pub(super) const ZERO_COUNT: u32 = 7;
    pub(super) const POSITIVE_SPAN: u32 = 12;
    pub(super) const POSITIVE_DELTA: u32 = 13;
    pub(super) const HISTOGRAM_CREATED: u32 = 15;
    pub(super) const EXEMPLARS: u32 = 16;
    pub(super) const BUCKET_COUNT: u32 = 1;
    pub(super) const BUCKET_BOUND: u32 = 2;
    pub(super) const BUCKET_EXEMPLAR: u32 = 3;
    pub(super) const SPAN_OFFSET: u32 = 1;
    pub(super) const SPAN_LENGTH: u32 = 2;
    pub(super) const EXEMPLAR_VALUE: u32 = 2;
    pub(super) const EXEMPLAR_TIME: u32 = 3;
    pub(super) const SECONDS: u32 = 1;
    pub(super) const NANOS: u32 = 2;
}

/// A message that is being written.
#[derive(Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn uint(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    fn sint(&mut self, field: u32, value: i64) {
        self.uint(field, zigzag(value));
    }

    fn double(&mut self, field: u32, value: f64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.begin_field(field, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Begins a field of `length` bytes.
    fn begin_field(&mut self, field: u32, length: usize) {
        self.tag(field, 2);
        self.varint(length as u64);
    }

    /// Writes a nested message.
    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn timestamp(&mut self, field: u32, time: Timestamp) {
        let millis = time.as_millis();
        self.message(field, |message| {
            message.uint(field::SECONDS, millis.div_euclid(1000).cast_unsigned());
            message.uint(field::NANOS, millis.rem_euclid(1000).unsigned_abs() * 1_000_000);
        });
    }

    fn exemplar(&mut self, field: u32, exemplar: &Exemplar) {
        self.message(field, |message| {
            message.label(Exemplar::LABEL, exemplar.task_id.as_str());
            message.double(field::EXEMPLAR_VALUE, exemplar.value);
            message.timestamp(field::EXEMPLAR_TIME, exemplar.at);
        });
    }

    fn label(&mut self, name: &str, value: &str) {
        self.message(field::LABEL, |pair| {
            pair.bytes(field::NAME, name.as_bytes());
            pair.bytes(field::VALUE, value.as_bytes());
        });
    }

    /// Writes a gauge. Pages consist mostly of gauges, so their size is computed first and nothing is buffered.
    pub fn gauge<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone, value: f64) {
        let pair = |(name, value): (&str, &str)| field_size(name.len()) + field_size(value.len());
        let metric = labels.clone().map(|label| field_size(pair(label))).sum::<usize>() + field_size(DOUBLE_SIZE);
        self.begin_field(field::FAMILY_METRIC, metric);
        for (name, value) in labels {
            self.begin_field(field::LABEL, pair((name, value)));
            self.bytes(field::NAME, name.as_bytes());
            self.bytes(field::VALUE, value.as_bytes());
        }
        self.begin_field(field::GAUGE, DOUBLE_SIZE);
        self.double(field::NUMBER, value);
    }

    /// Writes a counter.
    pub fn counter<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        value: f64,
        created: Option<Timestamp>,
        exemplar: Option<&Exemplar>,
    ) {
        self.write_metric(labels, |metric| {
            metric.message(field::COUNTER, |counter| {
                counter.double(field::NUMBER, value);
                if let Some(exemplar) = exemplar {
                    counter.exemplar(field::COUNTER_EXEMPLAR, exemplar);
                }
                if let Some(created) = created {
                    counter.timestamp(field::COUNTER_CREATED, created);
                }
            });
        });
    }

    /// Writes a histogram: classic buckets, and native ones where they exist.
    pub fn histogram<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>, histogram: &HistogramRow<'_>) {
        self.write_metric(labels, |metric| {
            metric.message(field::HISTOGRAM, |message| write_histogram(message, histogram));
        });
    }

    fn write_metric<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>, write: impl FnOnce(&mut Self)) {
        self.message(field::FAMILY_METRIC, |metric| {
            labels.for_each(|(name, value)| metric.label(name, value));
            write(metric);
        });
    }
}

fn write_histogram(message: &mut Message, histogram: &HistogramRow<'_>) {
    let mut total = 0;
    message.uint(field::COUNT, histogram.counts.iter().sum());
    message.double(field::SUM, histogram.sum);
    for (n, count) in histogram.counts.iter().enumerate() {
        total += count;
        message.message(field::BUCKET, |bucket| {
            bucket.uint(field::BUCKET_COUNT, total);
            bucket.double(field::BUCKET_BOUND, histogram.bounds.get(n).copied().unwrap_or(f64::INFINITY));
            if let Some(exemplar) = histogram.exemplar(n) {
                bucket.exemplar(field::BUCKET_EXEMPLAR, exemplar);
            }
        });
    }
    if let Some(native) = histogram.native.filter(|native| native.total() == total) {
        write_native(message, native);
        for n in 0..histogram.counts.len() {
            if let Some(exemplar) = histogram.exemplar(n) {
                message.exemplar(field::EXEMPLARS, exemplar);
            }
        }
    }
    if let Some(created) = histogram.created {
        message.timestamp(field::HISTOGRAM_CREATED, created);
    }
}

fn write_native(message: &mut Message, native: &NativeBuckets) {
    let (schema, buckets) = native.buckets();
    message.sint(field::SCHEMA, schema.into());
    message.double(field::ZERO_THRESHOLD, ZERO_THRESHOLD);
    message.uint(field::ZERO_COUNT, native.zero());
    let mut deltas = Message::default();
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let (mut next, mut before) = (0, 0i64);
    for (index, count) in &buckets {
        match spans.last_mut() {
            Some((_, length)) if next == *index => *length += 1,
            // The first offset is a bucket index, later ones are gaps.
            _ => spans.push((index - next, 1)),
        }
        next = index + 1;
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.varint(zigzag(count - before));
        before = count;
    }
    if spans.is_empty() {
        // An empty span tells Prometheus that an empty histogram is a native one.
        spans.push((0, 0));
    }
    for (offset, length) in spans {
        message.message(field::POSITIVE_SPAN, |span| {
            span.sint(field::SPAN_OFFSET, offset.into());
            span.uint(field::SPAN_LENGTH, length.into());
        });
    }
    if !deltas.0.is_empty() {
        message.bytes(field::POSITIVE_DELTA, &deltas.0);
    }
}

/// Bytes of a field with a double.
const DOUBLE_SIZE: usize = 9;

/// Bytes of a field with `length` bytes of content, for field numbers below 16.
const fn field_size(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + length
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Begins a delimited family whose rows have `size` bytes together.
pub fn begin_family(out: &mut Vec<u8>, name: &str, help: &str, kind: Kind, unit: Option<&str>, size: usize) {
    let mut head = Message::default();
    head.bytes(field::FAMILY_NAME, name.as_bytes());
    head.bytes(field::FAMILY_HELP, help.as_bytes());
    let kind = match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    head.uint(field::FAMILY_TYPE, kind);
    if let Some(unit) = unit {
        head.bytes(field::FAMILY_UNIT, unit.as_bytes());
    }
    let mut length = Message::default();
    length.varint((head.0.len() + size) as u64);
    out.extend_from_slice(&length.0);
    out.extend_from_slice(&head.0);
}
