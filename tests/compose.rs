//! The compose files, what they mount and what the dashboard asks for, without a container being
//! started: everything named is there, nothing is left to chance, and no password is written down.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

#[path = "server/ending.rs"]
mod ending;
mod server;

use ending::ended;
use serde_json::Value as Json;
use serde_yaml_ng::Value;
use server::{Server, agora};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const FILES: [&str; 2] = ["docker-compose.yml", "docker-compose.cluster.yml"];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn parse(name: &str) -> Value {
    let mut value: Value = serde_yaml_ng::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    value.apply_merge().unwrap();
    value
}

fn names(value: &Value) -> BTreeSet<String> {
    let keys = value.as_mapping().into_iter().flat_map(|mapping| mapping.keys());
    keys.map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn services(file: &Value) -> impl Iterator<Item = (&str, &Value)> {
    file["services"].as_mapping().unwrap().iter().map(|(name, service)| (name.as_str().unwrap(), service))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_sequence().map(|items| items.iter().map(|item| item.as_str().unwrap()).collect()).unwrap_or_default()
}

/// Variables that a file must get from .env.
fn variables(text: &str) -> BTreeSet<String> {
    let parts = text.split("${").skip(1).map(|rest| rest.split_once('}').unwrap().0);
    // Those with a default need not be there.
    let needed = parts.filter(|part| !part.contains(":-")).map(|part| {
        let (name, message) = part.split_once(":?").unwrap_or_else(|| panic!("${{{part}}} may be empty"));
        assert_eq!(message, "run scripts/make-env");
        name.to_owned()
    });
    needed.collect()
}

#[test]
fn every_variable_is_made_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    let make = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-env");
        assert!(Command::new(script).arg(&file).output().unwrap().status.success());
        std::fs::read_to_string(&file).unwrap()
    };
    std::fs::write(&file, "REDIS_PASSWORD=mine\n").unwrap();
    let made = make();
    assert_eq!(made, make(), "a second run changes nothing");
    assert!(made.starts_with("REDIS_PASSWORD=mine\n"), "what was there stays");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let values: BTreeMap<_, _> = made.lines().map(|line| line.split_once('=').unwrap()).collect();
    let all_different: BTreeSet<_> = values.values().collect();
    assert_eq!(all_different.len(), values.len());
    for (name, value) in &values {
        assert!(value.len() >= 24 || *name == "REDIS_PASSWORD", "{name} is too short");
    }
    let made: BTreeSet<_> = values.keys().map(|name| (*name).to_owned()).collect();
    let used: BTreeSet<_> = FILES.iter().flat_map(|name| variables(&read(name))).collect();
    assert_eq!(made, used);
}

#[test]
fn no_password_is_written_down() {
    for name in FILES {
        let file = parse(name);
        for (service, settings) in services(&file) {
            for (key, value) in settings["environment"].as_mapping().into_iter().flatten() {
                let (key, value) = (key.as_str().unwrap(), value.as_str().unwrap_or_default());
                let secret = ["PASS", "SECRET", "COOKIE", "AUTH", "KEY"].iter().any(|word| key.contains(word));
                // A default after `:-` would be written down too.
                let is_asked_for = value.starts_with("${") && value.contains(":?");
                assert!(!secret || is_asked_for, "{name}: {service}: {key} is written down");
                if let Some((user, _)) = value.split_once('@').filter(|_| value.contains("://")) {
                    let is_asked_for = user.contains(":${") && user.contains(":?") && user.ends_with('}');
                    assert!(is_asked_for, "{name}: {service}: {key} has a password");
                }
            }
        }
    }
}

#[test]
fn nodes_have_only_settings_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let output = agora(&["serve", "--help"], folder.path()).env_clear().output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let known: BTreeSet<&str> =
        help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap()).collect();
    assert!(known.contains("AGORA_DATABASE"), "{help}");
    let file = parse(FILES[0]);
    let mut nodes = BTreeSet::new();
    for (service, settings) in services(&file).filter(|(name, _)| name.starts_with("agora")) {
        let environment = &settings["environment"];
        for name in names(environment) {
            assert!(known.contains(name.as_str()), "{service}: there is no setting {name}");
        }
        for needed in ["AGORA_DATABASE", "AGORA_RABBITMQ", "AGORA_REDIS", "AGORA_DATA", "AGORA_NODE"] {
            assert!(environment.get(needed).is_some(), "{service} lacks {needed}");
        }
        // Without play money nobody could try such a venue; but only whoever asks for it gets it.
        assert_eq!(environment["AGORA_DEMO_FUNDS"], "${AGORA_DEMO_FUNDS:-false}", "{service}");
        assert!(nodes.insert(environment["AGORA_NODE"].as_str().unwrap().to_owned()), "two nodes of one name");
        assert_eq!(settings["read_only"], Value::Bool(true), "{service}");
        assert_eq!(texts(&settings["cap_drop"]), ["ALL"], "{service}");
        // A node that is starting asks for no signals, and the first process of a container hears of no others.
        assert_eq!(settings["init"], Value::Bool(true), "{service}");
    }
    assert_eq!(nodes.len(), 2);
    // Those of the image too.
    for line in read("Dockerfile").lines().filter_map(|line| line.strip_prefix("ENV ")) {
        for (name, _) in line.split(' ').filter_map(|pair| pair.split_once('=')) {
            assert!(known.contains(name), "Dockerfile: there is no setting {name}");
        }
    }
}

