//! Sign-up, sign-in, sign-out, profile, password.

use crate::browser::{Browser, PASSWORD, Socket};
use crate::server::{Answer, Client, Server};
use crate::smtp::MailServer;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The smallest picture there is.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

fn message(answer: &Answer) -> String {
    let text = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(!text.is_empty() && text.chars().next().unwrap().is_uppercase(), "{}", answer.json());
    assert!(answer.json()["code"].is_u64(), "{}", answer.json());
    text
}

#[test]
fn the_sign_in_answer_is_a_bare_string_and_the_cookie_lives_as_long_as_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::visit(&server);
    let credentials = json!({"email": "ada@example.org", "password": PASSWORD});
    let user = ada.post("/api/users", &credentials).json();
    assert_eq!((&user["email"], &user["name"]), (&json!("ada@example.org"), &json!("ada")));
    assert!(ada.cookies.is_empty(), "signing up is not signing in");
    let answer = ada.post("/api/users/accessToken", &credentials);
    assert!(answer.body.starts_with(b"\"") && answer.body.ends_with(b"\""), "not a bare string");
    let token = answer.json().as_str().unwrap().to_owned();
    let cookie = answer.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(pair, format!("accessToken={token}"));
    let mut attributes: Vec<&str> = attributes.split("; ").collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax"]);
    // The token itself counts for the same seven days, not for a quarter of an hour.
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 604_800);
    // No other session was left behind by the sign-up.
    let mut native = server.client(&token);
    assert_eq!(native.get("/auth/sessions").as_array().unwrap().len(), 1);
    // The same without a cookie, for programs.
    let answer = Browser::visit(&server).post("/api/users/token", &credentials);
    assert!(answer.json().is_string() && answer.header("set-cookie").is_none());
}

#[test]
fn the_token_counts_in_cookie_header_and_query() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let ada = Browser::of_new_user(&server, "ada@example.org");
    let token = &ada.storage;
    let mut other = Browser::visit(&server);
    assert_eq!(other.ask("/api/users/self").status, 401);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(other.send("GET", "/api/users/self", b"", &bearer).status, 200);
    assert_eq!(other.ask(&format!("/api/users/self?accessToken={token}")).status, 200);
    assert_eq!(other.ask(&format!("/api/users/self?token={token}")).status, 200);
    // A dead cookie does not hide a live token behind it.
    other.cookies.insert("accessToken".into(), "nonsense".into());
    assert_eq!(other.ask("/api/users/self").status, 401);
    assert_eq!(other.send("GET", "/api/users/self", b"", &bearer).status, 200);
    // Switches of the page leak into real headers and mean nothing.
    let mut ada = ada;
    let leaked = "HideError: true\r\nHideAuthError: true\r\nResponseAll: true\r\n";
    assert_eq!(ada.send("GET", "/api/users/self", b"", leaked).status, 200);
}

#[test]
fn changes_by_cookie_must_come_from_an_own_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--gitbitex-origins", "https://trade.example"]);
    let ada = Browser::of_new_user(&server, "ada@example.org");
    let send = |origin: &str, cookie: bool| {
        let body = json!({"name": "Eve"}).to_string();
        let proof = if cookie {
            format!("Cookie: accessToken={}", ada.storage)
        } else {
            format!("Authorization: Bearer {}", ada.storage)
        };
        let text = format!(
            "POST /api/users/name HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n{proof}\r\nContent-Length: {}\r\n\r\n{body}",
            server.address,
            body.len()
        );
        server.client("").send_raw(text.as_bytes()).unwrap()
    };
    let refused = send("https://evil.example", true);
    assert_eq!((refused.status, message(&refused).is_empty()), (403, false));
    assert_eq!(send(&format!("http://{}", server.address), true).status, 200);
    assert_eq!(send("https://trade.example", true).status, 200);
    // A token that another page cannot have proves enough by itself.
    assert_eq!(send("https://evil.example", false).status, 200);
    // Sockets take cookies along as well.
    let open = |origin: &str| {
        let headers =
            format!("Host: {}\r\nOrigin: {origin}\r\nCookie: accessToken={}\r\n", server.address, ada.storage);
        Socket::open_with(server.address, &headers).err()
    };
    assert!(open("https://evil.example").unwrap().contains(" 403 "));
    assert_eq!(open("https://trade.example"), None);
}

