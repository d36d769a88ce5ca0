//! What a token is for: `repository:<name>:<actions>`.

use std::fmt;

use axum::http::Method;

/// One scope of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) repository: String,
    actions: Vec<String>,
}

impl Scope {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (repository, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        Some(Self {
            repository: repository.to_owned(),
            actions: actions.split(',').map(str::to_owned).collect(),
        })
    }

    /// What a request to the repository needs.
    pub(super) fn needed(repository: &str, method: &Method) -> Self {
        let actions: &[&str] = match *method {
            Method::GET | Method::HEAD => &["pull"],
            Method::DELETE => &["delete"],
            _ => &["pull", "push"],
        };
        Self {
            repository: repository.to_owned(),
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
        }
    }

    pub(super) fn covers(&self, needed: &Self) -> bool {
        let has =
            |action: &String| self.actions.contains(action) || self.actions.iter().any(|own| own == "*");
        self.repository == needed.repository && needed.actions.iter().all(has)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repository:{}:{}", self.repository, self.actions.join(","))
    }
}

/// The repository in the path of a request; `None` for `/v2/` itself and everything that is no such path.
pub(super) fn repository(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v2/")?;
    // From the right: a repository may itself have an element named like an endpoint.
    let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
        .iter()
        .filter_map(|part| rest.rfind(part))
        .max()?;
    Some(&rest[..end])
}

/// The pairs of a query or a form, decoded.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    reqwest::Url::parse(&format!("http://localhost/?{text}"))
        .map(|url| url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_read_from_any_endpoint() {
        assert_eq!(repository("/v2/a/b/manifests/v1"), Some("a/b"));
        assert_eq!(repository("/v2/a/blobs/uploads/1-2"), Some("a"));
        assert_eq!(repository("/v2/a/manifests/b/tags/list"), Some("a/manifests/b"));
        assert_eq!(repository("/v2/a/referrers/sha256:00"), Some("a"));
        assert_eq!(repository("/v2/"), None);
        assert_eq!(repository("/token"), None);
    }

    #[test]
    fn scopes_cover_the_actions_of_one_repository() {
        let pull = Scope::parse("repository:a/b:pull").unwrap();
        assert!(pull.covers(&Scope::needed("a/b", &Method::GET)));
        assert!(!pull.covers(&Scope::needed("a/b", &Method::PUT)));
        assert!(!pull.covers(&Scope::needed("a", &Method::GET)));
        assert!(Scope::parse("repository:a:*").unwrap().covers(&Scope::needed("a", &Method::DELETE)));
        assert_eq!(Scope::needed("a", &Method::POST).to_string(), "repository:a:pull,push");
        assert_eq!(Scope::parse("registry:catalog:*"), None);
    }

    #[test]
    fn pairs_are_decoded() {
        assert_eq!(
            pairs("scope=repository%3Aa%2Fb%3Apull&x=1+2")[..],
            [("scope".to_owned(), "repository:a/b:pull".to_owned()), ("x".to_owned(), "1 2".to_owned()),]
        );
    }
}
