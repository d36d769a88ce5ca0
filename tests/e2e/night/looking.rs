//! The subcommands that change nothing.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::{Night, Person, TEXTS, settled};
use crate::support::{Bench, CONFIG_TYPE, cases, checked, eventually, same, text};

cases! {
    Embedded [
        get_shows_what_is_applied,
        history_says_which_config_ran_with_which_image_since_when,
        show_prints_what_is_applied_and_what_was,
        show_prints_bytes_as_they_are,
        diff_compares_revisions_and_says_so_in_its_status,
        diff_fetches_what_no_revision_keeps,
        of_what_is_merged_only_our_keys_are_shown,
        tree_goes_from_the_image_to_the_pods,
        misspelled_names_are_answered_with_the_right_ones,
    ]
}

async fn get_shows_what_is_applied(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let before = settled(&bench).await?;
    let table = person.types(&["get"]).await?.ok()?;
    for word in ["NAME", "web", &night.image, &night.artifacts[2][..19], "Synced"] {
        checked(&format!("the table has {word}"), table.contains(word), &table)?;
    }
    checked(
        "no namespace without -A",
        !table.contains(&bench.namespace) || !table.contains("NAMESPACE"),
        &table,
    )?;
    let wide = person.types(&["get", "web", "-o", "wide"]).await?.ok()?;
    checked("wide names the image's digest", wide.contains(&night.image_digest), wide)?;
    let all = person.types(&["-A", "get"]).await?.ok()?;
    checked("-A names the namespace", all.contains("NAMESPACE") && all.contains(&bench.namespace), all)?;
    let names = person.types(&["get", "-o", "name"]).await?.ok()?;
    same("names", names, "artifactconfig.artifactconfig.dev/web\n")?;
    let one = person.types(&["get", "web", "-o", "json"]).await?.json()?;
    same("kind", &one["kind"], &json!("ArtifactConfig"))?;
    same("no managedFields, as kubectl", &one["metadata"]["managedFields"], &Value::Null)?;
    let list = person.types(&["get", "-o", "json"]).await?.json()?;
    same("the list", (&list["kind"], &list["items"][0]), (&json!("List"), &one))?;
    // What it prints can be applied again.
    let yaml = person.types(&["get", "web", "-o", "yaml"]).await?.ok()?;
    checked("it is YAML of the resource", yaml.contains("kind: ArtifactConfig"), yaml)?;
    same("nothing changed", bench.snapshot().await?, before)
}

async fn history_says_which_config_ran_with_which_image_since_when(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let lines = person.types(&["history", "web", "-o", "json"]).await?.json()?;
    let lines = lines.as_array().context("no list")?;
    for (index, line) in lines.iter().enumerate() {
        let number = lines.len() - index;
        same("revision", &line["revision"], &json!(number))?;
        same("config", &line["artifact"], &json!(night.artifacts[number - 1]))?;
        same("image", &line["image"], &json!(night.image_digest))?;
        same("reference", &line["imageReference"], &json!(night.image))?;
        same("current", &line["current"], &json!(index == 0))?;
        // Each ran until the one after it came.
        let next = index.checked_sub(1).map_or(&Value::Null, |next| &lines[next]["appliedAt"]);
        same("until", &line["until"], next)?;
    }
    same("all of them", lines.len(), 3)?;
    let table = person.types(&["history", "web"]).await?;
    checked("nothing to note", table.stderr.is_empty(), &table.stderr)?;
    let rows: Vec<&str> = table.stdout.lines().collect();
    checked("the current one is marked", rows[1].starts_with("3 *") && !rows[2].contains('*'), &rows)?;
    let names = person.types(&["history", "web", "-o", "name"]).await?.ok()?;
    for name in names.lines() {
        bench.kubectl(&["get", name]).await?;
    }
    same("one name a revision", names.lines().count(), 3)?;

    bench.apply("web", json!({"image": night.image, "rollbackTo": night.artifacts[1]})).await?;
    eventually("history to tell of the way back", || async {
        let ran = person.types(&["history", "web", "-o", "wide"]).await?;
        let rows: Vec<&str> = ran.stdout.lines().collect();
        let told = rows.len() == 5
            && rows[1].starts_with("4 *")
            && rows[1].contains(&night.artifacts[1])
            && rows[2].contains("RolledBack")
            && ran.stderr.contains("spec.rollbackTo keeps")
            && ran.stderr.contains(&night.artifacts[2]);
        Ok(if told { Ok(()) } else { Err(format!("{ran:?}")) })
    })
    .await
}

