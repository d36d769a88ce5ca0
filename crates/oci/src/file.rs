//! Files of an artifact, and their paths.

use bytes::Bytes;

use super::text;

/// A verified file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Relative path with `/`, as [`normalize_path`] returns it.
    pub path: String,
    /// Content.
    pub bytes: Bytes,
}

/// A path that no file of a config may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("file name '{path}' is refused: {why}")]
pub struct PathError {
    path: String,
    why: &'static str,
}

/// Longest path that is accepted, in bytes. No config needs a longer one, and a message can still repeat it.
const MAX_PATH: usize = 1024;

/// Brings a title or an archive entry into the one form that is matched and turned into a key: relative, `/` between
/// segments, no empty or `.` segments.
///
/// # Errors
/// Absolute paths, `..`, backslashes, control characters and overlong or empty names. Nothing is ever written to a file
/// system here, but such a name is either a mistake of the pusher or an attack on programs that unpack files.
pub fn normalize_path(path: &str) -> Result<String, PathError> {
    let refuse = |why| PathError { path: text::brief(path), why };
    if path.len() > MAX_PATH {
        return Err(refuse("longer than 1024 bytes"));
    }
    if path.chars().any(char::is_control) {
        return Err(refuse("it holds a control character"));
    }
    if path.contains('\\') {
        return Err(refuse("it holds a backslash"));
    }
    if path.starts_with('/') {
        return Err(refuse("it is an absolute path"));
    }
    let segments: Vec<&str> =
        path.split('/').filter(|segment| !segment.is_empty() && *segment != ".").collect();
    if segments.contains(&"..") {
        return Err(refuse("it leaves its directory with '..'"));
    }
    let Some(first) = segments.first() else { return Err(refuse("it is empty")) };
    if first.as_bytes().get(1) == Some(&b':') && first.as_bytes()[0].is_ascii_alphabetic() {
        return Err(refuse("it is an absolute path"));
    }
    Ok(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("config.json", "config.json")]
    #[case("./conf.d//a.ini", "conf.d/a.ini")]
    #[case("a..b/..c", "a..b/..c")]
    fn normalizes(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(normalize_path(path).unwrap(), expected);
    }

    #[rstest::rstest]
    #[case("../w/config.json", "'..'")]
    #[case("a/../../b", "'..'")]
    #[case("/etc/hostname", "absolute")]
    #[case("C:/x", "absolute")]
    #[case("./C:/x", "absolute")]
    #[case("a\\b", "backslash")]
    #[case("a\nb", "control")]
    #[case("", "empty")]
    #[case("./", "empty")]
    fn refuses_hostile_names(#[case] path: &str, #[case] says: &str) {
        let error = normalize_path(path).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
