//! Random moments that can be had again: `DISRUPTION_SEED=… cargo test --test disruption`.

use std::time::Duration;

use anyhow::{Context as _, Result};

const SEED: &str = "DISRUPTION_SEED";

/// `SplitMix64`: enough for choosing moments, and the same everywhere.
pub struct Random(u64);

impl Random {
    /// Seeded from the environment, else from the clock; says with what.
    pub fn new(test: &str) -> Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().with_context(|| format!("{SEED}={seed} is no number"))?,
            Err(_) => u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs()),
        };
        println!("{test}: {SEED}={seed}");
        Ok(Self(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time below `most`.
    pub fn moment(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % micros.max(1))
    }
}