async fn show_prints_what_is_applied_and_what_was(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let now = person.types(&["show", "web"]).await?;
    same("now", now.stdout.as_str(), format!("==> config.json <==\n{}", TEXTS[2]).as_str())?;
    for digest in [&night.artifacts[2], &night.image_digest[..19]] {
        checked("what it is", now.stderr.contains(digest), &now.stderr)?;
    }
    let first = person.types(&["show", "web", "--revision", "1", "--key", "config.json"]).await?;
    same("the first", (first.stdout.as_str(), first.stderr.as_str()), (TEXTS[0], ""))?;
    let object = person.types(&["show", "web", "--revision", "2", "-o", "json"]).await?.json()?;
    let object: ConfigMap = serde_json::from_value(object)?;
    same("immutable", object.immutable, Some(true))?;
    same(
        "the second",
        object.data.unwrap_or_default().get("config.json").map(String::as_str),
        Some(TEXTS[1]),
    )?;

    // A missing revision, and one that somebody deleted and created again.
    let name = object.metadata.name.context("no name")?;
    bench.kubectl(&["delete", "configmap", &name]).await?;
    let gone = person.types(&["show", "web", "--revision", "2"]).await?.failed(1)?;
    checked("it names what is gone", gone.contains(&name) && gone.contains(&night.artifacts[1]), &gone)?;
    bench.create_config_map(&name, &[], &[("config.json", "forged")]).await?;
    let forged = person.types(&["show", "web", "--revision", "2"]).await?.failed(1)?;
    checked("what is forged is not shown as a revision", forged.contains("somebody created it again"), forged)
}

async fn show_prints_bytes_as_they_are(bench: Bench) -> Result<()> {
    let person = Person::at(&bench)?;
    let image = bench.image("web:v1");
    bench.push(&image).await?;
    let files: [(&str, &[u8]); 2] = [("a.txt", b"no newline"), ("b.bin", b"PNG\n\0")];
    bench.world.oras.attach(&image, CONFIG_TYPE, &files, &[]).await?;
    bench.apply("web", json!({"image": image})).await?;
    bench.ready("web").await?;
    let all = person.types(&["show", "web"]).await?.ok()?;
    checked("text with a line's end", all.starts_with("==> a.txt <==\nno newline\n\n"), &all)?;
    checked("bytes are counted only", all.contains("5 bytes") && !all.contains('\0'), &all)?;
    let text = person.types(&["show", "web", "--key", "a.txt"]).await?.ok()?;
    same("exactly", text, "no newline")?;
    let bytes = person.types(&["show", "web", "--key", "b.bin"]).await?.ok()?;
    same("exactly", bytes, "PNG\n\0")
}

async fn diff_compares_revisions_and_says_so_in_its_status(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let ran = person.types(&["diff", "web", "--from", "1", "--to", "3"]).await?;
    for digest in [&night.artifacts[0], &night.artifacts[2]] {
        checked("it says what it compares", ran.stderr.contains(digest), &ran.stderr)?;
    }
    same("the status says that they differ", ran.code, Some(1))?;
    same(
        "the diff",
        ran.stdout.as_str(),
        "--- revision-1/config.json\n+++ revision-3/config.json\n@@ -1 +1 @@\n-{\"level\": 1}\n+{\"level\": 3}\n",
    )?;
    let coloured = person.types(&["diff", "web", "--from", "1", "--to", "2", "--color", "always"]).await?;
    checked("colours", coloured.stdout.contains("\u{1b}[32m+{\"level\": 2}"), coloured)?;
    let same_twice = person.types(&["diff", "web", "--from", "2", "--to", "2"]).await?;
    same("no difference", (same_twice.code, same_twice.stdout.as_str()), (Some(0), ""))?;
    let by_default = person.types(&["diff", "web"]).await?;
    same("what is applied is the newest", by_default.code, Some(0))?;
    checked("it says what else to type", by_default.stderr.contains("--from N --to 3"), by_default)?;
    let unknown = person.types(&["diff", "web", "--from", "9"]).await?.failed(2)?;
    checked("which there are", unknown.contains("there are 3, 2, 1"), unknown)?;
    let nobody = person.types(&["diff", "wbe"]).await?.failed(2)?;
    checked("the near miss", nobody.contains("did you mean 'web'?"), nobody)?;
    let nonsense = person.types(&["diff", "web", "--to", "newest"]).await?.failed(2)?;
    checked("what may be said", nonsense.contains("'latest' or a digest"), nonsense)
}