#[test]
fn a_browser_may_ask_for_pages_of_named_origins_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--gitbitex-origins", "https://trade.example"]);
    let ada = Browser::of_new_user(&server, "ada@example.org");
    let send = |method: &str, target: &str, origin: &str, more: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n{more}\r\n", server.address);
        server.client("").send_raw(head.as_bytes()).unwrap()
    };
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type, hideerror\r\n";
    let may = |answer: &Answer| {
        let of = |name: &str| answer.header(&format!("access-control-allow-{name}")).map(str::to_owned);
        (of("origin"), of("credentials"))
    };
    let yes = || (Some("https://trade.example".to_owned()), Some("true".to_owned()));
    for target in ["/api/orders", "/api/users/accessToken", "/api/orders/00000000-0001-80a1-8000-000000000001"] {
        let answer = send("OPTIONS", target, "https://trade.example", asked);
        assert_eq!((answer.status, may(&answer)), (204, yes()), "{target}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("content-type, hideerror"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let refused = send("OPTIONS", target, "https://evil.example", asked);
        assert_eq!((refused.status, refused.header("access-control-allow-credentials")), (403, None), "{target}");
        message(&refused);
    }
    // The answer itself, too, is for the page of that origin.
    let cookie = format!("Cookie: accessToken={}\r\n", ada.storage);
    let read = send("GET", "/api/users/self", "https://trade.example", &cookie);
    assert_eq!((read.status, may(&read)), (200, yes()));
    assert_eq!(may(&send("GET", "/api/users/self", "https://evil.example", &cookie)), (Some("*".into()), None));
    assert_eq!(may(&send("GET", "/v1/time", "https://trade.example", "")), (Some("*".into()), None));
}

#[test]
fn what_is_unknown_is_answered_in_the_dialects_form() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    for (method, target) in
        [("GET", "/api/nothing"), ("POST", "/api/nothing"), ("POST", "/api/products"), ("GET", "/api")]
    {
        let answer = ada.send(method, target, b"", "");
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!(0)), "{method} {target}");
        message(&answer);
    }
}

#[test]
fn unauthorized_is_kept_for_no_session_and_a_failed_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let credentials = json!({"email": "ada@example.org", "password": PASSWORD});
    let taken = ada.post("/api/users", &credentials);
    assert_eq!((taken.status, message(&taken)), (409, "An account with this e-mail address exists already.".into()));
    let weak = ada.post("/api/users", &json!({"email": "bob@example.org", "password": "x"}));
    assert_eq!(weak.status, 400);
    message(&weak);
    assert_eq!(ada.post("/api/users", &json!({"email": "nonsense", "password": PASSWORD})).status, 400);
    let unreadable = ada.post_text("/api/users", "{");
    assert_eq!((unreadable.status, &unreadable.json()["code"]), (400, &json!(2)));
    let wrong = Browser::visit(&server)
        .post("/api/users/accessToken", &json!({"email": "ada@example.org", "password": "wrong"}));
    assert_eq!((wrong.status, &wrong.json()["code"]), (401, &json!(5)));
    assert_eq!(message(&wrong), "The e-mail address or the password is wrong.");
    let nobody = Browser::visit(&server).ask("/api/users/self");
    assert_eq!((nobody.status, message(&nobody)), (401, "Please sign in first.".into()));
    // None of these is a matter of the session.
    let old = ada.post("/api/users/password", &json!({"oldPassword": "wrong", "newPassword": "another good one"}));
    assert_eq!((old.status, message(&old)), (400, "The old password is wrong.".into()));
    assert_eq!(
        ada.post("/api/orders", &json!({"productId": "NO-SUCH", "side": "buy", "price": 1, "size": 1})).status,
        404
    );
    assert_eq!(ada.delete("/api/orders/00000000-0001-80a1-8000-000000000001").status, 404);
    assert_eq!(ada.delete("/api/orders/nonsense").status, 404);
    assert_eq!(ada.delete("/api/orders/client:nonsense").status, 404);
    assert_eq!(ada.ask("/api/wallets/XYZ/address").status, 404);
    assert_eq!(ada.ask("/api/nothing").status, 404);
    let order = ada.limit("buy", "100", "1");
    let target = format!("/api/orders/{}", order["id"].as_str().unwrap());
    assert_eq!(ada.delete(&target).status, 200);
    assert_eq!(ada.delete(&target).status, 409);
    // An ended session says that it was ended, by number too.
    let stale = ada.cookies.clone();
    assert_eq!(ada.delete("/api/users/accessToken").status, 200);
    ada.cookies = stale;
    let ended = ada.ask("/api/users/self");
    assert_eq!((ended.status, &ended.json()["code"]), (401, &json!(4)));
}

