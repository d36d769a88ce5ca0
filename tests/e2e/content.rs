//! From files to keys: names, bytes, sizes and choices.

use std::path::Path;

use anyhow::{Context as _, Result};
use api::Reason;
use decide::limits;
use decide::render::Content;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::json;

use crate::support::{Bench, CONFIG_TYPE, Ready as _, cases, checked, same, text};

cases! {
    Both [
        a_directory_becomes_keys,
        bytes_that_are_no_text_become_binary_data,
    ]
    Embedded [
        files_are_chosen_and_renamed,
        a_pattern_that_matches_nothing_says_what_there_is,
        files_in_a_directory_are_chosen,
        two_files_for_one_key_are_refused,
        a_name_that_leaves_its_directory_is_refused,
        links_in_a_directory_are_refused,
        an_artifact_without_files_is_refused,
        a_full_config_map_fits,
        more_than_a_config_map_holds_is_refused,
        data_and_binary_data_change_places,
        any_text_arrives_and_is_replaced_as_it_is,
        what_grows_on_its_way_is_refused_and_what_fits_is_written,
        what_does_not_fit_beside_what_others_have_put_there_is_too_large,
        a_file_whose_name_is_a_pattern_is_taken_as_the_message_says,
        a_name_that_nobody_wants_spoils_nothing,
    ]
}

const MEBIBYTE: usize = 1024 * 1024;

/// `oras attach … conf.d` packs a directory; its files arrive under their paths with dots.
async fn a_directory_becomes_keys(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let directory = tempfile::tempdir()?;
    write(directory.path(), "conf.d/a.ini", b"[a]\n")?;
    write(directory.path(), "conf.d/deep/b.ini", b"[b]\r\n")?;
    write(directory.path(), "config.json", b"{}")?;
    attach_in(&bench, directory.path(), &image, &["conf.d", "config.json"]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let expected = [("conf.d.a.ini", "[a]\n"), ("conf.d.deep.b.ini", "[b]\r\n"), ("config.json", "{}")];
    same("data", bench.data("web").await?, text(&expected))
}

/// A file that is not UTF-8, or contains NUL, arrives unchanged in `binaryData`.
async fn bytes_that_are_no_text_become_binary_data(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let all: Vec<u8> = (0..=255).collect();
    let files: [(&str, &[u8]); 3] =
        [("all.bin", &all), ("nul.txt", b"a\0b"), ("text.txt", "\u{e4}".as_bytes())];
    bench.world.oras.attach(&image, CONFIG_TYPE, &files, &[]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let config_map = bench.config_map("web").await?;
    same("data", config_map.data.unwrap_or_default(), text(&[("text.txt", "\u{e4}")]))?;
    let binary = config_map.binary_data.context("no binaryData")?;
    let binary: Vec<_> = binary.iter().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
    same("binaryData", binary, vec![("all.bin", &all[..]), ("nul.txt", b"a\0b")])
}

/// `spec.files` picks by name and by pattern, and names keys; changing it changes the `ConfigMap` with nothing new attached.
async fn files_are_chosen_and_renamed(bench: Bench) -> Result<()> {
    let files = [("config.json", "{}"), ("a.ini", "a"), ("b.ini", "b"), ("README.md", "read me")];
    let (image, _, _) = bench.image_with("web:v1", &files).await?;
    let chosen = json!([{"path": "config.json", "key": "app.json"}, {"path": "*.ini"}]);
    bench.apply("web", json!({"image": image, "files": chosen})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("app.json", "{}"), ("a.ini", "a"), ("b.ini", "b")]))?;

    bench
        .apply("web", json!({"image": image, "files": [{"path": "[a]*.ini"}, {"path": "README.md"}]}))
        .await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("a.ini", "a"), ("README.md", "read me")]))?;

    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&files))
}

/// A rule that matches nothing is a mistake, and the message helps to find it.
async fn a_pattern_that_matches_nothing_says_what_there_is(bench: Bench) -> Result<()> {
    let (image, _, _) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image, "files": [{"path": "config.yaml"}]})).await?;
    let config = bench.failed("web", Reason::InvalidFiles).await?;
    let message = config.message()?;
    checked(
        "both are named",
        message.contains("'config.yaml'") && message.contains("'config.json'"),
        message,
    )?;
    same("a ConfigMap exists", bench.has_config_map("web").await?, false)
}

