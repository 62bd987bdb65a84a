//! Where a link may lead: public web pages, nowhere else.
//!
//! Names are judged as they are written; what a name resolves to is the visitor's affair, since the visitor's browser
//! and not this server goes there. (The server never fetches a target.)

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;
use url::{Host, Url};

/// The most bytes of a target, as it was given and as it is stored.
pub const MAX_LENGTH: usize = 2_048;

/// Why a link may not lead there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// More than [`MAX_LENGTH`] bytes.
    #[error("the target is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// No URL at all.
    #[error("the target is not a complete web address, such as https://example.org/page")]
    Malformed,
    /// Neither http nor https.
    #[error("the target must begin with http:// or https://")]
    Scheme,
    /// A user name or password in it.
    #[error("the target must not hold a user name or a password")]
    Credentials,
    /// A private, loopback, link-local or otherwise special address, or a name that only local networks know.
    #[error("the target is not a public address")]
    NotPublic,
    /// This server, so that a link would lead to itself.
    #[error("the target is this server's own address")]
    Own,
    /// On the list of blocked hosts.
    #[error("the target's host is blocked here")]
    BlockedHost,
}

impl TargetError {
    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            TargetError::TooLong => "target_too_long",
            TargetError::Malformed => "target_malformed",
            TargetError::Scheme => "target_scheme",
            TargetError::Credentials => "target_credentials",
            TargetError::NotPublic => "target_not_public",
            TargetError::Own => "target_own",
            TargetError::BlockedHost => "target_blocked",
        }
    }
}

/// Hosts with a meaning of their own, in lower case and punycode.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// This server's: its public names and its short domains.
    pub own: Vec<String>,
    /// No link may lead to these or to a name below them.
    pub blocked: Vec<String>,
}

/// The normalised form of a target: scheme and host in lower case, host in punycode, unsafe bytes escaped.
///
/// # Errors
/// [`TargetError`].
pub fn check(text: &str, hosts: &Hosts) -> Result<String, TargetError> {
    let text = text.trim();
    if text.len() > MAX_LENGTH {
        return Err(TargetError::TooLong);
    }
    // The parser would drop tabs and line ends in silence; who sends them means something else.
    if text.chars().any(char::is_control) {
        return Err(TargetError::Malformed);
    }
    let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetError::Scheme);
    }
    // `http:example.org` is taken by the parser, but is not what people mean by an address.
    let Some((_, rest)) = text.split_once(':') else { return Err(TargetError::Malformed) };
    if !rest.starts_with("//") {
        return Err(TargetError::Malformed);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Credentials);
    }
    match url.host().ok_or(TargetError::Malformed)? {
        Host::Ipv4(address) if !is_public_v4(address) => return Err(TargetError::NotPublic),
        Host::Ipv6(address) if !is_public_v6(address) => return Err(TargetError::NotPublic),
        Host::Ipv4(_) | Host::Ipv6(_) => {}
        Host::Domain(name) if !is_public_name(name) => return Err(TargetError::NotPublic),
        Host::Domain(_) => {}
    }
    let host = url.host_str().ok_or(TargetError::Malformed)?.trim_end_matches('.');
    if hosts.own.iter().any(|own| own == host) {
        return Err(TargetError::Own);
    }
    if hosts.blocked.iter().any(|blocked| is_or_is_below(host, blocked)) {
        return Err(TargetError::BlockedHost);
    }
    let normal = String::from(url);
    if normal.len() > MAX_LENGTH { Err(TargetError::TooLong) } else { Ok(normal) }
}

/// A host as [`Hosts`] holds it, from what an operator typed; `None` when it is no host.
pub fn host(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('.');
    match Host::parse(text).ok()? {
        Host::Domain(name) if !name.is_empty() => Some(name),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(format!("[{address}]")),
        Host::Domain(_) => None,
    }
}

/// The host of a valid target, for statistics and the preview page.
pub fn host_of(target: &str) -> Option<Cow<'_, str>> {
    let url = Url::parse(target).ok()?;
    Some(Cow::Owned(url.host_str()?.to_string()))
}

/// Whether a valid target's host is one of these or below one.
pub fn is_below_any(target: &str, hosts: &[String]) -> bool {
    host_of(target).is_some_and(|host| hosts.iter().any(|above| is_or_is_below(host.trim_end_matches('.'), above)))
}

fn is_or_is_below(host: &str, blocked: &str) -> bool {
    host.strip_suffix(blocked).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A name that the public name system can know.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let Some((_, top)) = name.rsplit_once('.') else { return false };
    // Names for local use, tests and documentation, RFC 6761, 6762, 7686, 8375, 9476; and `internal`, by ICANN.
    let special =
        ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "test", "invalid", "onion", "alt"];
    !special.contains(&top) && !is_or_is_below(name, "home.arpa") && !name.split('.').any(str::is_empty)
}

/// Whether the address is of the public network: none of the special ones of RFC 6890.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // An IPv4 address in other clothes: mapped, compatible, NAT64, 6to4.
    let [a, b, c, d, e, f, g, h] = address.segments();
    let four = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => return is_public_v4(four(g, h)),
        (0x2002, ..) => return is_public_v4(four(b, c)),
        _ => {}
    }
    // Global unicast is 2000::/3; in it, these are for documentation, benchmarks and tunnels (Teredo hides an address).
    let global = (a & 0xe000) == 0x2000;
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) || (a & 0xfff0) == 0x3ff0;
    global && !special
}

