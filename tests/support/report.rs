//! The report of a failed test.

use super::Bench;

/// Lines of the operator's log that are shown.
const LOG_LINES: usize = 40;

/// Requests that are shown.
const REQUESTS: usize = 40;

impl Bench {
    /// The resources, the events and the operator's log, as far as they can still be had.
    pub(super) async fn report(&self) -> String {
        let objects = ["get", "artifactconfigs,events.events.k8s.io", "--output=yaml"];
        let config_maps =
            ["get", "configmaps", "--field-selector=metadata.name!=kube-root-ca.crt", "--output=yaml"];
        let mut report = format!("--- namespace {}, registry {}\n", self.namespace, self.kind.name());
        for command in [&objects[..], &config_maps[..]] {
            report.extend(["--- kubectl ", &command.join(" "), "\n"]);
            report.push_str(&self.kubectl(command).await.unwrap_or_else(|why| format!("{why:#}\n")));
        }
        report.push_str("--- requests of the operator\n");
        report.push_str(&self.requested());
        report.push_str("--- log of the operator about this namespace\n");
        let log = self.world.operator.log();
        report.push_str(&tail(log.lines().filter(|line| line.contains(&self.namespace))));
        report.push_str("--- log of the operator, its end\n");
        report.push_str(&tail(log.lines()));
        report
    }

    fn requested(&self) -> String {
        let prefix = format!("/v2/{}/", self.namespace);
        let requests = self.world.embedded.requests();
        let ours = requests.iter().filter(|request| request.path.starts_with(&prefix));
        let lines: Vec<_> = ours
            .map(|request| format!("{} {} {:?}", request.method, request.target(), request.status))
            .collect();
        let mut text = lines[lines.len().saturating_sub(REQUESTS)..].join("\n");
        text.push('\n');
        text
    }
}

fn tail<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<_> = lines.collect();
    let mut text = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    text.push('\n');
    text
}
