//! The ways out: LINE and webhooks (e-mail is in `mail`).

use super::web;
use crate::auth::Secret;
use anyhow::{anyhow, bail};
use aws_lc_rs::hmac;
use bytes::Bytes;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Characters of a LINE message, at most.
const LONGEST_LINE: usize = 5_000;
/// Buttons of a LINE template, and characters of their labels and of the text above them, at most.
const MOST_BUTTONS: usize = 4;
const LONGEST_LABEL: usize = 20;
const LONGEST_TEMPLATE: usize = 160;
/// Characters of the text that stands for a template where none can be shown, at most.
const LONGEST_SUBSTITUTE: usize = 400;

/// The Messaging API of LINE.
#[derive(Clone, Debug)]
pub struct Line {
    /// `https://api.line.me`, or a stand-in.
    pub url: String,
    /// Where what people send is fetched: `https://api-data.line.me`, or a stand-in.
    pub data_url: String,
    /// The channel access token.
    pub token: Secret,
    /// The channel secret, which signs what LINE sends to us.
    pub secret: Secret,
}

impl Line {
    /// Sends a text to a user.
    ///
    /// # Errors
    /// When LINE does not take it.
    pub async fn push(&self, to: &str, text: &str) -> anyhow::Result<()> {
        self.post("push", &json!({"to": to, "messages": [message(text)]})).await
    }

    /// Answers what a user wrote.
    ///
    /// # Errors
    /// When LINE does not take it.
    pub async fn reply(&self, reply_token: &str, text: &str) -> anyhow::Result<()> {
        self.post("reply", &json!({"replyToken": reply_token, "messages": [message(text)]})).await
    }

    /// Answers with a question and buttons, each of which says its text for whoever presses it; LINE shows
    /// four at most.
    ///
    /// # Errors
    /// When LINE does not take it.
    pub async fn reply_with_choices(&self, reply_token: &str, text: &str, choices: &[&str]) -> anyhow::Result<()> {
        self.post("reply", &json!({"replyToken": reply_token, "messages": [question(text, choices)]})).await
    }

    /// The picture (or whatever else) of a message that somebody has sent, `most` bytes at most.
    ///
    /// # Errors
    /// When LINE does not give it, or it is larger.
    pub async fn content(&self, message: &str, most: usize) -> anyhow::Result<Bytes> {
        if message.is_empty() || !message.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            bail!("this is no id of a message");
        }
        let url = format!("{}/v2/bot/message/{message}/content", self.data_url.trim_end_matches('/'));
        let request = web::client().get(url).bearer_auth(self.token.expose());
        let mut response = request.send().await.map_err(|error| anyhow!("{error}"))?;
        if !response.status().is_success() {
            bail!("LINE answered {}", response.status());
        }
        response.body().limit(most).await.map_err(|error| anyhow!("{error}"))
    }

    async fn post(&self, what: &str, body: &Value) -> anyhow::Result<()> {
        let url = format!("{}/v2/bot/message/{what}", self.url.trim_end_matches('/'));
        let request = web::client().post(url).bearer_auth(self.token.expose());
        let response = request.send_json(body).await.map_err(|error| anyhow!("{error}"))?;
        if !response.status().is_success() {
            bail!("LINE answered {}", response.status());
        }
        Ok(())
    }

    /// Whether this is LINE's signature of a body, in constant time.
    pub fn signed(&self, signature: &str, body: &[u8]) -> bool {
        use base64::Engine;
        let Ok(tag) = base64::engine::general_purpose::STANDARD.decode(signature) else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose().as_bytes());
        hmac::verify(&key, body, &tag).is_ok()
    }
}

fn message(text: &str) -> Value {
    json!({"type": "text", "text": start(text, LONGEST_LINE)})
}

/// A message with buttons; without choices, which LINE takes no template for, just the text.
fn question(text: &str, choices: &[&str]) -> Value {
    if choices.is_empty() {
        return message(text);
    }
    let actions = choices.iter().take(MOST_BUTTONS);
    let actions =
        actions.map(|choice| json!({"type": "message", "label": start(choice, LONGEST_LABEL), "text": choice}));
    let template = json!({
        "type": "buttons",
        "text": start(text, LONGEST_TEMPLATE),
        "actions": actions.collect::<Vec<_>>(),
    });
    json!({"type": "template", "altText": start(text, LONGEST_SUBSTITUTE), "template": template})
}

/// The first characters of a text, so many at most.
fn start(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The signature that a webhook carries in `Agora-Signature`: `t=SECONDS,v1=HEX`, where HEX is the
/// HMAC-SHA256 of `SECONDS.BODY` with the webhook's secret.
pub fn webhook_signature(secret: &[u8], seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// Sends a webhook, and closes the connection. Redirects are not followed; the address must not be one of our own
/// network.
///
/// # Errors
/// When it is not taken with a 2xx.
pub async fn webhook(url: &str, secret: &[u8], seconds: i64, body: String, private: bool) -> anyhow::Result<()> {
    let address = check_target(url, private).await?;
    let signature = webhook_signature(secret, seconds, &body);
    // To the address that was looked at: the name could mean another one a moment later.
    let request = web::post_to_stranger(url)
        .address(address)
        .insert_header(("Content-Type", "application/json"))
        .insert_header(("Agora-Signature", signature));
    let response = request.send_body(body).await.map_err(|error| anyhow!("{error}"))?;
    if !response.status().is_success() {
        bail!("the webhook answered {}", response.status());
    }
    Ok(())
}

/// Whether this can be the address of a webhook: http or https, a host, no credentials.
pub fn is_webhook_url(url: &str) -> bool {
    host_and_port(url).is_some() && url.len() <= 1_024 && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: actix_web::http::Uri = url.parse().ok()?;
    let default = match uri.scheme_str()? {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), authority.port_u16().unwrap_or(default)))
}

