//! How long something takes, as counts that Prometheus understands.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 14] =
    [50, 100, 200, 400, 800, 1_500, 3_000, 6_000, 12_000, 25_000, 50_000, 100_000, 500_000, 5_000_000];

/// A histogram of durations. Observing costs two uncontended additions.
#[derive(Debug, Default)]
pub struct Latency {
    /// By bucket; the last takes what is above all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Latency {
    /// Counts one duration.
    pub fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Appends the histogram in Prometheus' text format, in seconds.
    pub fn expose(&self, name: &str, help: &str, out: &mut String) {
        let mut total = 0;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            total += count.load(Ordering::Relaxed);
            let (whole, rest) = (bound / 1_000_000, bound % 1_000_000);
            let _ = writeln!(out, "{name}_bucket{{le=\"{whole}.{rest:06}\"}} {total}");
        }
        total += self.counts.last().map_or(0, |count| count.load(Ordering::Relaxed));
        let nanos = self.nanos.load(Ordering::Relaxed);
        let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let _ =
            writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}\n{name}_sum {whole}.{rest:09}\n{name}_count {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_bounds_belong_to_their_bucket() {
        let latency = Latency::default();
        for micros in [1, 50, 51, 5_000_000, 6_000_000] {
            latency.observe(Duration::from_micros(micros));
        }
        let mut text = String::new();
        latency.expose("x_seconds", "x", &mut text);
        assert!(text.contains("x_seconds_bucket{le=\"0.000050\"} 2\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"0.000100\"} 3\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"5.000000\"} 4\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"+Inf\"} 5\n"), "{text}");
        assert!(text.contains("x_seconds_sum 11.000102000\nx_seconds_count 5\n"), "{text}");
    }
}
