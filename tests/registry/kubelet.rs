//! Line 19 again: the operator takes the same credentials from a pull secret as the kubelet, for the same images. The
//! kubelet's own package gives the expected result (`testbed/tools/kubelet-keyring`): once for the table beside this
//! file, and again for random documents.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use registry::{Keyring, KeyringError};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testbed::tools::{Tool, Tools};

const CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";
const CONFIG: &str = "kubernetes.io/dockercfg";

/// User name and password.
type Pair = (String, String);

/// A pull secret, an image, and the result of the kubelet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    r#type: String,
    document: String,
    image: String,
    /// Whether it accepts the Secret at all; then the operator does, too. The operator accepts more.
    taken: bool,
    credentials: Vec<Pair>,
}

impl Row {
    fn of(r#type: &str, document: &str, image: &str) -> Self {
        let (r#type, document, image) = (r#type.to_owned(), document.to_owned(), image.to_owned());
        Self { r#type, document, image, taken: false, credentials: Vec::new() }
    }

    /// The result of the operator.
    fn ours(&self) -> Result<Vec<Pair>, KeyringError> {
        let mut keys = Keyring::default();
        let document = self.document.as_bytes();
        if self.r#type == CONFIG {
            keys.add_docker_cfg(document)
        } else {
            keys.add_docker_config_json(document)
        }?;
        let found = keys.lookup(&self.image).into_iter();
        Ok(found.map(|found| (found.username, found.password.expose_secret().to_owned())).collect())
    }
}

/// Asks the kubelet's package.
fn by_the_kubelet(rows: &[Row]) -> Vec<Row> {
    #[derive(Deserialize)]
    struct Answer {
        taken: bool,
        credentials: Vec<Pair>,
    }
    let tools = Tools::locate().unwrap().ensure_blocking(&[Tool::KubeletKeyring]).unwrap();
    let mut command = tools.command(Tool::KubeletKeyring, [""; 0]).unwrap();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut questions = String::new();
    for Row { r#type, document, image, .. } in rows {
        let question = json!({"type": r#type, "document": STANDARD.encode(document), "image": image});
        writeln!(questions, "{question}").unwrap();
    }
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let answers: Vec<Answer> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), rows.len(), "one answer for each question");
    let answered = rows.iter().cloned().zip(answers);
    answered.map(|(row, Answer { taken, credentials })| Row { taken, credentials, ..row }).collect()
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/kubelet.jsonl")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(table()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a19_what_the_kubelet_takes_is_taken() {
    let rows = rows();
    assert!(rows.iter().filter(|row| row.taken).count() > 60, "the table is there");
    for row in rows.iter().filter(|row| row.taken) {
        assert_eq!(row.ours().as_ref(), Ok(&row.credentials), "{row:?}");
    }
}

/// `KUBELET_TABLE=write cargo test --workspace --test registry kubelet` asks again, for the questions of `documents`.
#[test]
fn a19_the_table_is_what_the_kubelet_says() {
    let questions: Vec<Row> =
        documents().iter().map(|(kind, document, image)| Row::of(kind, document, image)).collect();
    let said = by_the_kubelet(&questions);
    if std::env::var_os("KUBELET_TABLE").is_some_and(|told| told == "write") {
        let lines: String = said.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
        std::fs::write(table(), lines).unwrap();
    }
    assert_eq!(rows(), said, "run this with KUBELET_TABLE=write, and look at what has changed");
}

#[test]
fn a19_random_documents_that_the_kubelet_takes_are_taken() {
    let mut runner = TestRunner::deterministic();
    let questions: Vec<Row> = (0..12_000)
        .map(|_| {
            let (document, image) = (any_document(), any_image()).new_tree(&mut runner).unwrap().current();
            Row::of(CONFIG_JSON, &document, image)
        })
        .collect();
    let said = by_the_kubelet(&questions);
    let matching = said.iter().filter(|row| row.taken && !row.credentials.is_empty()).count();
    assert!(matching > 500, "only {matching} of them are about anything");
    for row in said.iter().filter(|row| row.taken) {
        let sorted = |mut pairs: Vec<Pair>| {
            // Entries with the same pattern are in random order: the kubelet reads them from a map.
            pairs.sort();
            pairs
        };
        assert_eq!(row.ours().map(sorted), Ok(sorted(row.credentials.clone())), "{row:?}");
    }
}

/// The operator accepts more than the kubelet: a broken entry does not affect the others.
#[rstest::rstest]
#[case::no_base64(r#"{"auth": "%%%"}"#)]
#[case::no_colon(r#"{"auth": "c2VjcmV0"}"#)]
#[case::number(r#"{"password": 5}"#)]
#[case::list("[1, {\"a\": null}]")]
#[case::text("\"c2VjcmV0\"")]
#[case::no_utf8(r#"{"auth": "/zr/"}"#)]
fn a19_a_broken_entry_spoils_no_other(#[case] broken: &str) {
    let mut keys = Keyring::default();
    let good = r#"{"username": "u", "password": "p"}"#;
    let document = format!(r#"{{"auths": {{"r.example/team": {good}, "s.example": {broken}}}}}"#);
    let error = keys.add_docker_config_json(document.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("'s.example'") && !error.to_string().contains("c2VjcmV0"), "{error}");
    assert_eq!(keys.lookup("r.example/team/web").len(), 1);
    assert_eq!(keys.broken("r.example/team/web"), [""; 0]);
    assert_eq!((keys.lookup("s.example/web").len(), keys.broken("s.example/web").len()), (0, 1));
}

#[test]
fn a19_there_is_an_end_to_entries() {
    let document = |count: usize| {
        let entries: Vec<String> = (0..count).map(|number| format!("\"r{number}\":{{}}")).collect();
        format!("{{\"auths\":{{{}}}}}", entries.join(","))
    };
    assert_eq!(Keyring::default().add_docker_config_json(document(10_000).as_bytes()), Ok(()));
    assert!(Keyring::default().add_docker_config_json(document(10_001).as_bytes()).is_err());
}

/// The kubelet would send Docker Hub's password there, because the name has no dot.
#[test]
fn a19_localhost_is_not_docker_hub() {
    let mut keys = Keyring::default();
    let document = json!({"auths": {"https://index.docker.io/v1/": {"username": "u", "password": "p"}}});
    keys.add_docker_config_json(document.to_string().as_bytes()).unwrap();
    assert_eq!(keys.lookup("localhost/web").len(), 0);
    assert_eq!(keys.lookup("docker.io/library/web").len(), 1);
}

fn auth(pair: &str) -> String {
    STANDARD.encode(pair)
}

/// Kind of Secret, document and image of a row.
type Question = (&'static str, String, &'static str);

const WEB: &str = "r.example/team/web";

fn documents() -> Vec<Question> {
    [ways_to_write_credentials(), what_stands_around_them(), names_and_images()].concat()
}

fn ways_to_write_credentials() -> Vec<Question> {
    let mut rows = Vec::new();
    let padded = auth("user:pass:w");
    let broken = format!("{}\\n{}\\r\\n", &padded[..6], &padded[6..]);
    for entry in [
        r#"{"username":"u","password":"p"}"#.to_owned(),
        r#"{"USERNAME":"u","PassWord":"p"}"#.to_owned(),
        r#"{"uſername":"u","password":"p"}"#.to_owned(),
        r#"{"username":"u","password":null}"#.to_owned(),
        r#"{"username":null,"password":"p"}"#.to_owned(),
        r#"{"username":"u","username":null,"password":"x","password":"p"}"#.to_owned(),
        r#"{"username":"u","password":"p","email":null,"extra":{"a":[1e999,null,"\ud800"]}}"#.to_owned(),
        r#"{"username":"\ud800u","password":"p"}"#.to_owned(),
        r#"{"username":"u","password":5}"#.to_owned(),
        r#"{"username":"u","password":"p","email":5}"#.to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"x\"".to_owned(),
        r#"{"auth":null,"username":"u","password":"p"}"#.to_owned(),
        r#"{"auth":"","username":"u","password":"p"}"#.to_owned(),
        format!(r#"{{"auth":"{padded}"}}"#),
        format!(r#"{{"auth":"{padded}","password":null}}"#),
        format!(r#"{{"auth":"{padded}","username":"x","password":"y"}}"#),
        format!(r#"{{"auth":"{broken}"}}"#),
        format!(r#"{{"auth":"\n{padded}\n\n"}}"#),
        format!(r#"{{"auth":" {padded}"}}"#),
        format!(r#"{{"auth":"{}"}}"#, STANDARD_NO_PAD.encode("user:pass:w")),
        format!(r#"{{"auth":"{}\n"}}"#, STANDARD_NO_PAD.encode("user:pass:w")),
        r#"{"auth":"dTpwY"}"#.to_owned(),
        r#"{"auth":"dTpx"}"#.to_owned(),
        r#"{"auth":"dTpwZW=="}"#.to_owned(),
        r#"{"auth":"dTpwZX=="}"#.to_owned(),
        r#"{"auth":"dTpwZX"}"#.to_owned(),
        r#"{"auth":"Og=="}"#.to_owned(),
        r#"{"auth":"dTo="}"#.to_owned(),
        r#"{"auth":"OnA="}"#.to_owned(),
        r#"{"auth":"dXNlcg=="}"#.to_owned(),
        r#"{"auth":"%%%"}"#.to_owned(),
        r#"{"auth":5}"#.to_owned(),
    ] {
        rows.push((CONFIG_JSON, format!(r#"{{"auths":{{"r.example":{entry}}}}}"#), WEB));
        rows.push((CONFIG, format!(r#"{{"r.example":{entry}}}"#), WEB));
    }
    rows
}

fn what_stands_around_them() -> Vec<Question> {
    let mut rows = Vec::new();
    let good = r#""r.example":{"auth":"dTpw"}"#;
    for document in [
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "x".to_owned(),
        r#"{"auths":null}"#.to_owned(),
        r#"{"auths":"x"}"#.to_owned(),
        format!(r#"{{"Auths":{{{good}}}}}"#),
        format!(r#"{{"auths":{{{good},"other":null}}}}"#),
        format!(r#"{{"auths":{{"other":{{}},{good}}}}}"#),
        format!(r#"{{"auths":{{"other":{{"auth":"%"}},{good}}}}}"#),
        format!(r#"{{"auths":{{{good}}},"auths":{{"s.example":{{"auth":"dTpw"}}}}}}"#),
        format!(r#"{{"auths":{{{good}}},"auths":null}}"#),
        format!(r#"{{"auths":{{{good},"r.example":{{"auth":"dTpx"}}}}}}"#),
        format!(r#"{{"auths":{{{good},"r.example":null}}}}"#),
        format!(r#"{{"auths":{{{good}}},"HttpHeaders":{{"a":"b"}},"credsStore":"x","credHelpers":null}}"#),
        format!(r#"{{"auths":{{{good}}},"HttpHeaders":null,"experimental":"enabled","plugins":[[[]]]}}"#),
        format!(r#"{{"auths":{{{good}}}}} "#),
        format!(r#"{{"auths":{{{good}}}}}x"#),
        format!("\u{feff}{{\"auths\":{{{good}}}}}"),
        format!(r#"{{"auths":{{{good}}},"deep":{}{}}}"#, "[".repeat(500), "]".repeat(500)),
    ] {
        rows.push((CONFIG_JSON, document, WEB));
    }
    rows
}

/// Names of registries. The user name shows which entry was used.
const NAMES: [&str; 60] = [
    "r.example",
    "r.example/",
    "https://r.example",
    "http://r.example/",
    "HTTPS://r.example",
    "R.example",
    "https://r.example/v1/",
    "https://r.example/v2/",
    "https://r.example/v1",
    "r.example/v2/team",
    "r.example/team",
    "r.example/team/",
    "r.example/te",
    "r.example/team/web",
    "r.example/other",
    "r.example//team",
    "r.example/t%65am",
    "r.example/%zz",
    "r.example/team?x=y",
    "r.example?x",
    "r.example#y",
    "user@r.example",
    "user:pass@r.example",
    "r.example:",
    "r.example:443",
    "r.example:5000",
    "r.example:*",
    "r.example:x",
    "1:2:3",
    "*.example",
    "*.*",
    "*",
    "r*.example",
    "*r.example",
    "r.ex*le",
    "**.example",
    "?.example",
    "[r].example",
    "r\\.example",
    "r example",
    " r.example",
    "r.example\n",
    "r.example.",
    ".example",
    "",
    "/",
    "/team",
    "//r.example",
    "[fd00::1]:5000",
    "https://[fd00::1]:5000/v2/",
    "[fd00::1",
    "127.0.0.1:5000",
    "docker.io",
    "index.docker.io",
    "https://index.docker.io/v1/",
    "registry-1.docker.io",
    "docker.io/library",
    "ünicode.example",
    "r%2eexample",
    "r%C3%BC.example",
];

fn names_and_images() -> Vec<Question> {
    let mut rows = Vec::new();
    for (image, entries) in [
        (WEB, &NAMES[..]),
        ("r.example:5000/team/web", &NAMES[..]),
        ("docker.io/library/nginx", &NAMES[44..]),
        ("[fd00::1]:5000/web", &NAMES[44..52]),
        ("127.0.0.1:5000/web", &NAMES[44..52]),
    ] {
        for entry in entries {
            let document = json!({"auths": {*entry: {"username": entry, "password": "p"}}});
            rows.push((CONFIG_JSON, document.to_string(), image));
        }
    }
    // Several, the most specific first.
    let several = |entries: &[&str]| -> String {
        let auths: serde_json::Map<String, Value> = entries
            .iter()
            .map(|entry| ((*entry).to_owned(), json!({"username": entry, "password": "p"})))
            .collect();
        json!({"auths": auths}).to_string()
    };
    rows.push((
        CONFIG_JSON,
        several(&["r.example", "*.example", "r.example/team", "r.example/team/web", "s.example"]),
        WEB,
    ));
    rows.push((
        CONFIG_JSON,
        several(&["https://index.docker.io/v1/", "docker.io"]),
        "docker.io/library/nginx",
    ));
    let empty = r#"{"auths":{"docker.io":{},"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#;
    rows.push((CONFIG_JSON, empty.to_owned(), "docker.io/library/nginx"));
    rows
}

fn any_image() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("r.example/team/web"),
        Just("r.example:5000/team/web"),
        Just("a.b.example/web"),
        Just("docker.io/library/nginx"),
        Just("127.0.0.1:5000/web"),
        Just("[fd00::1]:5000/web"),
    ]
}

/// Documents that are nearly right, in forms that Go accepts and in some that it refuses.
fn any_document() -> impl Strategy<Value = String> {
    let object = proptest::collection::vec(any_member(), 0..4).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    });
    let entry = prop_oneof![9 => object, 1 => Just("null".to_owned())];
    let entries = proptest::collection::vec((any_name(), entry), 0..4).prop_map(|entries| {
        let entries: Vec<String> =
            entries.iter().map(|(name, entry)| format!("{}: {entry}", json!(name))).collect();
        format!("{{{}}}", entries.join(", "))
    });
    let around = prop_oneof![
        Just("{\"auths\": IT}"),
        Just(" {\"x\": [null], \"AUTHS\": IT, \"HttpHeaders\": null} "),
        Just("{\"auths\": {}, \"auths\": IT}")
    ];
    (around, entries).prop_map(|(around, entries)| around.replace("IT", &entries))
}

/// The name of a registry, as an entry may have it.
fn any_name() -> impl Strategy<Value = String> {
    let scheme = select(vec!["", "", "", "", "https://", "https://", "http://", "user@"]);
    let hosts = [
        "r.example",
        "r.example",
        "*.example",
        "*.*",
        "a.*.example",
        "docker.io",
        "127.0.0.1",
        "[fd00::1]",
        "index.docker.io",
    ];
    let host = prop_oneof![
        9 => select(hosts.to_vec()).prop_map(str::to_owned),
        1 => "[r*.]{1,4}example",
    ];
    let port = select(vec!["", "", "", "", ":5000", ":5000", ":", ":443", ":x"]);
    let paths = ["", "", "", "/", "/v1/", "/v2/team", "/team", "/team"];
    let path = prop_oneof![
        8 => select(paths.to_vec()).prop_map(str::to_owned),
        2 => "[/team%6?#v12]{0,9}",
    ];
    (scheme, host, port, path).prop_map(|(scheme, host, port, path)| format!("{scheme}{host}{port}{path}"))
}

/// Name and value of a member of an entry.
fn any_member() -> impl Strategy<Value = (&'static str, String)> {
    let text = prop_oneof![
        3 => "[a-z]{0,6}".prop_map(|text| json!(text).to_string()),
        1 => Just("null".to_owned()),
        1 => any::<String>().prop_map(|text| json!(text.replace('\0', "")).to_string()),
    ];
    let encoded = (any::<bool>(), "[a-z]{0,5}:[ -~]{0,5}", 0_usize..9).prop_map(|(pad, pair, at)| {
        let mut encoded = if pad { STANDARD.encode(&pair) } else { STANDARD_NO_PAD.encode(&pair) };
        if at < encoded.len() {
            encoded.insert(at, '\n');
        }
        json!(encoded).to_string()
    });
    prop_oneof![
        2 => (prop_oneof![Just("username"), Just("userName")], text.clone()).boxed(),
        2 => (prop_oneof![Just("password"), Just("PASSWORD")], text.clone()).boxed(),
        3 => (prop_oneof![Just("auth"), Just("Auth")], encoded).boxed(),
        1 => (Just("email"), text).boxed(),
        1 => (Just("more"), prop_oneof![Just("null"), Just("[{}]"), Just("1e400"), Just("{\"auth\":1}")].prop_map(str::to_owned)).boxed(),
    ]
}