/// Users name these addresses, so they must not lead into the network of the server itself. Gives the one to go to.
async fn check_target(url: &str, private: bool) -> anyhow::Result<SocketAddr> {
    let (host, port) = host_and_port(url).ok_or_else(|| anyhow!("this is no address for a webhook"))?;
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses: Vec<SocketAddr> = found.into_iter().flatten().collect();
    match addresses.first() {
        Some(first) if private || addresses.iter().all(|address| is_public(address.ip())) => Ok(*first),
        // Its user reads this. A name that nobody has gives the same, or one could find out which ones our network has.
        Some(_) | None => bail!("{host} is not the name of an address on the internet"),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let inner = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
            match v6.segments() {
                // NAT64 and 6to4 carry an IPv4 address that is reached in the end.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
                [0x2002, high, low, ..] => inner(high, low),
                // 2001::/23 is for protocols, Teredo among them, 2001:db8::/32 and 3fff::/20 for examples.
                [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
                [0x3fff, second, ..] => second >= 0x1000,
                // All others on the internet are here.
                [first, ..] => first & 0xe000 == 0x2000,
            }
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [one, two, three, _] = address.octets();
    let shared = one == 100 && (64..128).contains(&two);
    let protocols = [one, two, three] == [192, 0, 0];
    let benchmarks = one == 198 && (two == 18 || two == 19);
    // Here machines in Azure are told about themselves.
    let azure = address.octets() == [168, 63, 129, 16];
    let inner = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast();
    let reserved = protocols || benchmarks || one == 0 || one >= 240 || address.is_documentation();
    !(inner || shared || azure || reserved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::Duration;

    /// A server that gives one request this answer and leaves the connection open; it tells whether the other side has
    /// closed it.
    fn patient(answer: &'static str) -> (String, JoinHandle<std::io::Result<bool>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let closed = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            let (mut request, mut part) = (Vec::new(), [0; 1_024]);
            while !request.ends_with(b"{}") {
                let length = stream.read(&mut part)?;
                if length == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                request.extend_from_slice(&part[..length]);
            }
            stream.write_all(answer.as_bytes())?;
            match stream.read(&mut part) {
                Ok(length) => Ok(length == 0),
                Err(error) => Ok(error.kind() == ErrorKind::ConnectionReset),
            }
        });
        (url, closed)
    }

    #[actix_web::test]
    async fn a_webhook_leaves_no_connection_behind() {
        for answer in [
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        ] {
            let (url, closed) = patient(answer);
            webhook(&url, b"secret", 1, "{}".into(), true).await.unwrap();
            // The client goes on meanwhile: it closes when it comes to it.
            let closed = actix_web::rt::task::spawn_blocking(move || closed.join().unwrap()).await.unwrap();
            assert!(closed.unwrap(), "{answer}");
        }
    }

    #[actix_web::test]
    async fn what_has_no_address_is_not_told_from_what_has_one_inside() {
        let told = |host: &'static str| async move {
            let refused = check_target(&format!("http://{host}/"), false).await.unwrap_err().to_string();
            refused.replace(host, "HOST")
        };
        // No name ends in `invalid` (RFC 6761).
        let unknown = told("nobody.invalid").await;
        assert_eq!(unknown, told("localhost").await);
        assert_eq!(unknown, told("169.254.169.254").await);
    }

    #[test]
    fn questions_on_line_keep_within_its_limits() {
        let long = "€".repeat(LONGEST_LINE + 1);
        let count = |text: &Value| text.as_str().unwrap().chars().count();
        let asked = question(&long, &["BTC-USDT", long.as_str(), "C", "D", "E"]);
        assert_eq!((count(&asked["altText"]), count(&asked["template"]["text"])), (400, 160));
        let actions = asked["template"]["actions"].as_array().unwrap();
        assert_eq!((actions.len(), &actions[0]["text"], count(&actions[1]["label"])), (4, &json!("BTC-USDT"), 20));
        let plain = question(&long, &[]);
        assert_eq!((plain["type"].as_str(), count(&plain["text"])), (Some("text"), 5_000));
    }

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let signature = webhook_signature(b"secret", 1_700_000_000, r#"{"a":1}"#);
        let again = webhook_signature(b"secret", 1_700_000_001, r#"{"a":1}"#);
        assert!(signature.starts_with("t=1700000000,v1=") && signature.len() == 16 + 64);
        assert_ne!(signature.split("v1=").nth(1), again.split("v1=").nth(1), "the time is signed too");
    }

    #[test]
    fn targets_inside_are_told_from_those_on_the_internet() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "192.168.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::1",
            "192.0.0.1",
            "192.0.0.255",
            "198.18.0.1",
            "198.19.255.255",
            "168.63.129.16",
            "255.255.255.255",
            "fec0::1",
            "fe80::1",
            "ff02::1",
            "::",
            "::10.0.0.1",
            "::1.1.1.1",
            "2001::1",
            "2001:0:808:808::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "2002:c0a8:1::1",
            "64:ff9b:1::1.1.1.1",
            "64:ff9b:0:1::1.1.1.1",
            "64:ff9b::192.168.0.1",
            "100::1",
            "4000::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "172.15.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "168.63.129.17",
            "2606:4700::1111",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "2002:101:101::1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
        for url in ["https://example.org/hook", "http://example.org:8080/a?b=c", "https://[2606:4700::1111]/"] {
            assert!(is_webhook_url(url), "{url}");
        }
        for url in ["", "ftp://example.org", "https://", "https://user@example.org/", "/hook", "https://a b/"] {
            assert!(!is_webhook_url(url), "{url}");
        }
    }
}
