//! Estimates of the bytes of a site for recordings in which only a sample of the blocks has a stack.
//!
//! With `Stacks::Sampled { bytes }` every event is recorded, but only some blocks get a stack. Each allocated byte
//! triggers a stack with the same probability, one in `bytes` on average. So a block of *s* bytes gets a stack with
//! probability p = 1 − e^(−s / bytes), and represents 1 / p blocks of its size. The sum of s / p over the blocks of a
//! site is an unbiased estimate of the site's true bytes. The sum of s² (1 − p) / p² estimates the variance.
//!
//! The profile has a histogram of sizes, but not the size of each block. So the estimate uses the middle of each
//! histogram row, scaled so that the sum equals the sampled bytes of the site.

use heapledger::profile::{Estimate, Profile, Site, Stacks};

/// Returns the estimated bytes that a site allocated, with one standard error. Returns `None` if stacks were not
/// sampled, or if the site has no stack or no bytes.
pub fn estimated_bytes(profile: &Profile, site: &Site) -> Option<Estimate> {
    let Stacks::Sampled { bytes } = profile.settings.stacks else { return None };
    if site.stack == 0 || site.total_bytes == 0 {
        return None;
    }
    let rate = bytes.max(1) as f64;
    let middle = |low: u64, high: u64| (low as f64 + high as f64) / 2.0;
    let by_middles: f64 =
        site.sizes.rows().map(|(low, high, blocks)| middle(low, high) * blocks as f64).sum();
    let scale = if by_middles > 0.0 { site.total_bytes as f64 / by_middles } else { return None };
    let (mut value, mut variance) = (0.0, 0.0);
    for (low, high, blocks) in site.sizes.rows() {
        let size = (middle(low, high) * scale).max(f64::MIN_POSITIVE);
        let chance = -(-size / rate).exp_m1();
        if chance > 0.0 {
            value += blocks as f64 * size / chance;
            variance += blocks as f64 * size * size * (1.0 - chance) / (chance * chance);
        }
    }
    Some(Estimate { value, standard_error: variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_right_on_average_and_its_error_is_that_of_many_draws() {
        let mut profile = super::super::sample::empty();
        profile.settings.stacks = Stacks::Sampled { bytes: 4096 };
        let mut random = 88_172_645_463_325_252_u64;
        let mut draw = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as f64 / (1u64 << 53) as f64
        };
        // 2,000 blocks of 64 bytes, each drawn with the probability of a stack; repeated 400 times.
        let (blocks, size, rounds) = (2_000u64, 64u64, 400);
        let chance = 1.0 - (-(size as f64) / 4096.0).exp();
        let truth = (blocks * size) as f64;
        let (mut sum, mut squares, mut stated) = (0.0, 0.0, 0.0);
        for _ in 0..rounds {
            let drawn = (0..blocks).filter(|_| draw() < chance).count() as u64;
            let mut site =
                Site { stack: 1, total_blocks: drawn, total_bytes: drawn * size, ..Site::default() };
            site.sizes.add(size, drawn);
            let estimate = estimated_bytes(&profile, &site).unwrap();
            sum += estimate.value;
            squares += (estimate.value - truth).powi(2);
            stated += estimate.standard_error;
        }
        let (mean, error) = (sum / f64::from(rounds), (squares / f64::from(rounds)).sqrt());
        assert!((mean / truth - 1.0).abs() < 0.05, "{mean} of {truth}");
        let stated = stated / f64::from(rounds);
        assert!((0.8..1.25).contains(&(stated / error)), "{stated} stated, {error} seen");
    }

    #[test]
    fn a_site_is_estimated_only_where_stacks_were_sampled() {
        let mut profile = super::super::sample::empty();
        let mut site = Site { stack: 1, total_blocks: 1, total_bytes: 1 << 30, ..Site::default() };
        site.sizes.add(1 << 30, 1);
        assert_eq!(estimated_bytes(&profile, &site), None);
        profile.settings.stacks = Stacks::Sampled { bytes: 4096 };
        let large = estimated_bytes(&profile, &site).unwrap();
        assert!((large.value - f64::from(1 << 30)).abs() < 1.0 && large.standard_error < 1.0, "{large:?}");
        assert_eq!(estimated_bytes(&profile, &Site { stack: 0, ..site }), None);
    }
}
