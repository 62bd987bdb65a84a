//! Small questions to other web servers, in JSON.

use anyhow::anyhow;
use serde_json::Value;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const LONGEST: usize = 1 << 20;

/// What we call ourselves.
const AGENT: (&str, &str) = ("User-Agent", concat!("agora/", env!("CARGO_PKG_VERSION")));

thread_local! {
    // One for each thread that serves: making one reads the system's certificates.
    static CLIENT: awc::Client =
        awc::Client::builder().timeout(PATIENCE).disable_redirects().add_default_header(AGENT).finish();
    // For servers that users choose. There is no end of them, and a connection that was kept is closed only when its
    // server is asked again: so none is kept, and HTTP/2, which keeps it whatever a request says, is not spoken.
    // Whoever asks bounds how many there are; with a bound here, those that hang would keep back the others.
    static STRANGERS: awc::Client = awc::Client::builder()
        .connector(awc::Connector::new().max_http_version(awc::http::Version::HTTP_11).limit(0))
        .timeout(PATIENCE)
        .disable_redirects()
        .add_default_header(AGENT)
        .finish();
}

/// The client of this thread.
pub fn client() -> awc::Client {
    CLIENT.with(Clone::clone)
}

/// A POST to a server that a user chose; its connection is closed with it.
pub fn post_to_stranger(url: &str) -> awc::ClientRequest {
    STRANGERS.with(|client| client.post(url).force_close())
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