/// Patterns reach into directories that were attached whole.
async fn files_in_a_directory_are_chosen(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let directory = tempfile::tempdir()?;
    write(directory.path(), "conf.d/a.ini", b"a")?;
    write(directory.path(), "conf.d/deep/b.ini", b"b")?;
    write(directory.path(), "conf.d/c.txt", b"c")?;
    attach_in(&bench, directory.path(), &image, &["conf.d"]).await?;
    let files = json!([{"path": "conf.d/*.ini"}, {"path": "conf.d/deep/b.ini", "key": "b"}]);
    bench.apply("web", json!({"image": image, "files": files})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("conf.d.a.ini", "a"), ("b", "b")]))
}

/// No file is lost silently because another has the same key.
async fn two_files_for_one_key_are_refused(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.attach(&image, &[("a/b.ini", "1"), ("a.b.ini", "2")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.failed("web", Reason::InvalidFiles).await?;
    checked("both are named", config.message()?.contains("'a.b.ini' and 'a/b.ini'"), config.message()?)?;
    let files = json!([{"path": "a/b.ini", "key": "first"}, {"path": "a.b.ini"}]);
    bench.apply("web", json!({"image": image, "files": files})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("first", "1"), ("a.b.ini", "2")]))
}

/// `..` is an accident of the push or an attack; in either case no file name.
async fn a_name_that_leaves_its_directory_is_refused(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let directory = tempfile::tempdir()?;
    write(directory.path(), "outside.json", b"{}")?;
    let inside = directory.path().join("inside");
    std::fs::create_dir(&inside)?;
    let paths = ["--disable-path-validation", "../outside.json"];
    attach_in(&bench, &inside, &image, &paths).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.failed("web", Reason::InvalidFiles).await?;
    checked("the name is shown", config.message()?.contains("../outside.json"), config.message()?)
}

/// Half a directory is a wrong config: an entry that cannot become a key is a failure of the whole.
async fn links_in_a_directory_are_refused(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let directory = tempfile::tempdir()?;
    write(directory.path(), "conf.d/a.ini", b"a")?;
    std::os::unix::fs::symlink("a.ini", directory.path().join("conf.d/b.ini"))?;
    attach_in(&bench, directory.path(), &image, &["conf.d"]).await?;
    bench.apply("web", json!({"image": image})).await?;
    let config = bench.failed("web", Reason::InvalidContent).await?;
    checked("the link is named", config.message()?.contains("conf.d/b.ini"), config.message()?)
}