#[test]
fn the_message_of_four_calls_stands_in_response_data_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let refusals = [
        ada.post("/api/wallets/BTC/withdrawal", &json!({"amount": "-1", "cryptoAddress": "x"})),
        ada.post("/api/users/password", &json!({"oldPassword": "wrong", "newPassword": "another good one"})),
        ada.post("/api/verifyCodes/restPassword", &json!({"email": "nonsense"})),
        ada.post(
            "/api/users/password/reset",
            &json!({"email": "ada@example.org", "verifyCode": "1", "newPassword": "another good one"}),
        ),
        Browser::visit(&server).post("/api/wallets/BTC/withdrawal", &json!({})),
    ];
    for refusal in refusals {
        assert!(refusal.status >= 400);
        assert_eq!(refusal.json()["response"]["data"]["message"], json!(message(&refusal)));
    }
    let other = ada.post("/api/orders", &json!({}));
    assert!(other.status >= 400 && other.json()["response"].is_null());
}

#[test]
fn sign_out_counts_everywhere_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    // A second session of the same user, which goes on.
    let mut elsewhere = Browser::visit(&server);
    elsewhere.sign_in("ada@example.org");
    let (token, cookies) = (ada.storage.clone(), ada.cookies.clone());
    // One socket knows the user by the token of its messages, one by the cookie of its opening alone.
    let mut by_token = Browser::visit(&server).socket();
    let mut by_cookie = ada.socket();
    let mut other = elsewhere.socket();
    for (socket, token) in [(&mut by_token, token.as_str()), (&mut by_cookie, ""), (&mut other, "")] {
        socket.subscribe(&["order", "match"], token);
        socket.subscribe_funds(token);
        socket.shows(|page| page.funds.len() == 2);
    }
    let answer = ada.delete("/api/users/accessToken");
    assert_eq!(answer.status, 200);
    assert!(!ada.cookies.contains_key("accessToken"), "the cookie was not expired");
    // The token is dead for REST, whichever way it comes, and for the native API.
    ada.cookies = cookies;
    assert_eq!(ada.ask("/api/users/self").status, 401);
    assert_eq!(Browser::visit(&server).ask(&format!("/api/users/self?token={token}")).status, 401);
    assert_eq!(server.client(&token).send("GET", "/accounts", b"").unwrap().status, 401);
    // Signing out again is no fault, nor without any session.
    assert_eq!(ada.delete("/api/users/accessToken").status, 200);
    assert_eq!(Browser::visit(&server).delete("/api/users/accessToken").status, 200);
    // What happens to the user from now on reaches the other session alone.
    elsewhere.limit("sell", "500", "0.5");
    bob.limit("buy", "500", "0.25");
    other.until(|message| message["type"] == "order" && message["filledSize"] == "0.25");
    for socket in [&mut by_token, &mut by_cookie] {
        socket.kind("match");
        // The page keeps sending the old token.
        socket.subscribe(&["order"], &token);
        socket.subscribe_funds(&token);
        socket.kind("subscriptions");
        let state = socket.kind("subscriptions")["channels"].clone();
        assert_eq!(state, json!([{"name": "match", "product_ids": ["BTC-USDT"]}]));
    }
    bob.limit("buy", "500", "0.25");
    other.until(|message| message["type"] == "order" && message["status"] == "filled");
    for socket in [&mut by_token, &mut by_cookie] {
        socket.kind("match");
        socket.settle();
        assert_eq!(socket.count("order"), 0, "{:?}", socket.log);
        assert_eq!(socket.count("funds"), 2);
    }
}

