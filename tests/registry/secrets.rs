//! Passwords and tokens show nowhere: in no failure, no `Debug`, no log, no URL.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry::{Access, Credential, Keyring, Observation, OciRegistry, Settings, Tls};
use serde_json::json;
use testbed::registry::Fault;

use crate::logs;
use crate::world::{World, access, prepare};

const USER: &str = "robot-7c1e";
const PASSWORD: &str = "hunter2-password-e5b0";
const IDENTITY: &str = "hunter2-identity-91fd";
const TOKEN: &str = "hunter2-token-c4aa";

/// Every form that a secret may take.
fn secrets() -> Vec<String> {
    let pair = format!("{USER}:{PASSWORD}");
    let forms = [PASSWORD, IDENTITY, TOKEN].map(str::to_owned);
    let unpadded = |text: &str| STANDARD.encode(text).trim_end_matches('=').to_owned();
    forms.iter().cloned().chain(forms.iter().map(|form| unpadded(form))).chain([unpadded(&pair)]).collect()
}

fn shows_nothing(what: &str, text: &str) {
    for secret in secrets() {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&secret)).take(3).collect();
        assert!(lines.is_empty(), "{what} shows {secret}: {lines:#?}");
    }
}

/// With a password, and with an identity token.
fn keyrings(host: &str) -> [Keyring; 2] {
    [
        json!({"username": USER, "password": PASSWORD}),
        json!({"username": USER, "password": PASSWORD, "identitytoken": IDENTITY}),
    ]
    .map(|entry| {
        let mut keys = Keyring::default();
        keys.add_docker_config_json(json!({"auths": {host: entry}}).to_string().as_bytes()).unwrap();
        keys
    })
}

/// What a registry may do with the credentials it is shown: accept, refuse, and repeat them in its answers.
fn behaviours(world: &World) -> Vec<(&'static str, Vec<Fault>)> {
    let host = world.registry.host();
    let shown = |request: &http::request::Parts| {
        request.headers.contains_key("authorization") && request.uri.path() != "/token"
    };
    let is_new = move |request: &http::request::Parts| !shown(request) && request.uri.path() != "/token";
    let challenge = |realm: &str| Fault::when(is_new).respond(401, &[("www-authenticate", realm)], "");
    let basic = || challenge("Basic realm=\"x\"");
    let bearer = || challenge(&format!("Bearer realm=\"http://{host}/token\""));
    let token = || Fault::on("/token").respond(200, &[], json!({"token": TOKEN}).to_string());
    let echo =
        json!({"errors": [{"code": PASSWORD, "message": format!("{USER}:{PASSWORD} {TOKEN} {IDENTITY}")}]})
            .to_string();
    let pair = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let echoing = |status: u16| {
        let location = format!("http://127.0.0.1:1/?token={TOKEN}&password={PASSWORD}");
        let headers = [
            ("location", location.as_str()),
            ("x-echo", pair.as_str()),
            ("warning", &format!("299 - \"{PASSWORD}\"")),
            ("retry-after", "0"),
        ];
        Fault::when(shown).respond(status, &headers, echo.clone())
    };
    let accepted = vec![];
    let mut all = vec![
        ("basic, accepted", vec![basic()]),
        ("bearer, accepted", vec![token(), bearer()]),
        ("nothing asked", accepted),
    ];
    for status in [200, 307, 400, 401, 403, 404, 418, 429, 500] {
        all.push(("basic, repeated", vec![basic(), echoing(status)]));
        all.push(("bearer, repeated", vec![token(), bearer(), echoing(status)]));
    }
    for status in [200, 307, 400, 401, 403, 429, 500] {
        all.push((
            "token server, repeated",
            vec![bearer(), Fault::on("/token").respond(status, &[("retry-after", "0")], echo.clone())],
        ));
    }
    let realm = format!("Bearer realm=\"http://169.254.169.254/?p={PASSWORD}\"");
    all.push(("realm, repeated", vec![challenge(&realm)]));
    all
}

#[tokio::test]
async fn secrets_show_nowhere() {
    prepare();
    let world = World::new().await;
    let records: Arc<Mutex<Vec<String>>> = Arc::default();
    for keys in keyrings(&world.registry.host()) {
        let access: Access = access(keys.clone());
        shows_nothing("Keyring", &format!("{keys:?} {keys:#?}"));
        shows_nothing("Access", &format!("{access:?} {access:#?}"));
        for (name, faults) in behaviours(&world) {
            let kept = Arc::clone(&records);
            let observer = Arc::new(move |seen: Observation<'_>| {
                kept.lock().unwrap().push(format!("{seen:?}"));
            });
            let client = OciRegistry::new(Settings::default(), observer).unwrap();
            for fault in faults {
                world.registry.inject(fault);
            }
            let mut question = world.question();
            (question.client, question.access) = (&client, &access);
            match question.files().await {
                Ok(files) => assert!(files.len() <= 1),
                Err(failure) => shows_nothing(name, &format!("{failure:?}")),
            }
            world.registry.clear_faults();
        }
    }
    shows_nothing("what observers are told", &records.lock().unwrap().concat());
    for request in world.registry.requests() {
        shows_nothing("a URL", &request.target());
    }
    let logged = logs::all();
    assert!(logged.contains(&world.registry.host()), "the log is that of these requests");
    shows_nothing("the log", &logged);
}

#[test]
fn secrets_show_in_no_debug_and_no_error_of_what_holds_them() {
    let credential = Credential {
        username: USER.to_owned(),
        password: PASSWORD.to_owned().into(),
        identity_token: Some(IDENTITY.to_owned().into()),
    };
    shows_nothing("Credential", &format!("{credential:?} {credential:#?}"));
    let mut keys = Keyring::default();
    for document in [
        json!({"auths": {"r.example": {"auth": STANDARD.encode(PASSWORD)}}}),
        json!({"auths": {"r.example": {"password": [PASSWORD]}}}),
        json!({"auths": PASSWORD}),
        json!(PASSWORD),
    ] {
        let error = keys.add_docker_config_json(document.to_string().as_bytes()).unwrap_err();
        shows_nothing("an error of a document", &format!("{error} {error:?}"));
        let error = keys.add_docker_cfg(document.to_string().as_bytes());
        shows_nothing("an error of a legacy document", &format!("{error:?}"));
    }
    prepare();
    let pair = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let tls = Tls::new(None, Some(certificate.as_bytes()), Some(key.as_bytes())).unwrap();
    let body = key.lines().nth(1).unwrap();
    assert!(!format!("{tls:?}").contains(body));
    let damaged = Tls::new(None, Some(key.as_bytes()), Some(certificate.as_bytes()));
    assert!(!format!("{damaged:?}").contains(body));
}
