//! The subcommands for people: they ask the same registries and print what the operator would do.

use std::path::Path;

use anyhow::{Context as _, Result};
use api::{annotation, label};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::support::{Bench, CONFIG_TYPE, Ready as _, World, cases, checked, same, text};

cases! {
    Both [
        render_prints_what_the_operator_applies,
        discover_prints_what_is_attached,
    ]
    Embedded [
        credentials_come_from_the_docker_file,
        failures_are_printed_with_a_status,
        kubectl_reads_any_text_that_is_rendered,
        texts_of_a_registry_are_escaped,
    ]
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program with nothing in its home.
async fn run(home: &Path, args: &[&str]) -> Result<Ran> {
    let mut command = tokio::process::Command::new(World::binary());
    command
        .args(args)
        .env("HOME", home)
        .env_remove("DOCKER_CONFIG")
        .env_remove("KUBECONFIG")
        .kill_on_drop(true);
    let output = command.output().await?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(Ran { code: output.status.code(), stdout, stderr })
}

impl Ran {
    fn ok(self) -> Result<String> {
        anyhow::ensure!(self.code == Some(0), "status {:?}: {}", self.code, self.stderr);
        Ok(self.stdout)
    }
}

/// A file with the resource, as it would be applied.
fn resource(bench: &Bench, directory: &Path, spec: &Value) -> Result<String> {
    let path = directory.join("web.yaml");
    let object = json!({
        "apiVersion": "artifactconfig.dev/v1alpha1", "kind": "ArtifactConfig",
        "metadata": {"name": "web", "namespace": bench.namespace}, "spec": spec,
    });
    // Something else before it, as in a file that holds a whole application.
    std::fs::write(
        &path,
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n---\n{object}\n"),
    )?;
    Ok(path.display().to_string())
}

/// Without a cluster, and the same to the byte; only what ties it to a resource in a cluster is missing.
async fn render_prints_what_the_operator_applies(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let files: [(&str, &[u8]); 3] = [("config.json", b"{}\r\n"), ("a/b.ini", b"[b]"), ("c.bin", b"\xff\0")];
    bench.world.oras.attach(&image, CONFIG_TYPE, &files, &[]).await?;
    let target =
        json!({"name": "web-config", "labels": {"app": "web"}, "annotations": {"example.com/a": "1"}});
    let spec = json!({"image": image, "artifactType": CONFIG_TYPE, "target": target, "registry": {"plainHttp": true}});
    bench.apply_raw("web", &spec).await?;
    bench.ready("web").await?;
    let applied = bench.config_map("web-config").await?;

    let directory = tempfile::tempdir()?;
    let file = resource(&bench, directory.path(), &spec)?;
    let json = run(directory.path(), &["render", "-f", &file, "-o", "json"]).await?.ok()?;
    let rendered: ConfigMap = serde_json::from_str(&json)?;
    same("data", &rendered.data, &applied.data)?;
    same("binaryData", &rendered.binary_data, &applied.binary_data)?;
    let mut annotations = applied.metadata.annotations.context("no annotations")?;
    annotations.remove(annotation::REVISION);
    same("annotations", rendered.metadata.annotations, Some(annotations))?;
    let mut labels = applied.metadata.labels.context("no labels")?;
    labels.remove(label::OWNER_UID);
    same("labels", rendered.metadata.labels, Some(labels))?;
    same("name", rendered.metadata.name.as_deref(), Some("web-config"))?;

    // What it prints can be applied.
    let yaml = run(directory.path(), &["render", "-f", &file]).await?.ok()?;
    let yaml = yaml.replace("name: web-config", "name: printed");
    bench.world.cluster.apply(&yaml).await?;
    let printed = bench.config_map("printed").await?;
    same("data", &printed.data, &applied.data)?;
    same("binaryData", &printed.binary_data, &applied.binary_data)
}

/// `render | kubectl apply`: kubectl's reader of YAML is another one than ours. Not with `--server-side`, where kubectl
/// sends control characters in a form that the API server refuses, for every input.
async fn kubectl_reads_any_text_that_is_rendered(bench: Bench) -> Result<()> {
    const FILES: [(&str, &str); 11] = [
        ("Makefile", "\tall:\n"),
        ("breaks", "a\u{85}b\u{2028}c\r\nd\r"),
        ("control", "\u{1}\u{1b}[31m\u{7f}\u{9b}\u{feff}\u{fffe}\u{e0001}"),
        ("spaces", "  first\n last \n \n\t\n"),
        ("ends", "\n\na\n\n\n"),
        ("nginx.conf", "server {\n\tlisten 80; # port\n\n\t\troot /;\n}\n"),
        ("document", "---\n- a: b\n...\n"),
        ("yes", "yes"),
        ("0x1", "0x1"),
        ("1e3", "~"),
        ("null", "12:30:45"),
    ];
    let (image, _, _) = bench.image_with("web:v1", &FILES).await?;
    let long = "long line ".repeat(20_000);
    let files: Vec<_> = FILES.into_iter().chain([("long", long.as_str())]).collect();
    bench.attach_at(&image, 2, &files).await?;
    let directory = tempfile::tempdir()?;
    let spec = json!({
        "image": image, "artifactType": CONFIG_TYPE, "registry": {"plainHttp": true},
        "target": {"annotations": {"example.com/a": "\tx: #y\u{202e}"}},
    });
    let file = resource(&bench, directory.path(), &spec)?;
    for output in ["yaml", "json"] {
        let rendered = run(directory.path(), &["render", "-f", &file, "-o", output]).await?.ok()?;
        let path = directory.path().join("rendered.yaml");
        std::fs::write(&path, rendered)?;
        bench.kubectl(&["apply", "-f", &path.display().to_string()]).await?;
        same(output, bench.data("web").await?, text(&files))?;
        let annotations = bench.config_map("web").await?.metadata.annotations.unwrap_or_default();
        same("annotation", annotations["example.com/a"].as_str(), "\tx: #y\u{202e}")?;
        bench.kubectl(&["delete", "configmap", "web"]).await?;
    }
    Ok(())
}

/// Everyone who may push to the repository must not control the terminals of readers.
async fn texts_of_a_registry_are_escaped(bench: Bench) -> Result<()> {
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let foreign = "\u{1b}[31mred\nsha256:0 custom/config\u{202e}\u{9b}";
    let annotations = [("org.opencontainers.image.version", foreign), ("example.com/note", foreign)];
    bench.attach_with(&image, CONFIG_TYPE, &[("config.json", "{}")], &annotations).await?;
    let directory = tempfile::tempdir()?;
    let spec = json!({"image": image, "artifactType": CONFIG_TYPE, "registry": {"plainHttp": true}});
    let file = resource(&bench, directory.path(), &spec)?;
    let escaped = r"\u001b[31mred";
    let discover = ["discover", &image, "--plain-http"];
    for (args, shown) in [
        (&discover[..], true),
        (&[&discover[..], &["-o", "yaml"]].concat(), true),
        (&["render", "-f", &file], false),
    ] {
        let Ran { stdout, stderr, .. } = run(directory.path(), args).await?;
        let printable = |text: &str| text.chars().all(|c| c == '\n' || oci::text::is_printable(c));
        checked(
            &format!("{args:?} prints what can be seen"),
            printable(&stdout) && printable(&stderr),
            &stdout,
        )?;
        same(&format!("{args:?} shows it"), stdout.contains(escaped), shown)?;
    }
    bench.apply_raw("web", &spec).await?;
    let config = bench.ready("web").await?;
    checked("the condition", config.message()?.chars().all(oci::text::is_printable), config.message()?)
}

/// As a table for people and as documents for programs.
async fn discover_prints_what_is_attached(bench: Bench) -> Result<()> {
    let (image, digest, first) = bench.image_with("web:v1", &[("config.json", "{}")]).await?;
    let second = bench.attach_at(&image, 2, &[("config.json", "{}"), ("a.ini", "")]).await?;
    let other = bench.attach_with(&image, "application/vnd.example.signature", &[("sig", "x")], &[]).await?;
    let home = tempfile::tempdir()?;
    let base = ["discover", &image, "--plain-http"];

    let table = run(home.path(), &base).await?.ok()?;
    for word in [&digest, &first, &second, &other, CONFIG_TYPE, "config.json"] {
        checked(&format!("the table has {word}"), table.contains(word), &table)?;
    }
    let args = [&base[..], &["--artifact-type", CONFIG_TYPE, "-o", "json"]].concat();
    let document: Value = serde_json::from_str(&run(home.path(), &args).await?.ok()?)?;
    same("digest", &document["digest"], &json!(digest))?;
    let referrers = document["referrers"].as_array().context("no referrers")?;
    let digests: Vec<_> =
        referrers.iter().map(|referrer| referrer["digest"].as_str().unwrap_or_default()).collect();
    same("oldest first", digests, vec![first.as_str(), second.as_str()])?;
    same("files", &referrers[1]["files"][0]["name"], &json!("config.json"))?;

    let nothing = bench.image("web:nothing");
    bench.push(&nothing).await?;
    let table = run(home.path(), &["discover", &nothing, "--plain-http"]).await?.ok()?;
    checked("it says so", table.contains("nothing is attached"), table)
}

/// `docker login`, `oras login` and the rest write this file.
async fn credentials_come_from_the_docker_file(bench: Bench) -> Result<()> {
    let (image, _, artifact) = bench.image_with("web:v1", &[("config.json", "private")]).await?;
    bench.world.embedded.require_basic(&format!("{}/", bench.namespace), "robot", "secret-word");
    let home = tempfile::tempdir()?;
    let refused = run(home.path(), &["discover", &image, "--plain-http"]).await?;
    same("status without credentials", refused.code, Some(1))?;
    checked("the reason is said", refused.stderr.contains("AuthenticationFailed"), &refused.stderr)?;
    // Advice for somebody at a terminal, who has no resource to name a Secret in.
    let advice = format!("docker login {}", bench.world.embedded.host());
    checked("what to do", refused.stderr.contains(&advice), &refused.stderr)?;
    checked("no field of a resource", !refused.stderr.contains("spec."), &refused.stderr)?;
    let directory = tempfile::tempdir()?;
    let file = resource(
        &bench,
        directory.path(),
        &json!({"image": image, "artifactType": CONFIG_TYPE, "registry": {"plainHttp": true}}),
    )?;
    let refused = run(home.path(), &["render", "-f", &file]).await?;
    checked("the same of a file", refused.stderr.contains(&advice), &refused.stderr)?;

    let auths =
        json!({"auths": {bench.world.embedded.host(): {"username": "robot", "password": "secret-word"}}});
    std::fs::create_dir(home.path().join(".docker"))?;
    std::fs::write(home.path().join(".docker/config.json"), auths.to_string())?;
    let table = run(home.path(), &["discover", &image, "--plain-http"]).await?.ok()?;
    checked("the artifact is listed", table.contains(&artifact), table)?;
    let spec = json!({"image": image, "artifactType": CONFIG_TYPE, "registry": {"plainHttp": true}});
    let file = resource(&bench, home.path(), &spec)?;
    let rendered = run(home.path(), &["render", "-f", &file, "-o", "json"]).await?.ok()?;
    let rendered: ConfigMap = serde_json::from_str(&rendered)?;
    same("data", rendered.data.unwrap_or_default(), text(&[("config.json", "private")]))
}

/// Status 1, the reason and the message on standard error, nothing on standard output.
async fn failures_are_printed_with_a_status(bench: Bench) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let image = bench.image("web:v1");
    let spec =
        |image: &str| json!({"image": image, "artifactType": CONFIG_TYPE, "registry": {"plainHttp": true}});
    let file = resource(&bench, directory.path(), &spec(&image))?;
    let render = ["render", "-f", &file];
    let missing = run(directory.path(), &render).await?;
    same("missing image", (missing.code, missing.stdout.as_str()), (Some(1), ""))?;
    checked("the reason is said", missing.stderr.contains("ImageNotFound"), missing.stderr)?;
    bench.push(&image).await?;
    let nothing = run(directory.path(), &render).await?;
    same("nothing attached", (nothing.code, nothing.stdout.as_str()), (Some(1), ""))?;
    checked("the reason is said", nothing.stderr.contains("ArtifactNotFound"), nothing.stderr)?;
    resource(&bench, directory.path(), &spec("https://registry.example.com/web"))?;
    let invalid = run(directory.path(), &render).await?;
    same("invalid field", (invalid.code, invalid.stdout.as_str()), (Some(1), ""))?;
    checked("the field is named", invalid.stderr.contains("spec.image"), invalid.stderr)?;
    let absent = run(directory.path(), &["render", "-f", "does-not-exist.yaml"]).await?;
    same("no file", absent.code, Some(1))?;
    checked("the file is named", absent.stderr.contains("does-not-exist.yaml"), absent.stderr)
}