/// What a compose file passes on need not be set; and what is set wrongly is not repeated, since messages end up in logs.
#[test]
fn an_empty_variable_is_none_and_no_password_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = agora(arguments, folder.path());
        command.envs(variables.iter().copied());
        let output = ended(command, Duration::from_secs(60));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let file = folder.path().join("agora.toml");
    let config = file.to_str().unwrap();
    std::fs::write(&file, "database = \"postgres://agora:s3cr3t@db/agora\"").unwrap();
    for arguments in [["serve", "--config", config, "--help"], ["verify", "--config", config, "--help"]] {
        let said = run(&arguments, &[("AGORA_RABBITMQ", "amqp://agora:s3cr3t@broker/%2f")]);
        assert!(said.contains("--rabbitmq") && !said.contains("s3cr3t"), "{said}");
    }
    let said = run(&["bot", "maker", "--help"], &[("AGORA_BOT_PASSWORD", "s3cr3t")]);
    assert!(said.contains("AGORA_BOT_PASSWORD") && !said.contains("s3cr3t"), "{said}");
    // The line that is no TOML may be the one with the password; its number is enough.
    std::fs::write(&file, "node = \"1\"\nrabbitmq = \"amqp://agora:s3cr3t@broker/%2f\ndemo = true\n").unwrap();
    let said = run(&["serve", "--config", config], &[]);
    assert!(said.contains("not TOML: line ") && !said.contains("s3cr3t"), "{said}");
    for (name, flag) in [("AGORA_DATABASE", "--database"), ("AGORA_RABBITMQ", "--rabbitmq"), ("AGORA_REDIS", "--redis")]
    {
        let said = run(&["serve"], &[(name, "agora:s3cr3t@host")]);
        assert!(said.contains(flag) && said.contains("cannot be used") && !said.contains("s3cr3t"), "{said}");
    }
    // All of them are taken, so that what is wrong is what was set to be wrong.
    let passed_on = parse(FILES[0]);
    let empty = names(&passed_on["services"]["agora-a"]["environment"]);
    let empty = empty.iter().filter(|name| name.starts_with("AGORA_ACCOUNTS_") && !name.ends_with("MAIL_FROM"));
    let mut variables: Vec<_> = empty.map(|name| (name.as_str(), "")).collect();
    assert!(variables.len() > 3, "{variables:?}");
    variables.extend([("AGORA_DATABASE", ""), ("AGORA_LOG_MAX_BYTES", "1000"), ("AGORA_LOG_PRUNE", "true")]);
    let said = run(&["serve"], &variables);
    assert!(said.contains("--log-max-bytes must be at least 268435456 with --log-prune"), "{said}");
    let said = run(&["serve", "--log-segment-bytes", "536870913"], &[]);
    assert!(said.contains("--log-segment-bytes must be at most 536870912"), "{said}");
    let said = run(&["serve", "--accounts-line-token", "token"], &[]);
    assert!(said.contains("--accounts-line-token needs --accounts-line-secret"), "{said}");
}

/// Without npm the program is built all the same, with a page that says so. No image should hold that.
#[test]
fn the_image_is_not_built_without_the_web_app() {
    assert!(read("Dockerfile").contains(" AGORA_REQUIRE_WEB=1 cargo build --release"));
    let (folder, source) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let script = folder.path().join("build");
    let mut compiler = Command::new("rustc");
    compiler.args(["--edition", "2024", "-o"]).arg(&script).arg(source.join("build.rs"));
    assert!(compiler.status().unwrap().success());
    let build = |required: &str| {
        let mut build = Command::new(&script);
        // Nothing can be found there, npm included.
        build.env_clear().env("PATH", folder.path()).env("CARGO_MANIFEST_DIR", source).env("OUT_DIR", folder.path());
        build.env("AGORA_REQUIRE_WEB", required).output().unwrap()
    };
    assert!(build("").status.success());
    assert!(std::fs::read_to_string(folder.path().join("web/index.html")).unwrap().contains("without its web app"));
    let refused = build("1");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("npm was not found"));
}

