//! The disk is full for a while: what is refused, what goes on, and what comes by itself when there is space.

use crate::feed::Feed;
use crate::nodes::{ready, wait_for};
use crate::rng::Rng;
use crate::server::{Client, Server, agora};
use crate::servers::{Postgres, RabbitMq};
use crate::traders::{terminate, uuid};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A server whose data folder is a file system of its own, of so many megabytes, that nobody else sees.
fn on_a_small_disk(folder: &Path, megabytes: u32, more: &[&str]) -> Server {
    let inner = agora(&[&["serve", "--demo-funds", "--listen", "127.0.0.1:0"], more].concat(), folder);
    let mut command = Command::new("unshare");
    // Without privileges a namespace of users allows the mount.
    command.args(["--user", "--map-root-user", "--mount", "bash", "-c"]);
    command.arg("mount -t tmpfs -o size=\"$1\"m none \"$2\" && shift 2 && exec \"$@\"").arg("bash");
    command.arg(megabytes.to_string()).arg(folder).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Server::run(command)
}

/// The same folder as its process sees it.
fn seen_by(server: &Server, folder: &Path) -> PathBuf {
    let root = format!("/proc/{}/root", server.process.id());
    Path::new(&root).join(folder.strip_prefix("/").unwrap())
}

/// Takes all the space that is left, and gives it back when dropped.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(folder: &Path) -> Ballast {
        let path = folder.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        for bytes in [1 << 16, 1 << 12] {
            while std::io::Write::write_all(&mut file, &vec![7; bytes]).is_ok() {}
        }
        Ballast(path)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// Orders are refused when nothing more can be kept, reads go on, and there is no need to do anything once there is space.