#[test]
fn a_user_always_has_a_name_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let user = ada.get("/api/users/self");
    assert_eq!(user["name"], "ada");
    for key in ["id", "email", "profilePhoto", "createdAt"] {
        assert!(user[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    let picture = ada.ask(user["profilePhoto"].as_str().unwrap());
    assert_eq!((picture.status, picture.header("content-type")), (200, Some("image/svg+xml")));
    assert_eq!(ada.post("/api/users/name", &json!({"name": "Ada Lovelace"})).status, 200);
    assert_eq!(ada.get("/api/users/self")["name"], "Ada Lovelace");
    let renamed = ada.put("/api/users/self", json!({"nickName": "Countess"}).to_string().as_bytes());
    assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!("Countess")));
    assert_eq!(ada.post("/api/users/name", &json!({"name": "x".repeat(65)})).status, 400);
    assert_eq!(ada.post("/api/users/name", &json!({"name": ""})).status, 200);
    assert_eq!(ada.get("/api/users/self")["name"], "ada");
}

#[test]
fn a_picture_that_was_refused_cannot_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    let upload = |browser: &mut Browser, bytes: &[u8]| {
        let place = browser.get("/api/files/url");
        let text = |key: &str| place[key].as_str().unwrap().to_owned();
        let put = browser.put(&text("url"), bytes);
        // As soon as that was answered, however, the page names the picture.
        let named = browser.post("/api/users/profilePhoto", &json!({"profilePhotoUrl": text("key")}));
        (put.status, named.status, text("key"))
    };
    let (put, named, _) = upload(&mut ada, b"<svg onload=alert(1)>");
    assert_eq!((put, named), (415, 400));
    let (put, named, key) = upload(&mut ada, GIF);
    assert_eq!((put, named), (200, 200));
    assert_eq!(ada.get("/api/users/self")["profilePhoto"], json!(key));
    let shown = Browser::visit(&server).ask(&key);
    assert_eq!((shown.status, shown.header("content-type"), shown.body.as_slice()), (200, Some("image/gif"), GIF));
    // Another user's picture is no picture of one's own, and stays what it is.
    assert_eq!(bob.post("/api/users/profilePhoto", &json!({"profilePhotoUrl": key})).status, 400);
    assert_eq!(put_anew(&server, &bob, &key, GIF).status, 404);
    assert_eq!(ada.put(&key, GIF).status, 409);
    // Neither spaces around it nor another spelling hide whose it is, here and in the native dialect.
    let (padded, spelled) = (format!(" {key}\n"), key.replace('-', ""));
    assert_eq!(bob.post("/api/users/profilePhoto", &json!({"profilePhotoUrl": padded})).status, 400);
    assert_eq!(
        ada.post("/api/users/profilePhoto", &json!({"profilePhotoUrl": spelled})).status,
        400,
        "her own neither"
    );
    for photo in [&key, &padded, &spelled] {
        let body = json!({"photo": photo}).to_string();
        let refused = server.client(&bob.storage).send("PUT", "/auth/me", body.as_bytes()).unwrap();
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("no_such_picture")), "{photo:?}");
    }
    // Pictures that are not shown any more go; the shown one stays, however many come.
    let older: Vec<String> = (0..5)
        .map(|_| {
            let place = ada.get("/api/files/url");
            assert_eq!(ada.put(place["url"].as_str().unwrap(), GIF).status, 200);
            place["key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ada.ask(&older[0]).status, 404);
    assert_eq!(ada.ask(&older[4]).status, 200);
    assert_eq!(ada.ask(&key).status, 200);
    let mut large = GIF.to_vec();
    large.resize((20 << 20) + 1, 0);
    let place = ada.get("/api/files/url");
    assert_eq!(ada.put(place["url"].as_str().unwrap(), &large).status, 413);
    let mut ada = Browser::visit(&server);
    ada.sign_in("ada@example.org");
    large.resize(20 << 20, 0);
    let place = ada.get("/api/files/url");
    assert_eq!(ada.put(place["url"].as_str().unwrap(), &large).status, 200);
}

#[test]
fn a_place_for_a_picture_is_nobody_elses_and_no_image_of_chat() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let bob = Browser::of_new_user(&server, "bob@example.org");
    // A private image in chat, whose id others may get to know.
    let mut native = server.client(&ada.storage);
    let room = native.send("POST", "/chat/rooms", br#"{"kind": "private", "name": "Den"}"#).unwrap().json();
    let room = room["id"].as_str().unwrap().to_owned();
    let image = native.send("POST", &format!("/chat/rooms/{room}/images"), GIF).unwrap();
    assert_eq!(image.status, 201, "{}", image.json());
    let image = image.json()["id"].as_str().unwrap().to_owned();
    let another: Vec<u8> = [GIF, b"another"].concat();
    // Names that were made up, or given to somebody else, are no places.
    let place = ada.get("/api/files/url")["url"].as_str().unwrap().to_owned();
    let made_up = "/api/files/00000000-0000-4000-8000-000000000001".to_owned();
    for target in [format!("/api/files/{image}"), place.clone(), made_up] {
        let refused = put_anew(&server, &bob, &target, &another);
        assert_eq!(refused.status, 404, "{target}");
        message(&refused);
    }
    let own = put_anew(&server, &ada, &format!("/api/files/{image}"), &another);
    assert_eq!(own.status, 404, "her own image is no place either");
    let stranger = Browser::visit(&server).ask(&format!("/api/files/{image}"));
    assert_eq!(stranger.status, 404);
    let shown = native.send("GET", &format!("/chat/images/{image}"), b"").unwrap();
    assert_eq!((shown.status, shown.body.as_slice()), (200, GIF));
    assert_eq!(ada.put(&place, GIF).status, 200);
}

#[test]
fn whose_pictures_come_slowly_keeps_nobody_else_from_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut bob = Browser::of_new_user(&server, "bob@example.org");
    let place = |browser: &mut Browser| browser.get("/api/files/url")["url"].as_str().unwrap().to_owned();
    // Two pictures begin and do not come to an end. They are large: what is small is read before anybody looks at it.
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let (target, token) = (place(&mut ada), &ada.storage);
        let head = format!("PUT {target} HTTP/1.1\r\nHost: agora\r\nAuthorization: Bearer {token}\r\n");
        stream.write_all(format!("{head}Content-Length: 200000\r\n\r\nGIF89a").as_bytes()).unwrap();
        slow.push(stream);
    }
    // The server may see the two a little later than what comes after them.
    let mut until = |status: u16| {
        let mut tries = (0..200).map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            let target = place(&mut ada);
            put_anew(&server, &ada, &target, GIF)
        });
        tries.find(|answer| answer.status == status).unwrap_or_else(|| panic!("there is no {status}"))
    };
    let refused = until(429);
    assert_eq!((&refused.json()["code"], refused.header("retry-after")), (&json!(1), Some("5")));
    message(&refused);
    let target = place(&mut bob);
    assert_eq!(bob.put(&target, GIF).status, 200, "there is room for others");
    drop(slow);
    until(200);
}