#[test]
fn services_start_when_what_they_need_is_ready() {
    let base = parse(FILES[0]);
    let cluster = parse(FILES[1]);
    let all: BTreeSet<String> = FILES.iter().flat_map(|name| names(&parse(name)["services"])).collect();
    let volumes: BTreeSet<String> = FILES.iter().flat_map(|name| names(&parse(name)["volumes"])).collect();
    for (service, settings) in services(&base).chain(services(&cluster)) {
        let whole = settings.get("image").is_some();
        if whole {
            assert!(settings["healthcheck"]["test"].is_sequence(), "{service} has no health check");
            assert!(settings.get("restart").is_some(), "{service} is not started again");
            let image = settings["image"].as_str().unwrap();
            let pinned = image.split_once(':').is_some_and(|(_, version)| version != "latest");
            assert!(pinned || image == "agora:latest", "{service}: {image} may be anything tomorrow");
        }
        for (needed, how) in settings["depends_on"].as_mapping().into_iter().flatten() {
            assert!(all.contains(needed.as_str().unwrap()), "{service} needs {needed:?}");
            // A broker that waited for the health of another one could wait for a broker that waits for it.
            let among_brokers = service.starts_with("rabbitmq");
            let enough = if among_brokers { "service_started" } else { "service_healthy" };
            assert_eq!(how["condition"], enough, "{service} does not wait for {needed:?}");
        }
        for port in texts(&settings["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{service} is open to the network at {port}");
        }
        for volume in texts(&settings["volumes"]) {
            let source = volume.split(':').next().unwrap();
            let there = match source.strip_prefix("./") {
                Some(path) => Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(),
                None => volumes.contains(source),
            };
            assert!(there, "{service}: {source} is nowhere");
        }
    }
    let needs = |file: &Value, service: &str| names(&file["services"][service]["depends_on"]);
    let servers = ["postgres", "rabbitmq", "redis"].map(str::to_owned);
    assert!(needs(&base, "agora-a").is_superset(&servers.clone().into()));
    assert!(needs(&base, "agora-b").is_superset(&servers.into()) && needs(&base, "agora-b").contains("agora-a"));
    // Named volumes take the owner of the folder that the image has in their place.
    let image = read("Dockerfile");
    assert!(image.contains("/var/lib/agora/keys") && image.contains("/var/lib/agora/images"));
    // Both nodes sign with the same key, or a token of one would count for nothing at the other.
    for node in ["agora-a", "agora-b"] {
        assert!(texts(&base["services"][node]["volumes"]).contains(&"keys:/var/lib/agora/keys"));
        // And each shows the images that were sent to the other.
        assert!(texts(&base["services"][node]["volumes"]).contains(&"images:/var/lib/agora/images"));
    }
    let brokers = names(&cluster["services"]).into_iter().filter(|name| name.starts_with("rabbitmq"));
    let discovered = read("deploy/rabbitmq/cluster.conf");
    for broker in brokers {
        assert!(discovered.contains(&format!("rabbit@{broker}\n")), "{broker} is not in the cluster");
        assert!(needs(&cluster, "agora-a").contains(&broker));
    }
}

#[test]
fn dashboard_and_alarms_ask_for_metrics_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut client = server.client("");
    let metrics = client.send_raw(b"GET /metrics HTTP/1.1\r\nHost: agora\r\n\r\n").unwrap();
    // Asked again, since the first answer comes before the first request was counted.
    assert_eq!(metrics.status, 200);
    let metrics = client.send_raw(b"GET /metrics HTTP/1.1\r\nHost: agora\r\n\r\n").unwrap();
    let text = String::from_utf8(metrics.body).unwrap();
    let known: BTreeSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(['{', ' ']).next().unwrap()).collect();

    let dashboard: Json = serde_json::from_str(&read("deploy/grafana/dashboards/agora.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    let mut asked: Vec<String> = Vec::new();
    for panel in panels {
        assert_eq!(panel["datasource"]["uid"], "prometheus");
        for target in panel["targets"].as_array().unwrap() {
            asked.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    let alerts = parse("deploy/prometheus/alerts.yml");
    for rule in alerts["groups"][0]["rules"].as_sequence().unwrap() {
        asked.push(rule["expr"].as_str().unwrap().to_owned());
    }
    // A sum over nothing is nothing, which is not less than one: it would be silent when no node answers.
    let active = asked.iter().find(|expression| expression.contains("agora_node_active") && expression.contains("< 1"));
    assert!(active.unwrap().contains("or vector(0)"), "{active:?}");
    for expression in asked {
        for word in expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            assert!(!word.starts_with("agora_") || known.contains(word), "{expression}: there is no {word}");
        }
    }
    let source = parse("deploy/grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(source["datasources"][0]["uid"], "prometheus");
    let (base, cluster) = (parse(FILES[0]), parse(FILES[1]));
    let scraped = parse("deploy/prometheus/prometheus.yml");
    for job in scraped["scrape_configs"].as_sequence().unwrap() {
        for target in texts(&job["static_configs"][0]["targets"]) {
            let host = target.split(':').next().unwrap();
            assert!(base["services"].get(host).is_some(), "nothing is called {host}");
        }
        for name in job["dns_sd_configs"].as_sequence().into_iter().flatten().flat_map(|found| texts(&found["names"])) {
            for (service, settings) in
                services(&base).chain(services(&cluster)).filter(|(_, s)| s.get("image").is_some())
            {
                let aliases = texts(&settings["networks"]["default"]["aliases"]);
                assert_eq!(aliases.contains(&name), service.starts_with("rabbitmq"), "{service} and {name}");
            }
        }
    }
}