/// During a rollback, a newly attached config is in no revision yet.
async fn diff_fetches_what_no_revision_keeps(bench: Bench) -> Result<()> {
    let (mut night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    person.types(&["rollback", "web"]).await?.ok()?;
    let next = person.types(&["diff", "web"]).await?;
    same("what was given up comes from its revision", next.code, Some(1))?;
    checked("forward again", next.stdout.contains("-{\"level\": 2}\n+{\"level\": 3}"), &next.stdout)?;

    let fourth = night.attach(&bench, "{\"level\": 4}\n").await?;
    let synced = person.types(&["sync", "web"]).await?.ok()?;
    checked("it is not applied", synced.contains("spec.rollbackTo keeps it"), &synced)?;
    night.registry.require_basic("", "robot", "secret-word");
    let refused = person.types(&["diff", "web"]).await?.failed(2)?;
    checked(
        "why it cannot be told",
        refused.contains("AuthenticationFailed") && refused.contains(&fourth),
        refused,
    )?;
    let auths = json!({"auths": {night.registry.host(): {"username": "robot", "password": "secret-word"}}});
    std::fs::create_dir(person.home().join(".docker"))?;
    std::fs::write(person.home().join(".docker/config.json"), auths.to_string())?;
    let ran = person.types(&["diff", "web"]).await?;
    same("with the user's credentials", ran.code, Some(1))?;
    checked("what would come next", ran.stdout.contains("-{\"level\": 2}\n+{\"level\": 4}"), &ran.stdout)?;
    let by_digest = person.types(&["diff", "web", "--from", "1", "--to", &fourth[..19]]).await?;
    checked("by digest", by_digest.stdout.contains("+{\"level\": 4}"), by_digest)
}

async fn of_what_is_merged_only_our_keys_are_shown(bench: Bench) -> Result<()> {
    let person = Person::at(&bench)?;
    let (image, _, first) = bench.image_with("web:v1", &[("config.json", "first\n")]).await?;
    bench.create_config_map("shared", &[], &[("theirs", "theirs")]).await?;
    let target = json!({"name": "shared", "creationPolicy": "Merge"});
    bench.apply("web", json!({"image": image, "target": target})).await?;
    bench.ready("web").await?;
    let ran = person.types(&["show", "web"]).await?;
    same("our key", ran.stdout.as_str(), "==> config.json <==\nfirst\n")?;
    checked("what it is", ran.stderr.contains(&first) && !ran.stderr.contains("somebody edited"), &ran)?;
    bench.attach_at(&image, 2, &[("config.json", "second\n")]).await?;
    person.types(&["sync", "web"]).await?.ok()?;
    let diff = person.types(&["diff", "web", "--to", "1"]).await?;
    same("the status", diff.code, Some(1))?;
    same(
        "the diff",
        diff.stdout.as_str(),
        "--- applied/config.json\n+++ revision-1/config.json\n@@ -1 +1 @@\n-second\n+first\n",
    )?;
    let tree = person.types(&["tree", "web"]).await?.ok()?;
    checked("the target is there", tree.contains("target ConfigMap shared\n"), tree)?;
    person.types(&["rollback", "web"]).await?.ok()?;
    same("back", bench.data("shared").await?, text(&[("config.json", "first\n"), ("theirs", "theirs")]))
}

async fn tree_goes_from_the_image_to_the_pods(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    let signature =
        bench.attach_with(&night.image, "application/vnd.example.signature", &[("sig", "x")], &[]).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": bench.namespace},
        "spec": {
            "containers": [{"name": "web", "image": night.image, "envFrom": [{"configMapRef": {"name": "web"}}]}],
        },
    });
    bench.world.cluster.apply(&pod.to_string()).await?;
    let tree = person.types(&["tree", "web"]).await?.ok()?;
    for word in [
        &night.image,
        &night.image_digest[..19],
        &signature[..19],
        "revision 3",
        "revision 1",
        "target ConfigMap web",
        "pod web-0",
    ] {
        checked(&format!("the tree has {word}"), tree.contains(word), &tree)?;
    }
    let line = |word: &str| tree.lines().position(|line| line.contains(word)).context(word.to_owned());
    checked("the pod hangs on the target", line("pod web-0")? == line("target ConfigMap web")? + 1, &tree)?;
    let node = person.types(&["tree", "web", "-o", "json"]).await?.json()?;
    same("root", &node["kind"], &json!("ArtifactConfig"))?;
    same("artifacts", node["children"][0]["children"].as_array().map(Vec::len), Some(4))?;

    night.registry.stop().await;
    let without = person.types(&["tree", "web"]).await?.ok()?;
    checked("it says what it does not know", without.contains("RegistryUnavailable"), &without)?;
    checked("the rest is there", without.contains("pod web-0") && without.contains("revision 1"), &without)
}

