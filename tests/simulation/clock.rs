//! The clock of the world, one for each thread: `Context.now` is a plain function.

use std::cell::Cell;

use jiff::Timestamp;

/// The first second of the world.
const START: i64 = 1_800_000_000;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(START) };
}

pub fn reset() {
    NOW.set(START);
}

pub fn second() -> i64 {
    NOW.get()
}

/// With a fraction of a second: code that keeps it although the API does not is noticed.
pub fn now() -> Timestamp {
    Timestamp::new(NOW.get(), 123_456_789).unwrap()
}

pub fn advance(seconds: i64) {
    NOW.set(NOW.get() + seconds);
}