/// An artifact of annotations alone is no config.
async fn an_artifact_without_files_is_refused(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.attach_with(&image, CONFIG_TYPE, &[], &[("note", "nothing else")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::UnsupportedArtifact).await?;
    Ok(())
}

/// Exactly 1 MiB is what Kubernetes takes; it is created, and replaced by another, as text and as bytes.
async fn a_full_config_map_fits(bench: Bench) -> Result<()> {
    for (repository, first, second) in [("text", b'a', b'b'), ("bytes", 0xfe, 0xff)] {
        let image = bench.image(&format!("{repository}:v1"));
        bench.push(&image).await?;
        for (minute, byte) in [(1, first), (2, second)] {
            let created = format!("2026-01-01T00:0{minute}:00Z");
            let whole = vec![byte; MEBIBYTE];
            let annotations = [("org.opencontainers.image.created", created.as_str())];
            bench.world.oras.attach(&image, CONFIG_TYPE, &[("full", &whole)], &annotations).await?;
            bench.apply(repository, json!({"image": image})).await?;
            bench.sync_ready(repository).await?;
            let config_map = bench.config_map(repository).await?;
            let text = config_map.data.unwrap_or_default().remove("full").map(String::into_bytes);
            let bytes = config_map.binary_data.unwrap_or_default().remove("full").map(|bytes| bytes.0);
            checked("every byte has arrived", text.or(bytes) == Some(whole), (repository, minute))?;
        }
    }
    Ok(())
}

/// One byte more is refused with the sizes, before anything of it is written; the last good config stays.
async fn more_than_a_config_map_holds_is_refused(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let large = "x".repeat(MEBIBYTE - 1);
    bench.attach_at(&image, 2, &[("config.json", "{}"), ("large.txt", &large)]).await?;
    let config = bench.sync_failed("web", Reason::TooLarge).await?;
    let message = config.message()?;
    let sizes =
        message.contains("1048577") && message.contains("1048576") && message.contains("'large.txt' 1048575");
    checked("the message has the sizes", sizes, message)?;
    same("artifact", config.artifact()?, &artifact)?;
    same("data", bench.data("web").await?, text(&[("config.json", "{}")]))?;

    bench.apply("web", json!({"image": image, "files": [{"path": "large.txt"}]})).await?;
    bench.ready("web").await?;
    same("what is taken of it fits", bench.data("web").await?, text(&[("large.txt", &large)]))
}

/// A key cannot be in both maps; a file that changes its nature moves.
async fn data_and_binary_data_change_places(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.apply("web", json!({"image": image})).await?;
    for (minute, content) in [(1, &b"text"[..]), (2, &b"\xff"[..]), (3, &b"text again"[..])] {
        let created = format!("2026-01-01T00:0{minute}:00Z");
        let annotations = [("org.opencontainers.image.created", created.as_str())];
        bench.world.oras.attach(&image, CONFIG_TYPE, &[("config", content)], &annotations).await?;
        bench.sync_ready("web").await?;
        let config_map = bench.config_map("web").await?;
        let text = config_map.data.unwrap_or_default().remove("config").map(String::into_bytes);
        let bytes = config_map.binary_data.unwrap_or_default().remove("config").map(|bytes| bytes.0);
        same("one of both", (text.is_some(), bytes.is_some()), (minute != 2, minute == 2))?;
        same("content", text.or(bytes).unwrap_or_default(), content)?;
    }
    Ok(())
}

/// An apply is read as YAML by the API server, for which some characters are forbidden and some are line breaks; the
/// operator creates by JSON and replaces by an apply. Annotations of the artifact go into the status the same way.
async fn any_text_arrives_and_is_replaced_as_it_is(bench: Bench) -> Result<()> {
    const TEXTS: [(&str, &str); 5] = [
        ("breaks", "a \u{85} b\u{2028}c\u{2029} d\r\n"),
        ("control", "\u{1}\u{1b}[31m\u{7f}\u{80}\u{9f}"),
        ("marks", "\u{feff}a\u{202e}b\u{200b}c\u{fffe}\u{ffff}\u{e0001}\u{1f600}"),
        ("Makefile", "\tall:\n\t\tcc\n"),
        ("words", "yes"),
    ];
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    bench.apply("web", json!({"image": image})).await?;
    for turn in 1..=2 {
        let texts = TEXTS.map(|(name, text)| (name, format!("{text}{}", text.repeat(turn))));
        let files: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let created = format!("2026-01-01T00:0{turn}:00Z");
        let note = format!("{turn}: \u{7f}\u{85}\u{9b}\u{2028}");
        let annotations = [("org.opencontainers.image.created", created.as_str()), ("note", note.as_str())];
        bench.world.oras.attach(&image, CONFIG_TYPE, &files, &annotations).await?;
        let config = bench.sync_ready("web").await?;
        let expected = texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
        same("data", bench.data("web").await?, expected)?;
        let status = config.status.and_then(|status| status.artifact).context("no artifact in the status")?;
        same("annotation", status.annotations.get("note"), Some(&note))?;
    }
    Ok(())
}

/// The body of a request and the object in etcd have separate bounds. The real API server accepts all content within
/// the operator's bounds, when it is created and when it is replaced.
async fn what_grows_on_its_way_is_refused_and_what_fits_is_written(bench: Bench) -> Result<()> {
    let growing = bench.image("growing:v1");
    bench.push(&growing).await?;
    let attach = async |image: &str, minute: u32, files: &[(&str, &[u8])]| {
        let created = format!("2026-01-01T00:{minute:02}:00Z");
        let annotations = [("org.opencontainers.image.created", created.as_str())];
        bench.world.oras.attach(image, CONFIG_TYPE, files, &annotations).await
    };
    let largest = |byte: u8| {
        let fits = |size: usize| {
            let text = String::from_utf8(vec![byte; size]).unwrap_or_default();
            limits::check(&Content { data: [("full".to_owned(), text)].into(), ..Content::default() }).is_ok()
        };
        most_that(MEBIBYTE, fits)
    };
    bench.apply("growing", json!({"image": growing})).await?;
    attach(&growing, 1, &[("full", &vec![1; 600_000])]).await?;
    let config = bench.sync_failed("growing", Reason::TooLarge).await?;
    checked("it names the file", config.message()?.contains("most of all 'full'"), config.message()?)?;
    for (minute, byte) in [(2, 1), (3, 2)] {
        attach(&growing, minute, &[("full", &vec![byte; largest(byte)])]).await?;
        bench.sync_ready("growing").await?;
    }

    let many = bench.image("many:v1");
    bench.push(&many).await?;
    bench.apply("many", json!({"image": many})).await?;
    let name = |index: usize| format!("conf.d/{index:0240}");
    let fits = |count: usize| {
        let data = (0..count).map(|index| (name(index).replace('/', "."), "x".repeat(250))).collect();
        limits::check(&Content { data, ..Content::default() }).is_ok()
    };
    let most = most_that(4000, fits);
    for (minute, (count, byte, taken)) in
        [(4000, b'x', false), (most, b'y', true), (most, b'z', true)].into_iter().enumerate()
    {
        let directory = tempfile::tempdir()?;
        for index in 0..count {
            write(directory.path(), &name(index), &[byte; 250])?;
        }
        let created = format!("org.opencontainers.image.created=2026-01-01T00:0{minute}:00Z");
        attach_in(&bench, directory.path(), &many, &["--annotation", &created, "conf.d"]).await?;
        if taken {
            bench.sync_ready("many").await?;
            let data = bench.data("many").await?;
            let first = data.get(&format!("conf.d.{:0240}", 0)).context("it is not in it")?;
            same("keys and first value", (data.len(), first.as_bytes()), (count, &[byte; 250][..]))?;
        } else {
            let config = bench.sync_failed("many", Reason::TooLarge).await?;
            checked("it says where", config.message()?.contains("in etcd"), config.message()?)?;
        }
    }
    Ok(())
}

/// The largest number below a bound that fits, where all smaller ones do.
fn most_that(bound: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, bound);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

/// With `Merge` the values of others count as well, and only the API server knows both.
async fn what_does_not_fit_beside_what_others_have_put_there_is_too_large(bench: Bench) -> Result<()> {
    let half = "x".repeat(600_000);
    let (image, _, _) = bench.image_with("web:v1", &[("ours", &half)]).await?;
    let theirs: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "theirs"}, "data": {"theirs": half}}))?;
    bench.config_maps().create(&PostParams::default(), &theirs).await?;
    bench
        .apply("web", json!({"image": image, "target": {"name": "theirs", "creationPolicy": "Merge"}}))
        .await?;
    bench.failed("web", Reason::TooLarge).await?;
    same("keys", bench.data("theirs").await?.len(), 1)
}