#[test]
fn a_picture_from_before_is_shown_by_its_older_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let key = ada.get("/api/files/url")["key"].as_str().unwrap().to_owned();
    assert_eq!(ada.put(&key, GIF).status, 200);
    let id = key.rsplit('/').next().unwrap();
    let objects = objects_of(folder.path(), &format!("profile-{id}"));
    std::fs::rename(objects.join(format!("profile-{id}")), objects.join(id)).unwrap();
    let shown = Browser::visit(&server).ask(&key);
    assert_eq!((shown.status, shown.body.as_slice()), (200, GIF));
}

/// Puts a file on a connection of its own: one may end with a refusal that comes before the file was read.
fn put_anew(server: &Server, browser: &Browser, target: &str, bytes: &[u8]) -> Answer {
    let mut anew = Browser::visit(server);
    anew.cookies.clone_from(&browser.cookies);
    anew.put(target, bytes)
}

/// The folder below this one that has an object of this name.
fn objects_of(data: &Path, name: &str) -> PathBuf {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join(name).is_file() {
            return folder;
        }
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    panic!("there is no object {name}")
}

#[test]
fn another_password_keeps_the_session_and_ends_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut elsewhere = Browser::visit(&server);
    elsewhere.sign_in("ada@example.org");
    let body = json!({"oldPassword": PASSWORD, "newPassword": "another good one"});
    assert_eq!(ada.post("/api/users/password", &body).status, 200);
    assert_eq!(ada.ask("/api/users/self").status, 200);
    assert_eq!(elsewhere.ask("/api/users/self").status, 401);
    let sign_in = |password: &str| {
        Browser::visit(&server)
            .post("/api/users/accessToken", &json!({"email": "ada@example.org", "password": password}))
            .status
    };
    assert_eq!((sign_in(PASSWORD), sign_in("another good one")), (401, 200));
}

