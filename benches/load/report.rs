//! What is printed: a line for each measurement.

use super::{machine::Shares, users::Latencies};

/// Remembers the line that others are compared with.
#[derive(Default)]
pub struct Report {
    /// The p99 of each column when the users were last alone.
    alone: [f64; 3],
    /// The largest ratio so far, and whose it was.
    worst: Option<(f64, String)>,
}

const COLUMNS: [&str; 3] = ["read", "write", "first words"];

impl Report {
    /// `memory`, in bytes, is what it was at the end.
    pub fn line(&mut self, name: &str, latencies: &Latencies, shares: &Shares, memory: u64) {
        let Latencies {
            reads,
            writes,
            words,
        } = latencies;
        println!(
            "{name}: {:.0} % busy (server {:.0} %, users and crowd {:.0} %), memory {} MB",
            shares.busy * 100.0,
            shares.server * 100.0,
            shares.load * 100.0,
            memory >> 20,
        );
        for (n, (column, times)) in COLUMNS.iter().zip([reads, writes, words]).enumerate() {
            let (p50, p99) = (percentile(times, 50), percentile(times, 99));
            let ratio = if name == "alone" {
                self.alone[n] = p99;
                String::new()
            } else {
                let ratio = p99 / self.alone[n];
                if name.ends_with("there") && self.worst.as_ref().is_none_or(|it| it.0 < ratio) {
                    self.worst = Some((ratio, format!("{name}, {column}")));
                }
                format!(" ({ratio:.2} times)")
            };
            println!(
                "    {column:<12} {:>6} p50 {:>7.1} ms p99 {:>7.1} ms{ratio}",
                times.len(),
                p50 * 1e3,
                p99 * 1e3,
            );
        }
    }

    pub fn end(&self) {
        if let Some((ratio, whose)) = &self.worst {
            println!(
                "Of those that are there, the p99 grew the most, {ratio:.2} times, beside {whose}."
            );
        }
    }
}

/// Of times in seconds; not a number where there are none.
fn percentile(times: &[f64], share: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = sorted.len() * share / 100;
    let found = sorted.get(at.min(sorted.len().saturating_sub(1)));
    found.copied().unwrap_or(f64::NAN)
}
