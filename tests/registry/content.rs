//! Layers → files, and how much of them.

use std::io::Write as _;

use api::Reason::{DigestMismatch, InvalidContent, InvalidFiles, TooLarge, UnsupportedArtifact};
use api::{FileMapping, Reason};
use artifactconfig::unanswered;
use decide::files::FileRules;
use decide::render::render;
use flate2::{Compression, write::GzEncoder};
use oci::{Digest, TITLE, media_type};
use registry::Registry as _;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use testbed::registry::Fault;

use crate::expect::Expect::{Api, Files, Refused};
use crate::expect::rows;
use crate::push::{self, EMPTY};
use crate::world::{FILE, World};

const MIB: usize = 1024 * 1024;

type Entry<'a> = (&'a str, EntryType, &'a [u8]);

/// A tar of raw entries: names are written as they are, which a proper writer would refuse to do.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, bytes) in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layer with its bytes.
type Layer = (Value, Vec<u8>);

/// A directory as `oras attach` packs it.
fn directory(title: &str, tar: &[u8]) -> Layer {
    let bytes = gzip(tar);
    let mut layer = push::descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &bytes);
    layer["annotations"] = json!({
        TITLE: title,
        "io.deis.oras.content.unpack": "true",
        "io.deis.oras.content.digest": Digest::sha256(tar),
    });
    (layer, bytes)
}