/// A target with a visitor's query added to its own, before its fragment.
pub fn with_query(target: &str, query: &str) -> String {
    let (address, fragment) = match target.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (target, None),
    };
    let mut text = String::with_capacity(target.len() + query.len() + 1);
    text.push_str(address);
    text.push(if address.contains('?') { '&' } else { '?' });
    // What a request line can hold is safe in a header but for these, which no client should send raw.
    text.extend(query.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '#')));
    if let Some(fragment) = fragment {
        text.push('#');
        text.push_str(fragment);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts { own: vec!["agora.example.com".into(), "agr.a".into()], blocked: vec!["evil.com".into()] }
    }

    #[test]
    fn targets_are_normalised() {
        for (text, expected) in [
            ("https://example.org", "https://example.org/"),
            ("  HTTP://Example.ORG:80/A b?q=ü#x ", "http://example.org/A%20b?q=%C3%BC#x"),
            ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
            ("https://xn--bcher-kva.example/x", "https://xn--bcher-kva.example/x"),
            ("https://日本語.jp/", "https://xn--wgv71a119e.jp/"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
            ("https://example.org:8443/a/../b", "https://example.org:8443/b"),
            ("https://notevil.com/", "https://notevil.com/"),
        ] {
            assert_eq!(check(text, &hosts()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_public_page_is_refused() {
        use TargetError::{BlockedHost, Credentials, Malformed, NotPublic, Own, Scheme, TooLong};
        for (text, expected) in [
            ("", Malformed),
            ("example.org", Malformed),
            ("/path", Malformed),
            ("//example.org", Malformed),
            ("http:example.org", Malformed),
            ("https:///", Malformed),
            ("https://exa mple.org", Malformed),
            ("https://example.org/\r\nSet-Cookie: a=b", Malformed),
            ("https://exam\tple.org/", Malformed),
            ("https://example..org", NotPublic),
            ("javascript:alert(1)", Scheme),
            ("JaVaScRiPt:alert(1)", Scheme),
            ("data:text/html,x", Scheme),
            ("ftp://example.org", Scheme),
            ("file:///etc/passwd", Scheme),
            ("https://user@example.org", Credentials),
            ("https://user:secret@example.org", Credentials),
            ("https://:secret@example.org", Credentials),
            ("http://localhost/", NotPublic),
            ("http://LOCALHOST./", NotPublic),
            ("http://api.localhost/", NotPublic),
            ("http://router/", NotPublic),
            ("http://printer.local/", NotPublic),
            ("http://db.internal/", NotPublic),
            ("http://a.home.arpa/", NotPublic),
            ("http://127.0.0.1/", NotPublic),
            ("http://127.1/", NotPublic),
            ("http://2130706433/", NotPublic),
            ("http://0x7f.0.0.1/", NotPublic),
            ("http://0177.0.0.1/", NotPublic),
            ("http://0.0.0.0/", NotPublic),
            ("http://10.1.2.3/", NotPublic),
            ("http://172.16.0.1/", NotPublic),
            ("http://192.168.1.1/", NotPublic),
            ("http://169.254.169.254/latest/meta-data", NotPublic),
            ("http://100.64.0.1/", NotPublic),
            ("http://224.0.0.1/", NotPublic),
            ("http://255.255.255.255/", NotPublic),
            ("http://１２７.０.０.１/", NotPublic),
            ("http://[::1]/", NotPublic),
            ("http://[::]/", NotPublic),
            ("http://[::ffff:127.0.0.1]/", NotPublic),
            ("http://[::ffff:a00:1]/", NotPublic),
            ("http://[64:ff9b::10.0.0.1]/", NotPublic),
            ("http://[2002:7f00:1::]/", NotPublic),
            ("http://[fe80::1]/", NotPublic),
            ("http://[fc00::1]/", NotPublic),
            ("http://[2001:db8::1]/", NotPublic),
            ("http://[2001:0:1::1]/", NotPublic),
            ("http://[ff02::1]/", NotPublic),
            ("https://agora.example.com/s/abc", Own),
            ("https://AGORA.example.com./", Own),
            ("https://evil.com/", BlockedHost),
            ("https://www.evil.com/", BlockedHost),
        ] {
            assert_eq!(check(text, &hosts()), Err(expected), "{text}");
        }
        assert_eq!(check(&format!("https://example.org/{}", "x".repeat(2_100)), &hosts()), Err(TooLong));
        // Escaping makes it longer than it may be.
        assert_eq!(check(&format!("https://example.org/{}", "ü".repeat(900)), &hosts()), Err(TooLong));
    }

    #[test]
    fn a_query_can_bring_no_header_and_no_fragment() {
        assert_eq!(with_query("https://a.b/", "x=1"), "https://a.b/?x=1");
        assert_eq!(with_query("https://a.b/?y#f", "x=\r\n\"<#"), "https://a.b/?y&x=#f");
    }

    #[test]
    fn hosts_take_one_form() {
        assert_eq!(host(" Bücher.example. ").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(host("127.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(host("a b"), None);
        assert_eq!(host(""), None);
    }
}
