//! No two files know of each other, in however many steps: what several share stands below them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::{sources, without_tests};

/// The imports of each file of a crate, by the path of its module.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The path of the module that a file holds, without the crate.
fn module(path: &Path, root: &Path) -> anyhow::Result<String> {
    let below = path.strip_prefix(root)?.with_extension("");
    let parts = below.components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    let parts: Vec<&str> = parts.filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect();
    Ok(parts.join("::"))
}

/// Each path of a tree of imports: `a::{b, c::{d}}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inside = rest.strip_suffix('}').unwrap_or(rest);
    let mut found = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let part = &inside[begin..at];
                if !part.is_empty() {
                    found.extend(paths(&format!("{before}{part}")));
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The statements that begin with this word, without their blanks.
fn statements(text: &str, word: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |code, line| code + line + "\n");
    let begins = code.match_indices(word).filter(|(at, _)| {
        let line = code[..*at].rsplit('\n').next().unwrap_or_default();
        line.trim().is_empty()
    });
    let ends = |(at, _): (usize, &str)| code[at + word.len()..].split(';').next().map(str::to_owned);
    begins.filter_map(ends).map(|text| text.split_whitespace().collect()).collect()
}

/// A path from the root of the crate; `None` for a path into another crate.
fn absolute(path: &str, module: &str, names: &BTreeMap<String, String>) -> Option<String> {
    if let Some(rest) = path.strip_prefix("crate::") {
        let first = rest.split("::").next().unwrap_or_default();
        // The crate gives some modules a shorter name.
        return Some(
            names.get(first).map_or_else(|| rest.to_owned(), |whole| rest.replacen(first, whole, 1)),
        );
    }
    let (mut base, mut rest) = (module.to_owned(), path);
    if !path.starts_with("super::") && !path.starts_with("self::") {
        return None;
    }
    while let Some(below) = rest.strip_prefix("super::") {
        base = base.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned());
        rest = below;
    }
    let rest = rest.strip_prefix("self::").unwrap_or(rest);
    Some(if base.is_empty() { rest.to_owned() } else { format!("{base}::{rest}") })
}

/// The imports below a folder of sources. A module that passes on what is below it (`pub use`) does not import it.
fn imports(folder: &str) -> anyhow::Result<Imports> {
    let files = sources(folder)?;
    let mut texts = BTreeMap::new();
    for (path, text) in &files {
        let module = module(path, Path::new(folder))?;
        if !module.ends_with("::tests") {
            texts.insert(module, without_tests(text));
        }
    }
    let root = texts.get("").copied().unwrap_or_default();
    let passed_on = ["pub use ", "use "].into_iter().flat_map(|word| statements(root, word));
    let names = passed_on.flat_map(|tree| paths(&tree)).filter_map(|path| {
        let name = path.rsplit("::").next()?.to_owned();
        texts.contains_key(&path).then_some((name, path))
    });
    let names: BTreeMap<String, String> = names.collect();
    let file_of = |path: &str| {
        let mut path = path;
        loop {
            if texts.contains_key(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let of = |module: &String, text: &str| {
        let used = statements(text, "use ").into_iter().flat_map(|tree| paths(&tree));
        let used = used.filter_map(|path| absolute(&path, module, &names));
        used.filter_map(|path| file_of(&path)).filter(|other| other != module).collect()
    };
    Ok(texts
        .iter()
        .filter(|(module, _)| !module.is_empty())
        .map(|(m, text)| (m.clone(), of(m, text)))
        .collect())
}

/// The way from a module back to itself.
fn circle(imports: &Imports) -> Option<Vec<&String>> {
    fn walk<'i>(
        module: &'i String,
        imports: &'i Imports,
        way: &mut Vec<&'i String>,
        done: &mut BTreeSet<&'i String>,
    ) -> bool {
        if let Some(at) = way.iter().position(|before| *before == module) {
            way.drain(..at);
            return true;
        }
        if done.contains(module) {
            return false;
        }
        way.push(module);
        let closed = imports.get(module).into_iter().flatten().any(|other| walk(other, imports, way, done));
        if !closed {
            way.pop();
            done.insert(module);
        }
        closed
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    imports.keys().any(|module| walk(module, imports, &mut way, &mut done)).then_some(way)
}

#[test]
fn no_file_leads_back_to_itself() {
    for folder in ["src", "crates/api/src", "crates/decide/src", "crates/oci/src", "crates/registry/src"] {
        let imports = imports(folder).unwrap();
        assert_eq!(circle(&imports), None, "{folder}: each imports the next one, and the last one the first");
    }
}

#[test]
fn imports_are_found() {
    let decisions = imports("crates/decide/src").unwrap();
    let history: Vec<&str> = decisions["read::history"].iter().map(String::as_str).collect();
    assert_eq!(history, ["revisions::stamp", "target::plan"]);
    let controller = imports("src").unwrap();
    assert!(controller["controller::find::keep"].contains("controller::find::found"));
}

#[test]
fn a_circle_is_found() {
    let of = |pairs: &[(&str, &[&str])]| -> Imports {
        pairs
            .iter()
            .map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect()))
            .collect()
    };
    assert_eq!(circle(&of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let round = of(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])]);
    assert_eq!(circle(&round).unwrap(), ["b", "c", "d"]);
    assert_eq!(
        paths("crate::a::{self,b::{C,d},E}"),
        ["crate::a::self", "crate::a::b::C", "crate::a::b::d", "crate::a::E"]
    );
    let names = [("plan".to_owned(), "target::plan".to_owned())].into();
    assert_eq!(absolute("crate::plan::Facts", "x", &names).unwrap(), "target::plan::Facts");
    assert_eq!(absolute("super::super::b::C", "x::y::z", &names).unwrap(), "x::b::C");
    assert_eq!(absolute("std::b::C", "x::y::z", &names), None);
}
