//! Random moments that can be repeated: `DISRUPTION_SEED=… cargo test --test disruption`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::OnceLock;
use std::time::Duration;

const VARIABLE: &str = "DISRUPTION_SEED";

static SEED: OnceLock<u64> = OnceLock::new();

/// Takes the seed from the environment, else from the clock, and prints it.
pub fn announce() {
    let given = std::env::var(VARIABLE).ok().and_then(|seed| seed.parse().ok());
    let seed =
        SEED.get_or_init(|| given.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond().unsigned_abs()));
    // On standard error: standard output is the list of tests, which tools read.
    eprintln!("{VARIABLE}={seed}");
}

/// `SplitMix64`: enough for choosing moments, and the same everywhere.
pub struct Random(u64);

impl Random {
    /// Each test has its own moments, independent of other tests.
    pub fn new(test: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (SEED.get(), test).hash(&mut hasher);
        Self(hasher.finish())
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