fn the_disk_fills_and_empties(folder: &Path, server: &Server) {
    let mut client = Client::sign_up(server, "ada@example.org");
    let mut rng = Rng(5);
    let mut placed = Vec::new();
    let mut place = |client: &mut Client| -> (u16, String) {
        let oid = uuid(&mut rng);
        let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01", "client_oid": oid});
        let answer = client.send("POST", "/orders", order.to_string().as_bytes()).unwrap();
        if answer.status == 200 {
            placed.push((oid, answer.json()["id"].clone()));
        } else {
            assert!(answer.header("retry-after").is_some(), "{}", answer.json());
        }
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    for _ in 0..20 {
        assert_eq!(place(&mut client).0, 200);
    }
    for _ in 0..2 {
        let ballast = Ballast::fill(&seen_by(server, folder));
        let began = Instant::now();
        // What was taken ahead of use is used up first.
        let code = loop {
            match place(&mut client) {
                (200, _) => assert!(began.elapsed() < Duration::from_secs(120), "the disk is never full"),
                (503, code) => break code,
                (other, code) => panic!("{other} {code}"),
            }
        };
        assert!(["log_unavailable", "outcome_unknown"].contains(&code.as_str()), "{code}");
        for path in ["/accounts", "/orders?status=open", "/products/BTC-USDT/book"] {
            assert_eq!(client.send("GET", path, b"").unwrap().status, 200, "{path}");
        }
        drop(ballast);
        let began = Instant::now();
        while place(&mut client).0 != 200 {
            assert!(began.elapsed() < Duration::from_secs(60), "orders are refused although there is space");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for (oid, id) in &placed {
        assert_eq!(&client.get(&format!("/orders/client:{oid}"))["id"], id, "an acknowledged order is lost");
    }
}

#[test]
fn a_full_disk_refuses_orders_until_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let server = on_a_small_disk(&folder, 24, &[]);
    the_disk_fills_and_empties(&folder, &server);
}

/// The same where the log is at a broker and has to be on the node's own disk too before an order is acknowledged.
#[test]
fn a_full_disk_beside_a_broker_refuses_orders_until_there_is_space() {
    let (broker, postgres) = (RabbitMq::start(), Postgres::start());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (broker, postgres) = (broker.url(), postgres.url());
    let more = ["--rabbitmq", &broker, "--database", &postgres, "--durability", "broker+disk"];
    let server = on_a_small_disk(&folder, 24, &more);
    wait_for("an active node", || (ready(&server)["role"] == "active").then_some(()));
    the_disk_fills_and_empties(&folder, &server);

    // With another node there, that one takes over from one that can keep nothing more.
    let elsewhere = tempfile::tempdir().unwrap();
    let keys = elsewhere.path().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    for file in std::fs::read_dir(seen_by(&server, &folder).join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
    let other = Server::start_with(elsewhere.path(), &[more.as_slice(), &["--node", "2"]].concat());
    wait_for("the other node", || (ready(&other)["role"] == "standby").then_some(()));
    let mut at_full = Client::sign_up(&server, "bob@example.org");
    let mut at_other = other.client(&at_full.token);
    // It goes with the file system.
    std::mem::forget(Ballast::fill(&seen_by(&server, &folder)));
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
    wait_for("the other node to take over", || {
        // What was taken ahead of use is used up first.
        at_full.send("POST", "/orders", order.as_bytes()).unwrap();
        (ready(&other)["role"] == "active").then_some(())
    });
    wait_for("an order", || (at_other.send("POST", "/orders", order.as_bytes()).ok()?.status == 200).then_some(()));
    // And the full one ends when it is told to.
    assert!(terminate(server).success());
    assert_eq!(at_other.send("POST", "/orders", order.as_bytes()).unwrap().status, 200);
}

/// The status of `/health/ready`.
fn health(client: &mut Client) -> u16 {
    client.send_raw(b"GET /health/ready HTTP/1.1\r\nHost: agora\r\n\r\n").unwrap().status
}

/// A proxy sends nothing to a node that is not ready, so that nothing is written which could show that there is space again.
#[test]
fn a_node_that_is_sent_nothing_is_ready_again_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let server = on_a_small_disk(&folder, 24, &[]);
    let mut client = Client::sign_up(&server, "ada@example.org");
    assert_eq!(health(&mut client), 200);
    let ballast = Ballast::fill(&seen_by(&server, &folder));
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
    wait_for("a node that is not ready", || {
        // What was taken ahead of use is used up first.
        client.send("POST", "/orders", order.as_bytes()).unwrap();
        (health(&mut client) == 503).then_some(())
    });
    drop(ballast);
    wait_for("a node that is ready", || (health(&mut client) == 200).then_some(()));
    assert_eq!(client.send("POST", "/orders", order.as_bytes()).unwrap().status, 200);
}

/// A connection at whose end everything is to be canceled ends while the log takes nothing, and takes nothing for long: the
/// orders go once it does.
#[test]
fn a_full_disk_only_puts_off_what_goes_with_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let server = on_a_small_disk(&folder, 24, &[]);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let mut carol = Client::sign_up(&server, "carol@example.org");
    let mut feed = Feed::connect(server.address);
    let tie = json!({"type": "cancel_on_disconnect", "request_id": 1, "token": ada.token, "enabled": true});
    feed.send_text(&tie.to_string());
    let answer: Value = feed.next().unwrap();
    assert_eq!(answer["type"], "cancel_on_disconnect", "{answer}");
    let order = json!({"product_id": "BTC-USDT", "side": "buy", "price": "100", "size": "0.01"}).to_string();
    assert_eq!(ada.send("POST", "/orders", order.as_bytes()).unwrap().status, 200);
    let open = |client: &mut Client| client.get("/orders?status=open").as_array().unwrap().len();
    assert_eq!(open(&mut ada), 1);

    let ballast = Ballast::fill(&seen_by(&server, &folder));
    // What was taken ahead of use is used up first, by somebody who has nothing to do with what is to come.
    let began = Instant::now();
    loop {
        match carol.send("POST", "/orders", order.as_bytes()).unwrap().status {
            200 => assert!(began.elapsed() < Duration::from_secs(120), "the disk is never full"),
            503 => break,
            other => panic!("{other}"),
        }
    }
    // Until not even something as small as what is to come finds a place.
    let mut refused = 0;
    wait_for("a full log", || {
        let answer = bob.send("DELETE", "/orders?product_id=BTC-USDT", b"").unwrap();
        refused = if answer.status == 503 { refused + 1 } else { 0 };
        (refused == 5).then_some(())
    });
    drop(feed);
    // Longer than anybody would try who counts attempts.
    std::thread::sleep(Duration::from_secs(15));
    drop(ballast);
    wait_for("the order to go", || (open(&mut ada) == 0).then_some(()));
}