#[test]
fn a_forgotten_password_is_set_anew_by_a_mailed_code() {
    let mail = MailServer::start();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &["--accounts-smtp-url", &mail.url()]);
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    let mut visitor = Browser::visit(&server);
    let forgot = |browser: &mut Browser, email: &str| {
        browser.post("/api/verifyCodes/restPassword", &json!({"email": email})).status
    };
    assert_eq!(forgot(&mut visitor, "nobody@example.org"), 200);
    assert_eq!(forgot(&mut visitor, "ada@example.org"), 200);
    let text = mail.next();
    let code = text.split("Your code: ").nth(1).unwrap().get(..9).unwrap().to_owned();
    let reset = |browser: &mut Browser, code: &str| {
        let body = json!({"email": "ada@example.org", "verifyCode": code, "newPassword": "another good one"});
        browser.post("/api/users/password/reset", &body).status
    };
    assert_eq!((reset(&mut visitor, "000"), reset(&mut visitor, &code), reset(&mut visitor, &code)), (400, 200, 400));
    assert_eq!(ada.ask("/api/users/self").status, 401);
    // The older name of the same.
    assert_eq!(visitor.post("/api/codes", &json!({"email": "nobody2@example.org", "type": "reset"})).status, 200);
    assert!(mail.is_empty(), "somebody without an account was mailed");
}

#[test]
fn apps_are_api_keys() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Browser::of_new_user(&server, "ada@example.org");
    assert_eq!(ada.get("/api/apps"), json!([]));
    let made = ada.post("/api/apps", &json!({"name": "bot"})).json();
    assert!(!made["secret"].as_str().unwrap().is_empty() && !made["passphrase"].as_str().unwrap().is_empty());
    let listed = ada.get("/api/apps");
    assert_eq!((&listed[0]["name"], &listed[0]["id"], &listed[0]["secret"]), (&json!("bot"), &made["id"], &json!("")));
    let mut native = Client::at(server.address, &ada.storage);
    assert_eq!(native.get("/auth/keys")[0]["permissions"], json!(["view", "trade"]));
    assert_eq!(ada.delete(&format!("/api/apps/{}", made["id"].as_str().unwrap())).status, 200);
    assert_eq!(ada.get("/api/apps"), json!([]));
}

#[test]
fn too_many_requests_are_refused_with_a_sentence_and_a_time_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    // Clients on this machine are counted here too.
    let server = Server::start_with(folder.path(), &["--accounts-unlimited", "192.0.2.0/24"]);
    let mut visitor = Browser::visit(&server);
    let refused = (0..10_000).map(|_| visitor.ask("/api/products")).find(|answer| answer.status != 200).unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!(1)));
    assert_eq!(message(&refused), "That was too fast. Please wait a moment and try again.");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
}
