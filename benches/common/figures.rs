//! Figures of several rounds. On a busy machine the median of ratios, each taken within one round, is more reliable
//! than a mean.

/// Median of the values, with the two quartiles.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// Returns the median and the quartiles of the values.
    ///
    /// # Panics
    /// Panics if there are no values.
    pub fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Spread { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    /// Returns the spread of the quotients of values taken in the same round.
    pub fn of_ratios(values: &[f64], bases: &[f64]) -> Spread {
        let ratios: Vec<f64> = values.iter().zip(bases).map(|(value, base)| value / base).collect();
        Spread::of(&ratios)
    }
}

/// A small generator of random numbers (xorshift), with the same results for every allocator.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub const SEED: u64 = 0x2545_F491_4F6C_DD1D;

    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    #[inline(always)]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
