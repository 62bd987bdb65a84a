//! The address of its own for a front end's files.

use crate::browser::{Browser, Socket};
use crate::server::{Server, agora};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn a_front_end_has_an_address_of_its_own_beside_api_and_ws() {
    let folder = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(files.path().join("assets/js")).unwrap();
    std::fs::write(files.path().join("index.html"), "<title>the front end</title>").unwrap();
    std::fs::write(files.path().join("assets/js/app.js"), "let x = 1;").unwrap();
    std::fs::write(folder.path().join("outside.txt"), "secret").unwrap();
    let assets = files.path().to_str().unwrap();
    let arguments = [
        "serve",
        "--demo-funds",
        "--listen",
        "127.0.0.1:0",
        "--gitbitex-listen",
        "127.0.0.1:0",
        "--gitbitex-assets",
        assets,
    ];
    let mut process = agora(&arguments, folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut address = |word: &str| loop {
        let line = lines.next().expect("the program ended before it was ready").unwrap();
        if let Some(rest) = line.trim().strip_prefix(word) {
            break rest.trim().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        }
    };
    let (main, page) = (address("page"), address("gitbitex"));
    std::thread::spawn(move || lines.for_each(drop));
    let server = Server { process, address: main };
    let mut browser = Browser::at(page);
    let index = b"<title>the front end</title>";
    for target in
        ["/", "/trade/BTC-USDT", "/account/signin", "/account/balance/deposit", "/proxy", "/v1/products", "/docs"]
    {
        let answer = browser.ask(target);
        assert_eq!((answer.status, answer.body.as_slice()), (200, index.as_slice()), "{target}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    let code = browser.ask("/assets/js/app.js");
    assert_eq!(
        (code.header("content-type"), code.body.as_slice()),
        (Some("text/javascript; charset=utf-8"), b"let x = 1;".as_slice())
    );
    let tag = format!("If-None-Match: {}\r\n", code.header("etag").unwrap());
    assert_eq!(browser.send("GET", "/assets/js/app.js", b"", &tag).status, 304);
    assert_eq!(browser.ask("/assets/js/missing.js").status, 404);
    for target in ["/../outside.txt", "/%2e%2e/outside.txt", "/assets/../../outside.txt"] {
        assert!(!String::from_utf8_lossy(&browser.ask(target).body).contains("secret"), "{target}");
    }
    for target in ["/legal/user_agreement", "/legal/privacy"] {
        let answer = browser.ask(target);
        assert!(answer.status == 200 && answer.body != index, "{target}");
    }
    assert_eq!(browser.post("/", &json!({})).status, 405);
    // The dialect is there too, and the socket on the page's own host and port.
    assert_eq!(browser.get("/api/products")[0]["id"], "BTC-USDT");
    let credentials = json!({"email": "ada@example.org", "password": crate::browser::PASSWORD});
    assert_eq!(browser.post("/api/users", &credentials).status, 200);
    browser.sign_in("ada@example.org");
    let mut socket = browser.socket();
    socket.subscribe(&["level2", "order"], "");
    socket.kind("snapshot");
    // The main address has its own page, and the dialect as well.
    let own = Browser::visit(&server).send("GET", "/", b"", "Accept: text/html\r\n");
    assert!(own.status == 200 && own.body != index);
    assert!(Socket::open(main, "").is_ok());
    assert_eq!(Browser::visit(&server).ask("/api/nothing").status, 404);
}

#[test]
fn a_folder_without_a_page_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let all = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let ended = agora(&all, folder.path()).output().unwrap();
        (ended.status.success(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let assets = files.path().to_str().unwrap();
    let (started, said) = start(&["--gitbitex-listen", "127.0.0.1:0", "--gitbitex-assets", assets]);
    assert!(!started && said.contains("index.html"), "{said}");
    let (started, said) = start(&["--gitbitex-listen", "127.0.0.1:0"]);
    assert!(!started && said.contains("--gitbitex-assets"), "{said}");
}
