//! Suggestions for names that do not exist.

use std::borrow::Borrow;

use oci::text;

/// How many names a message lists.
const LISTED: usize = 10;

/// Longest name that is compared; the comparison takes the product of both lengths.
const COMPARED: usize = 253;

/// Known names that are similar, the most similar first: at most every third character differs, or one name is the
/// beginning of the other.
#[must_use]
pub fn closest<'a>(wanted: &str, known: &[&'a str]) -> Vec<&'a str> {
    if wanted.len() > COMPARED {
        return Vec::new();
    }
    let most = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|name| {
            let distance = strsim::damerau_levenshtein(wanted, name);
            let begins = wanted.len() > 1 && (name.starts_with(wanted) || wanted.starts_with(name));
            (distance <= most || begins).then_some((distance, *name))
        })
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// A sentence that says that a name does not exist, with similar names, or otherwise all names.
#[must_use]
pub fn no_such(what: &str, wanted: &str, place: &str, known: &[&str]) -> String {
    let near = closest(wanted, known);
    let rest = match near.as_slice() {
        [] if known.is_empty() => format!("no {what} exists"),
        [] => format!("there {} {}", if known.len() == 1 { "is" } else { "are" }, listed(known)),
        near => format!("did you mean {}?", alternatives(near)),
    };
    format!("there is no {what} '{wanted}' {place}; {rest}")
}

/// A list of names for people, at most ten of them.
#[must_use]
pub fn listed<S: Borrow<str>>(names: &[S]) -> String {
    text::list(names.iter().map(Borrow::<str>::borrow), LISTED)
}

fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    quoted.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::two_letters_swapped("wbe", &["api", "web", "worker"], &["web"])]
    #[case::a_letter_missing("chekout", &["checkout", "cart"], &["checkout"])]
    #[case::the_beginning("check", &["checkout", "cart"], &["checkout"])]
    #[case::too_much_of_it("web-config", &["web", "api"], &["web"])]
    #[case::closest_first("app", &["map", "apps", "apq"], &["apps", "apq"])]
    #[case::nothing_near("billing", &["web", "api"], &[])]
    #[case::one_letter_is_no_beginning("w", &["worker", "web"], &[])]
    fn near_misses(#[case] wanted: &str, #[case] known: &[&str], #[case] expected: &[&str]) {
        assert_eq!(closest(wanted, known), expected);
    }

    #[test]
    fn messages() {
        let said = |wanted, known: &[&str]| no_such("ArtifactConfig", wanted, "in namespace 'shop'", known);
        assert_eq!(
            said("wbe", &["web", "api"]),
            "there is no ArtifactConfig 'wbe' in namespace 'shop'; did you mean 'web'?"
        );
        assert_eq!(
            said("billing", &["web", "api"]),
            "there is no ArtifactConfig 'billing' in namespace 'shop'; there are web, api"
        );
        assert_eq!(
            said("billing", &[]),
            "there is no ArtifactConfig 'billing' in namespace 'shop'; no ArtifactConfig exists"
        );
        let many: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
        assert!(listed(&many).ends_with("n9 and 2 more"));
    }
}
