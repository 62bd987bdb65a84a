//! Small questions to other web servers, in JSON.

use anyhow::anyhow;
use serde_json::Value;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const LONGEST: usize = 1 << 20;

thread_local! {
    // One for each thread that serves: making one reads the system's certificates.
    static CLIENT: awc::Client = awc::Client::builder()
        .timeout(PATIENCE)
        .disable_redirects()
        .add_default_header(("User-Agent", concat!("agora/", env!("CARGO_PKG_VERSION"))))
        .finish();
}

/// The client of this thread.
pub fn client() -> awc::Client {
    CLIENT.with(Clone::clone)
}

/// Status and JSON of a GET; `null` when the body is no JSON.
///
/// # Errors
/// When there was no answer.
pub async fn get_json(url: &str) -> anyhow::Result<(u16, Value)> {
    let sent = client().get(url).insert_header(("Accept", "application/json")).send().await;
    read(sent.map_err(|error| anyhow!("{error}"))?).await
}

/// Status and JSON of a POST with a form.
///
/// # Errors
/// When there was no answer.
pub async fn post_form(url: &str, fields: &[(&str, &str)]) -> anyhow::Result<(u16, Value)> {
    let request = client().post(url).insert_header(("Accept", "application/json"));
    let request = request.insert_header(("Content-Type", "application/x-www-form-urlencoded"));
    read(request.send_body(form(fields)).await.map_err(|error| anyhow!("{error}"))?).await
}

async fn read(
    mut response: awc::ClientResponse<
        impl futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>> + Unpin,
    >,
) -> anyhow::Result<(u16, Value)> {
    let status = response.status().as_u16();
    let body = response.body().limit(LONGEST).await.map_err(|error| anyhow!("{error}"))?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Fields as `application/x-www-form-urlencoded`, which is good for queries too.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encode(name), encode(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    let sign = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(sign).collect()
}
