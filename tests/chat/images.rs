//! Images in a folder and in a bucket.

use crate::people::User;
use crate::s3;
use crate::server::Server;
use serde_json::{Value, json};
use uuid::Uuid;

/// Uploads, shows and deletes an image; its object must then go within what `tidied` waits for.
fn images(server: &Server) -> (User, String, String) {
    let (mut ada, mut bob) = (User::new(server, "ada"), User::new(server, "bob"));
    let mut eve = User::new(server, "eve");
    let room = ada.room("private", "Gallery");
    let invite = ada.ok("POST", &format!("/rooms/{room}/invites"), json!({}))["invite"].clone();
    bob.ok("POST", &format!("/invites/{}", invite.as_str().unwrap()), Value::Null);
    let path = format!("/chat/rooms/{room}/images");
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 5_000]].concat();
    let html = ada.http.send("POST", &path, b"<script>").unwrap();
    assert_eq!((html.status, html.json()["code"].as_str()), (415, Some("not_an_image")));
    assert_eq!(eve.http.send("POST", &path, &png).unwrap().status, 404);
    let image = ada.http.send("POST", &path, &png).unwrap();
    assert_eq!(image.status, 201, "{}", image.json());
    let id = image.json()["id"].as_str().unwrap().to_owned();
    // Nobody shows somebody else's.
    let messages = format!("/rooms/{room}/messages");
    assert_eq!(bob.refused("POST", &messages, json!({"images": [id]})).1, "invalid");
    let mine = json!({"images": [id], "client_id": Uuid::new_v4()});
    let sent = ada.ok("POST", &messages, mine.clone());
    // Sent again, because the answer may have got lost, it is the same message.
    assert_eq!(ada.ok("POST", &messages, mine)["sequence"], sent["sequence"]);
    assert_eq!(ada.refused("POST", &messages, json!({"images": [id]})).1, "invalid");
    let page = bob.ok("GET", &messages, Value::Null);
    assert_eq!(page["messages"][0]["images"][0]["id"], json!(id));
    let get = |user: &mut User| user.http.send("GET", &format!("/chat/images/{id}"), b"").unwrap();
    let shown = get(&mut bob);
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/png")));
    assert_eq!(shown.body, png);
    assert_eq!(get(&mut eve).status, 404);
    ada.ok("DELETE", &format!("{messages}/1"), Value::Null);
    assert_eq!(get(&mut bob).status, 404);
    (ada, room, id)
}

#[test]
fn images_are_for_members_and_go_with_their_message() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let (mut ada, room, id) = images(&server);
    assert!(data.path().join("images").join(id).exists(), "the object goes later");
    let large = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 3 << 20]].concat();
    let refused = ada.http.send("POST", &format!("/chat/rooms/{room}/images"), &large);
    // The server may close before it has read everything.
    assert!(refused.map_or(true, |answer| answer.status == 413));
}

#[test]
fn images_can_be_kept_in_a_bucket() {
    let (data, s3) = (tempfile::tempdir().unwrap(), s3::S3::start());
    let endpoint = format!("http://{}", s3.address);
    let bucket = ["--chat-s3-endpoint", &endpoint, "--chat-s3-bucket", "pictures", "--chat-s3-region", s3::REGION];
    let keys = ["--chat-s3-key", s3::KEY, "--chat-s3-secret", s3::SECRET];
    let server = Server::start_with(data.path(), &[bucket.as_slice(), &keys].concat());
    let (_, _, id) = images(&server);
    assert!(s3.objects.lock().unwrap().contains_key(&format!("/pictures/{id}")));
    assert!(!data.path().join("images").exists());
}
