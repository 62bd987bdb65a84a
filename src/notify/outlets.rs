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
        let actions = choices.iter().take(MOST_BUTTONS).map(|choice| {
            let label: String = choice.chars().take(LONGEST_LABEL).collect();
            json!({"type": "message", "label": label, "text": choice})
        });
        let template = json!({
            "type": "buttons",
            "text": text.chars().take(LONGEST_TEMPLATE).collect::<String>(),
            "actions": actions.collect::<Vec<_>>(),
        });
        let message = json!({"type": "template", "altText": text, "template": template});
        self.post("reply", &json!({"replyToken": reply_token, "messages": [message]})).await
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
    json!({"type": "text", "text": text.chars().take(LONGEST_LINE).collect::<String>()})
}

/// The signature that a webhook carries in `Agora-Signature`: `t=SECONDS,v1=HEX`, where HEX is the
/// HMAC-SHA256 of `SECONDS.BODY` with the webhook's secret.
pub fn webhook_signature(secret: &[u8], seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// Sends a webhook. Redirects are not followed; the address must not be one of our own network.
///
/// # Errors
/// When it is not taken with a 2xx.
pub async fn webhook(url: &str, secret: &[u8], seconds: i64, body: String, private: bool) -> anyhow::Result<()> {
    let address = check_target(url, private).await?;
    let signature = webhook_signature(secret, seconds, &body);
    // To the address that was looked at: the name could mean another one a moment later.
    let request = web::client()
        .post(url)
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
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| anyhow!("{host}: {error}"))?;
    let addresses: Vec<SocketAddr> = found.collect();
    match addresses.first() {
        Some(first) if private || addresses.iter().all(|address| is_public(address.ip())) => Ok(*first),
        Some(_) | None => bail!("{host} is not an address on the internet"),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [one, two, ..] = v4.octets();
            let shared = one == 100 && (64..128).contains(&two);
            let reserved = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast();
            !(reserved || shared || one == 0 || one >= 240 || v4.is_documentation())
        }
        IpAddr::V6(v6) => {
            let [first, second, third, .., high, low] = v6.segments();
            let inner =
                |high: u16, low: u16| is_public(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into());
            // NAT64 and 6to4 carry an IPv4 address that is reached in the end.
            if first == 0x64 && second == 0xff9b {
                return inner(high, low);
            }
            if first == 0x2002 {
                return inner(second, third);
            }
            let unique_local = first & 0xfe00 == 0xfc00;
            let link_local = first & 0xffc0 == 0xfe80;
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || unique_local || link_local)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "172.15.0.1", "2606:4700::1111", "64:ff9b::1.1.1.1"] {
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
