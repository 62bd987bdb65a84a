//! The header `X-Forwarded-For`: who a client is, as proxies tell that we trust.
//!
//! Each proxy appends whom it has heard to what it was sent, so what stands left of the last part that names no proxy of
//! ours is what the client says about itself, and is never looked at.

use std::net::{IpAddr, SocketAddr};

/// The last address in these lines that is none of a proxy we trust; `None` when there is none, or when a proxy that we
/// trust names its client by something that is no address.
pub fn client<'a>(lines: impl Iterator<Item = &'a str>, trusted: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let parts: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    for part in parts.into_iter().rev() {
        let address = address(part.trim())?;
        if !trusted(&address) {
            return Some(address);
        }
    }
    None
}

/// An address, which may have a port, and brackets when it is of IPv6.
fn address(part: &str) -> Option<IpAddr> {
    let bare = part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|bare| bare.contains(':'));
    let parsed = bare.unwrap_or(part).parse().ok();
    parsed.or_else(|| part.parse().ok().map(|with_port: SocketAddr| with_port.ip())).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_about_itself_is_never_believed() {
        let trusted = |address: &IpAddr| address.is_loopback() || address.to_string().starts_with("10.");
        let cases: [(&[&str], Option<&str>); 24] = [
            (&[], None),
            (&[""], None),
            (&["198.51.100.7"], Some("198.51.100.7")),
            (&[" 198.51.100.7\t"], Some("198.51.100.7")),
            (&["198.51.100.7:4711"], Some("198.51.100.7")),
            (&["2001:db8::7"], Some("2001:db8::7")),
            (&["[2001:db8::7]"], Some("2001:db8::7")),
            (&["[2001:db8::7]:4711"], Some("2001:db8::7")),
            (&["::ffff:198.51.100.7"], Some("198.51.100.7")),
            (&["[::ffff:198.51.100.7]:80"], Some("198.51.100.7")),
            // Whatever was there before a proxy of ours has added its client.
            (&["127.0.0.9, 198.51.100.7"], Some("198.51.100.7")),
            (&["127.0.0.9, x, 198.51.100.7"], Some("198.51.100.7")),
            (&["x, 127.0.0.9", "198.51.100.7"], Some("198.51.100.7")),
            (&["127.0.0.9, x", "y", "198.51.100.7"], Some("198.51.100.7")),
            (&["203.0.113.1, , 198.51.100.7"], Some("198.51.100.7")),
            // Several proxies of ours, in one line and in several.
            (&["203.0.113.1, 198.51.100.7, 10.0.0.1, 10.0.0.2"], Some("198.51.100.7")),
            (&["203.0.113.1", "198.51.100.7", "10.0.0.1:99", "::ffff:10.0.0.2"], Some("198.51.100.7")),
            (&["10.0.0.1, 127.0.0.1"], None),
            // A proxy of ours that names no address: what stands before it is not its word.
            (&["203.0.113.1, unknown"], None),
            (&["203.0.113.1, unknown, 10.0.0.1"], None),
            (&["203.0.113.1", ""], None),
            (&["203.0.113.1, "], None),
            (&["203.0.113.1, [198.51.100.7]"], None),
            (&["203.0.113.1, 198.51.100.7.", "10.0.0.1"], None),
        ];
        for (lines, expected) in cases {
            let found = client(lines.iter().copied(), trusted).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{lines:?}");
        }
    }
}
