//! Every row of the table, sent to the API server.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::place::{Answer, Place};
use crate::stage::Shared;
use crate::table::{self, Case};

crate::stage::cases! {
    Shared [every_row_is_answered_as_it_says]
}

/// Requests side by side.
const CONCURRENCY: usize = 16;

async fn every_row_is_answered_as_it_says(shared: Shared) -> Result<()> {
    let written = |case: Case| async {
        let (here, elsewhere) = (Place::new(&shared).await?, Place::new(&shared).await?);
        for (place, configs) in [(&here, &case.configs), (&elsewhere, &case.elsewhere)] {
            for config in configs {
                place.write(config).await?;
            }
        }
        anyhow::Ok((here, case))
    };
    let cases: Vec<_> =
        stream::iter(table::read()?).map(written).buffer_unordered(CONCURRENCY).try_collect().await?;
    Place::new(&shared).await?.are_writes_seen().await?;
    let answered = |(place, case): (Place, Case)| async move {
        let answer = place.try_pod(&case.pod).await?;
        anyhow::Ok(differs(&answer, &case.expected).map(|difference| format!("{}: {difference}", case.name)))
    };
    let wrong: Vec<_> = stream::iter(cases).map(answered).buffer_unordered(CONCURRENCY).try_collect().await?;
    let wrong = wrong.into_iter().flatten().fold(String::new(), |mut text, row| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{row}");
        text
    });
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

/// The difference between an answer and the expected one.
fn differs(answer: &Answer, expected: &Result<Value, Vec<String>>) -> Option<String> {
    match (answer, expected) {
        (Ok(pod), Ok(expected)) => {
            let annotations = |pod: &Value| pod["metadata"]["annotations"].clone();
            if annotations(pod) != annotations(expected) {
                return Some(format!("it has the annotations {}", annotations(pod)));
            }
            missing("", expected, pod)
        }
        (Err(message), Err(expected)) => {
            let said = message.split_once(" denied request: ").map(|(_, said)| said);
            let is_expected = expected.iter().any(|expected| said == Some(expected));
            (!is_expected)
                .then(|| format!("it is refused by\n{message}, should be by\n{}", expected.join(" or ")))
        }
        _ => Some(format!("it is\n{answer:?}, should be\n{expected:?}")),
    }
}

/// The first value of a pod that another one has not. The API server adds defaults, but no item to a list.
fn missing(path: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected.iter().find_map(|(key, expected)| {
            missing(&format!("{path}/{key}"), expected, found.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => (0..)
            .zip(expected.iter().zip(found))
            .find_map(|(index, (expected, found))| missing(&format!("{path}/{index}"), expected, found)),
        _ => (expected != found).then(|| format!("{path} is {found}, should be {expected}")),
    }
}
