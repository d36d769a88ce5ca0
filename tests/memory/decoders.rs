//! The peak of each decoder, counted by an allocator, for the worst inputs that fit into what is read.

use oci::{Digest, MAX_ENTRIES, parse_artifact, parse_index, parse_legacy_list};

/// A quarter of the largest document that is read, so that this does not take minutes.
const MOST: usize = 1024 * 1024;

/// How many bytes a decoder may take for each byte of its input. What is kept of a full list is counted by its entries,
/// which have a bound of their own.
const TIMES: usize = 2;

/// For what has a bound of its own: entries of a list, layers, annotations.
const FIXED: usize = 1024 * 1024;

/// Makes one element of a list or of an object, by its number.
type Item = Box<dyn Fn(usize) -> String>;

type Decoder = fn(&[u8]);

/// A document with its name.
type Input = (String, Vec<u8>);

/// `around` with as many of `item` in place of `*` as fit.
fn filled(around: &str, item: impl Fn(usize) -> String) -> Vec<u8> {
    let (before, after) = around.split_once('*').unwrap();
    let mut text = before.to_owned();
    for number in 0.. {
        let item = item(number);
        if text.len() + item.len() + after.len() + 1 > MOST {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text.push_str(&item);
    }
    text.push_str(after);
    text.into_bytes()
}

fn digest(number: usize) -> Digest {
    Digest::sha256(&number.to_be_bytes())
}

/// Every kind of text and list that could cost more memory than it has bytes, with its name.
fn worst() -> Vec<Input> {
    [lists(), members(), texts(), broken()].concat()
}

/// Elements without a field that a decoder knows.
fn plain_items() -> Vec<(&'static str, Item)> {
    vec![
        ("objects", Box::new(|_| r#"{"a":1}"#.to_owned())),
        ("objects in objects", Box::new(|_| r#"{"a":{}}"#.to_owned())),
        ("empty objects", Box::new(|_| "{}".to_owned())),
        ("empty lists", Box::new(|_| "[]".to_owned())),
        ("numbers", Box::new(|_| "1".to_owned())),
        ("nulls", Box::new(|_| "null".to_owned())),
        ("texts", Box::new(|_| "\"\"".to_owned())),
        ("escapes", Box::new(|_| r#""\n\u0041\ud83d\ude00\ud800""#.to_owned())),
        ("deep", Box::new(|_| format!("{}{}", "[".repeat(1000), "]".repeat(1000)))),
    ]
}

/// Elements with the fields of descriptors.
fn descriptors() -> Vec<(&'static str, Item)> {
    vec![
        ("types", Box::new(|number| format!(r#"{{"artifactType":"t/{number}"}}"#))),
        ("digests", Box::new(|number| format!(r#"{{"digest":"{}","size":1}}"#, digest(number)))),
        (
            "typed digests",
            Box::new(|number| format!(r#"{{"digest":"{}","artifactType":"t/{number}"}}"#, digest(number))),
        ),
        (
            "platforms",
            Box::new(|number| {
                format!(
                    r#"{{"digest":"{}","platform":{{"os":"a","architecture":"b","variant":"c"}}}}"#,
                    digest(number)
                )
            }),
        ),
        (
            "tiny annotations",
            Box::new(|number| {
                format!(
                    r#"{{"digest":"{}","annotations":{{"a":"","b":"","c":"","d":"","e":"","f":""}}}}"#,
                    digest(number)
                )
            }),
        ),
        (
            "large annotations",
            Box::new(|number| {
                format!(r#"{{"digest":"{}","annotations":{{"a":"{}"}}}}"#, digest(number), "x".repeat(4000))
            }),
        ),
        (
            "inline",
            Box::new(|number| {
                format!(r#"{{"digest":"{}","size":1,"data":"{}"}}"#, digest(number), "A".repeat(100_000))
            }),
        ),
        (
            "names",
            Box::new(|number| {
                format!(
                    r#"{{"digest":"{}","size":1,"annotations":{{"org.opencontainers.image.title":"{number}"}}}}"#,
                    digest(number)
                )
            }),
        ),
    ]
}

/// Documents with as many elements in one list as fit.
fn lists() -> Vec<Input> {
    let mut all = Vec::new();
    for (name, item) in plain_items().into_iter().chain(descriptors()) {
        for list in ["manifests", "layers", "referrers", "annotations"] {
            let around = format!(r#"{{"schemaVersion":2,"{list}":[*]}}"#);
            all.push((format!("{name} as {list}"), filled(&around, &item)));
        }
    }
    all
}

/// Documents with as many members in one object as fit.
fn members() -> Vec<Input> {
    let mut all = Vec::new();
    let member = |number: usize| format!(r#""{number:x}":"""#);
    let object = |_: usize| r#""a":{}"#.to_owned();
    for around in [
        r#"{"layers":[],"annotations":{*}}"#,
        r#"{"annotations":{*},"manifests":[]}"#,
        r#"{"layers":[{"annotations":{*}}]}"#,
        r#"{"manifests":[{"annotations":{*}}]}"#,
        r#"{"referrers":[{"annotations":{*}}]}"#,
        r#"{"config":{*},"layers":[]}"#,
        r#"{"subject":{*},"layers":[]}"#,
        "{*}",
    ] {
        all.push((format!("members in {around}"), filled(around, member)));
        all.push((format!("objects in {around}"), filled(around, object)));
    }
    let twice = |_: usize| r#""layers":[]"#.to_owned();
    all.push(("one member again and again".to_owned(), filled("{*}", twice)));
    all
}

/// Documents with one text that is as long as fits.
fn texts() -> Vec<Input> {
    let mut all = Vec::new();
    let text = |_: usize| "x".repeat(1000);
    for around in [
        r#"{"mediaType":"*"}"#,
        r#"{"artifactType":"*","layers":[]}"#,
        r#"{"manifests":[{"artifactType":"*"}]}"#,
        r#"{"layers":[{"data":"*"}]}"#,
    ] {
        all.push((format!("a text in {around}"), filled(around, text)));
    }
    let escapes = |_: usize| r"\n".repeat(500);
    all.push(("escapes in a text".to_owned(), filled(r#"{"artifactType":"*","layers":[]}"#, escapes)));
    all
}

/// Bytes that are not a document.
fn broken() -> Vec<Input> {
    let mut bytes = filled(r#"{"manifests":[*]}"#, |_| r#"{"a":"?"}"#.to_owned());
    bytes.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    vec![
        ("brackets that never close".to_owned(), b"[".repeat(MOST)),
        ("objects that never close".to_owned(), br#"{"a":"#.repeat(MOST / 5)),
        ("not UTF-8".to_owned(), vec![0xff; MOST]),
        ("texts that are not UTF-8".to_owned(), bytes),
    ]
}

/// One page of this size once took a hundred times as much, above the chart's limit.
#[test]
fn a_decoder_takes_a_small_multiple_of_its_input() {
    assert_eq!(MAX_ENTRIES, 1000, "or the fixed part is another one");
    let decoders: [(&str, Decoder); 4] = [
        ("artifact", |bytes| drop(parse_artifact(digest(0), bytes, None))),
        ("index", |bytes| drop(parse_index(bytes, None, Some("custom/config")))),
        ("index of any type", |bytes| drop(parse_index(bytes, None, None))),
        ("legacy list", |bytes| drop(parse_legacy_list(bytes, None))),
    ];
    for (name, bytes) in worst() {
        for (decoder, decode) in decoders {
            let taken = allocation_counter::measure(|| decode(&bytes));
            let most = TIMES * bytes.len() + FIXED;
            assert!(
                taken.bytes_max <= most as u64,
                "{decoder} of {name}: {} bytes for {}; at most {most}",
                taken.bytes_max,
                bytes.len()
            );
        }
    }
}
