use std::time::Duration;

/// How long to wait before a request is tried again: anything up to a ceiling that doubles, so
/// that replies which failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The ceiling of the first wait.
    pub first: Duration,
    /// The ceiling that no wait exceeds.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(8),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures, counted from 0.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(2_u32.saturating_pow(failures))
            .min(self.longest);
        rand::random_range(Duration::ZERO..=ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_spread_below_a_doubling_ceiling() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(350),
        };
        for (failures, ceiling) in [(0, 100), (1, 200), (2, 350), (u32::MAX, 350)] {
            let ceiling = Duration::from_millis(ceiling);
            let delays: Vec<_> = (0..200).map(|_| backoff.delay(failures)).collect();
            assert!(delays.iter().all(|delay| *delay <= ceiling));
            assert!(delays.iter().any(|delay| *delay < ceiling / 2));
            assert!(delays.iter().any(|delay| *delay > ceiling / 2));
        }
    }
}