/// Frameworks name files after the routes they serve. The entry that the message advises is taken as it stands there.
async fn a_file_whose_name_is_a_pattern_is_taken_as_the_message_says(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let directory = tempfile::tempdir()?;
    for name in ["[id].json", "i.json", "a*?.json"] {
        write(directory.path(), name, name.as_bytes())?;
    }
    attach_in(&bench, directory.path(), &image, &["[id].json", "i.json", "a*?.json"]).await?;
    bench.apply("web", json!({"image": image})).await?;
    for name in ["a*?.json", "[id].json"] {
        let only = json!({"image": image, "files": [{"path": name}]});
        bench.apply("web", only).await?;
        let config = bench.failed("web", Reason::InvalidFiles).await?;
        let (message, says) = (config.message()?, format!("file '{name}' cannot become"));
        checked("it is this file, and not what its name matches", message.contains(&says), message)?;
        let entry = &message[message.find("{path: ").context("no advice")?..];
        let entry = entry[..=entry.find('}').context("no end")?].replace('…', "taken.json");
        let entry: serde_json::Value = serde_saphyr::from_str(&entry)?;
        bench.apply("web", json!({"image": image, "files": [entry]})).await?;
        bench.wait_data("web", &text(&[("taken.json", name)])).await?;
    }
    Ok(())
}

/// Only a selected file can make a config fail. An invalid name, or a link in a directory, of another file cannot.
async fn a_name_that_nobody_wants_spoils_nothing(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let directory = tempfile::tempdir()?;
    write(directory.path(), "config.json", b"{}")?;
    write(directory.path(), "a\\b", b"")?;
    write(directory.path(), "other.d/x", b"")?;
    std::os::unix::fs::symlink("x", directory.path().join("other.d/link"))?;
    attach_in(&bench, directory.path(), &image, &["config.json", "a\\b", "other.d"]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.failed("web", Reason::InvalidFiles).await?;
    bench.apply("web", json!({"image": image, "files": [{"path": "config.json"}]})).await?;
    bench.ready("web").await?;
    same("data", bench.data("web").await?, text(&[("config.json", "{}")]))
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().context("no parent")?)?;
    Ok(std::fs::write(path, bytes)?)
}

/// `oras attach` of what lies in a directory, under the names it has there.
async fn attach_in(bench: &Bench, directory: &Path, image: &str, paths: &[&str]) -> Result<()> {
    let attach = ["attach", "--plain-http", "--artifact-type", CONFIG_TYPE, image];
    bench.world.oras.run(&[&attach[..], paths].concat(), directory).await?;
    Ok(())
}