async fn misspelled_names_are_answered_with_the_right_ones(bench: Bench) -> Result<()> {
    let (night, person) = (Night::begins(&bench).await?, Person::at(&bench)?);
    for subcommand in ["get", "history", "show", "rollback", "resume", "sync", "suspend", "tree"] {
        let said = person.types(&[subcommand, "wbe"]).await?.failed(1)?;
        checked(subcommand, said.contains("did you mean 'web'?"), said)?;
    }
    for number in 0..12 {
        bench
            .apply(
                &format!("a-resource-with-a-long-name-{number}"),
                json!({"image": night.image, "suspend": true}),
            )
            .await?;
    }
    let ran = person.types(&["tree", "billing"]).await?;
    checked("folded", ran.stderr.lines().all(|line| line.chars().count() <= 100), &ran.stderr)?;
    checked("whole", ran.failed(1)?.contains("a-resource-with-a-long-name-11"), "")?;
    for number in 0..12 {
        bench.delete(&format!("a-resource-with-a-long-name-{number}")).await?;
        bench.wait_gone(&format!("a-resource-with-a-long-name-{number}")).await?;
    }
    let far = person.types(&["history", "billing"]).await?.failed(1)?;
    checked("all there are", far.contains("there is web"), far)?;
    let neighbour = bench.neighbour().await?;
    let elsewhere = Person { namespace: neighbour.namespace.clone(), ..Person::at(&bench)? };
    // Other tests have theirs called 'web'.
    bench.apply("only-here", json!({"image": night.image})).await?;
    let said = elsewhere.types(&["history", "only-here"]).await?.failed(1)?;
    checked("where it is", said.contains(&bench.namespace), said)?;
    let empty = elsewhere.types(&["get"]).await?;
    same("an empty list is no error", (empty.code, empty.stdout.as_str()), (Some(0), ""))?;
    checked("it says so", empty.stderr.contains("No ArtifactConfigs found in namespace"), empty)?;
    neighbour.clean_up().await?;
    let context = person.types(&["get", "--context", "admin@testbet"]).await?.failed(1)?;
    checked("the context", context.contains("did you mean 'admin@testbed'?"), context)?;
    let key = person.types(&["show", "web", "--key", "confg.json"]).await?.failed(1)?;
    checked("the key", key.contains("did you mean 'config.json'?"), key)?;
    let file = person.types(&["get", "--kubeconfig", "does-not-exist"]).await?.failed(1)?;
    checked("the file", file.contains("does-not-exist"), &file)?;
    same("it is said once", file.matches("No such file").count(), 1)?;
    let subcommand = person.types(&["histroy", "web"]).await?.failed(2)?;
    checked("the subcommand", subcommand.contains("history"), subcommand)
}