fn conf_d(entries: &[Entry<'_>]) -> Layer {
    directory("conf.d", &tar(entries))
}

fn plain(title: &str, bytes: &[u8]) -> Layer {
    (push::file(title, bytes), bytes.to_vec())
}

/// These layers are attached, and nothing else is.
fn layers(w: &World, layers: &[Layer]) -> Vec<Fault> {
    let descriptors: Vec<Value> = layers.iter().map(|(descriptor, _)| descriptor.clone()).collect();
    let mut faults = w.only(&w.artifact(&descriptors));
    faults.extend(layers.iter().map(|(descriptor, bytes)| w.serves_blob(&descriptor["digest"], bytes)));
    faults
}

const A: Entry<'_> = ("conf.d/a.ini", EntryType::Regular, b"a=1");

// 13. Layers: title→key, unpack by annotation, empty layer skipped, traversal/absolute/collision rejected, gzip bomb,
// links, digest annotation checked. What hostile entries there are is a table beside the code (`crates/registry/src/content/archive.rs`).
rows! {
    a13_several_files_in_their_order: |w| layers(w, &[plain("b", b"2"), plain("a", b"1")]) => Files(&[("b", "2"), ("a", "1")]);
    a13_a_name_with_a_directory: |w| layers(w, &[plain("./conf.d//a.ini", b"1")]) => Files(&[("conf.d/a.ini", "1")]);
    a13_a_file_is_not_unpacked_whatever_its_media_type: |w| layers(w, &[plain("a.tar", b"no tar at all")]) => Files(&[("a.tar", "no tar at all")]);
    a13_a_directory_is_unpacked_by_its_annotation: |w| {
        let (mut layer, bytes) = conf_d(&[("conf.d/", EntryType::Directory, b""), A, ("conf.d/deep/b", EntryType::Regular, b"2")]);
        layer["mediaType"] = json!("text/plain");
        layers(w, &[(layer, bytes)])
    } => Files(&[("conf.d/a.ini", "a=1"), ("conf.d/deep/b", "2")]);
    a13_the_current_directory: |w| layers(w, &[directory(".", &tar(&[("./a", EntryType::Regular, b"1")]))]) => Files(&[("a", "1")]);
    a13_the_empty_layer_is_no_file: |w| {
        layers(w, &[(push::descriptor(media_type::EMPTY, EMPTY), EMPTY.to_vec()), plain("a", b"1")])
    } => Files(&[("a", "1")]);
    a13_annotations_alone_are_no_files: |w| layers(w, &[(push::descriptor(media_type::EMPTY, EMPTY), EMPTY.to_vec())]) => Files(&[]);
    a13_what_has_no_name_is_passed_over: |w| {
        layers(w, &[(push::descriptor("text/plain", b"x"), b"x".to_vec()), plain("a", b"1")])
    } => Files(&[("a", "1")]);
    a13_nothing_that_has_a_name: |w| layers(w, &[(push::descriptor("text/plain", b"x"), b"x".to_vec())]) => Refused(UnsupportedArtifact);
    a13_a_name_that_leads_out: |w| layers(w, &[plain("../config.json", b"1")]) => Refused(InvalidFiles);
    a13_an_absolute_name: |w| layers(w, &[plain("/etc/hostname", b"1")]) => Refused(InvalidFiles);
    a13_an_entry_that_leads_out: |w| layers(w, &[conf_d(&[A, ("conf.d/../../x", EntryType::Regular, b"1")])]) => Refused(InvalidFiles);
    a13_an_entry_of_another_directory: |w| layers(w, &[conf_d(&[A, ("other/x", EntryType::Regular, b"1")])]) => Refused(InvalidFiles);
    a13_a_directory_that_leads_out: |w| layers(w, &[directory("../conf.d", &tar(&[A]))]) => Refused(InvalidFiles);
    a13_a_symbolic_link: |w| layers(w, &[conf_d(&[A, ("conf.d/x", EntryType::Symlink, b"")])]) => Refused(InvalidContent);
    a13_a_hard_link: |w| layers(w, &[conf_d(&[A, ("conf.d/x", EntryType::Link, b"")])]) => Refused(InvalidContent);
    a13_a_device: |w| layers(w, &[conf_d(&[A, ("conf.d/x", EntryType::Block, b"")])]) => Refused(InvalidContent);
    a13_another_digest_of_the_unpacked_content: |w| {
        let (mut layer, bytes) = conf_d(&[A]);
        layer["annotations"]["io.deis.oras.content.digest"] = json!(Digest::sha256(b"other"));
        layers(w, &[(layer, bytes)])
    } => Refused(DigestMismatch);
    a13_a_garbled_digest_of_the_unpacked_content: |w| {
        let (mut layer, bytes) = conf_d(&[A]);
        layer["annotations"]["io.deis.oras.content.digest"] = json!("sha256:soon");
        layers(w, &[(layer, bytes)])
    } => Refused(InvalidContent);
    a13_a_directory_that_is_no_archive: |w| layers(w, &[directory("conf.d", b"no tar at all")]) => Refused(InvalidContent);
    a13_a_bomb: |w| layers(w, &[directory("conf.d", &vec![0; 17 * MIB])]) => Refused(TooLarge);
    a13_thousands_of_entries: |w| {
        let names: Vec<String> = (0..4097).map(|number| format!("conf.d/{number}")).collect();
        let entries: Vec<Entry<'_>> = names.iter().map(|name| (name.as_str(), EntryType::Regular, b"".as_slice())).collect();
        layers(w, &[conf_d(&entries)])
    } => Refused(TooLarge);
    a13_thousands_of_layers: |w| layers(w, &vec![plain("a", b"1"); 4097]) => Refused(UnsupportedArtifact);
    a11_files_that_no_config_map_holds: |w| layers(w, &[plain("a", &vec![b'a'; MIB]), plain("b", b"1")]) => Refused(TooLarge);
    a11_a_directory_that_no_config_map_holds: |w| {
        let large = vec![b'a'; MIB + 1];
        layers(w, &[conf_d(&[("conf.d/large", EntryType::Regular, &large)])])
    } => Refused(TooLarge);
    a11_directories_that_no_config_map_holds: |w| {
        let half = vec![b'a'; MIB / 2 + 1];
        let one = conf_d(&[("conf.d/large", EntryType::Regular, &half)]);
        let two = directory("more.d", &tar(&[("more.d/large", EntryType::Regular, &half)]));
        layers(w, &[one, two])
    } => Refused(TooLarge);
    a02_a_layer_by_its_sha512: |w| {
        let mut layer = push::descriptor_sha512("text/plain", FILE.1.as_bytes());
        layer["annotations"] = json!({TITLE: FILE.0});
        layers(w, &[(layer, FILE.1.as_bytes().to_vec())])
    } => Api;
    a02_another_layer_than_its_sha512_says: |w| {
        let mut layer = push::descriptor_sha512("text/plain", FILE.1.as_bytes());
        layer["annotations"] = json!({TITLE: FILE.0});
        layers(w, &[(layer, FILE.1.to_ascii_uppercase().into_bytes())])
    } => Refused(DigestMismatch);
}

/// The files of the artifact that these faults attach, as far as the rules want them.
async fn pull(world: &World, rules: &FileRules) -> Result<registry::Pulled, decide::Failure> {
    let listing = world.list().await.unwrap();
    let wanted = artifactconfig::wanted::by_rules(rules);
    let pulled = world.client.pull(&world.access, &world.repository(), &listing.artifacts[0], wanted).await;
    pulled.map_err(unanswered::failure)
}

async fn world_with(attached: &[Layer]) -> World {
    let world = World::new().await;
    for fault in layers(&world, attached) {
        world.registry.inject(fault);
    }
    world
}

#[tokio::test]
async fn a11_exactly_what_a_config_map_holds() {
    let world = world_with(&[plain("a", &vec![b'a'; MIB - 1]), plain("b", b"1")]).await;
    assert_eq!(pull(&world, &FileRules::default()).await.unwrap().files.len(), 2);
}

#[tokio::test]
async fn a11_what_is_declared_too_large_is_not_begun() {
    let world = world_with(&[plain("a", &vec![b'a'; MIB]), plain("b", b"1")]).await;
    assert_eq!(pull(&world, &FileRules::default()).await.unwrap_err().reason, TooLarge);
    assert_eq!(world.asked("GET", "/blobs/"), 0);
}

#[tokio::test]
async fn a13_files_that_are_not_wanted_are_named_and_not_fetched() {
    let world = world_with(&[plain("large", &vec![b'a'; MIB]), plain("a", b"1"), conf_d(&[A])]).await;
    let wanted = ["a", "conf.d/*"].map(|path| FileMapping { path: path.to_owned(), key: None });
    let pulled = pull(&world, &FileRules::parse(&wanted).unwrap()).await.unwrap();
    let paths: Vec<&str> = pulled.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!((paths, pulled.others), (vec!["a", "conf.d/a.ini"], vec!["large".to_owned()]));
    assert_eq!(world.asked("GET", &Digest::sha256(&vec![b'a'; MIB]).to_string()), 0);
}

/// Two layers of one name are fetched like any others; they cannot share a key.
#[rstest::rstest]
#[case::same_name(&[("a", "1"), ("a", "2")])]
#[case::same_key(&[("conf.d/a", "1"), ("conf.d.a", "2")])]
#[tokio::test]
async fn a13_two_files_with_one_key_are_refused(#[case] files: &[(&str, &str)]) {
    let attached: Vec<Layer> = files.iter().map(|(title, text)| plain(title, text.as_bytes())).collect();
    let world = world_with(&attached).await;
    let pulled = pull(&world, &FileRules::default()).await.unwrap();
    let failure = render(&pulled.files, &pulled.others, &FileRules::default()).unwrap_err();
    assert_eq!(failure.reason, Reason::InvalidFiles, "{failure:?}");
}

/// A hostile manifest could name anything that the operator can reach.
#[tokio::test]
async fn a02_other_places_that_a_descriptor_names_are_never_asked() {
    let (mut layer, bytes) = plain(FILE.0, FILE.1.as_bytes());
    let world = World::new().await;
    layer["urls"] = json!([format!("http://{}/config.json", world.elsewhere.host())]);
    world.elsewhere.inject(Fault::always().respond(200, &[], bytes));
    for fault in world.only(&world.artifact(&[layer])) {
        world.registry.inject(fault);
    }
    world.registry.inject(world.on_blob().status(404));
    let failure = pull(&world, &FileRules::default()).await.unwrap_err();
    assert_eq!(failure.reason, InvalidContent);
    assert!(world.elsewhere.requests().is_empty());
}

/// Content that was fetched for one artifact does not prove another artifact's descriptor of it.
#[tokio::test]
async fn a02_a_wrong_size_is_found_whether_or_not_the_content_is_known() {
    let world = World::new().await;
    world.files().await.unwrap();
    let mut layer = push::file(FILE.0, FILE.1.as_bytes());
    layer["size"] = json!(FILE.1.len() - 1);
    for fault in world.only(&world.artifact(&[layer])) {
        world.registry.inject(fault);
    }
    assert_eq!(world.files().await.unwrap_err().reason, DigestMismatch);
}
