//! Latencies: a logarithmic histogram, 64 steps an octave, so each step is about 1.1 % wide.

pub(crate) struct Histogram {
    count: u64,
    steps: Vec<u64>,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { count: 0, steps: vec![0; 64 * 64] }
    }

    pub(crate) fn add(&mut self, value: u64) {
        let value = value.max(1);
        let octave = value.ilog2() as usize;
        let within = if octave >= 6 { value >> (octave - 6) } else { value << (6 - octave) };
        self.steps[octave * 64 + within as usize % 64] += 1;
        self.count += 1;
    }

    /// The value that the share `q` of all values does not exceed (its step's lower edge); 0 if there are none.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let wanted = ((self.count as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (i, n) in self.steps.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                return (1u64 << (i / 64)) as f64 * (1.0 + (i % 64) as f64 / 64.0);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_step_of_the_exact_ones() {
        let mut h = Histogram::new();
        (1..=10_000).for_each(|v| h.add(v * 1000));
        for q in [0.01, 0.5, 0.99, 0.999, 1.0] {
            let exact = q * 10_000_000.0;
            let error = (exact - h.quantile(q)) / exact;
            assert!((0.0..0.016).contains(&error), "{q}: {} for {exact}", h.quantile(q));
        }
    }

    #[test]
    fn small_values_keep_their_own_steps() {
        let mut h = Histogram::new();
        [0, 1, 2, 3, 63].into_iter().for_each(|v| h.add(v));
        assert_eq!([0.2, 0.4, 0.6, 0.8, 1.0].map(|q| h.quantile(q)), [1.0, 1.0, 2.0, 3.0, 63.0]);
    }

    #[test]
    fn an_empty_histogram_answers_nought() {
        assert_eq!(Histogram::new().quantile(0.5), 0.0);
    }
}
