//! The settings of links.

use crate::actors::links::Settings;
use crate::domain::link::target::host;
use clap::Args;

/// Short links: where they live, what they may be, how much of them is kept.
#[derive(Args, Clone, Debug)]
pub struct LinksConfig {
    /// A short domain whose paths are links: HOST, with commas between several. Its requests must reach this server.
    #[arg(long, env = "AGORA_LINKS_DOMAINS", value_delimiter = ',', value_name = "HOST", value_parser = own_host)]
    pub links_domains: Vec<String>,
    /// Let links be made without an account, within the limit `limits.links_anonymous` of requests.
    #[arg(long, env = "AGORA_LINKS_ANONYMOUS")]
    pub links_anonymous: bool,
    /// Hosts that no link may lead to, nor to a name below them; moderators may block more.
    #[arg(long, env = "AGORA_LINKS_BLOCKED", value_delimiter = ',', value_name = "HOST", value_parser = own_host)]
    pub links_blocked: Vec<String>,
    /// Words that no slug may contain, beside those that are refused anyway.
    #[arg(long, env = "AGORA_LINKS_WORDS", value_delimiter = ',', value_name = "WORD")]
    pub links_words: Vec<String>,
    /// Characters of random slugs.
    #[arg(long, env = "AGORA_LINKS_SLUG_LENGTH", default_value_t = 7, value_name = "NUMBER",
        value_parser = clap::value_parser!(u8).range(4..=32))]
    pub links_slug_length: u8,
    /// Megabytes of links in memory; a link takes about 250 bytes.
    #[arg(long, env = "AGORA_LINKS_CACHE_MB", default_value_t = 128, value_name = "MB")]
    pub links_cache_mb: u64,
    /// Links that one user may have.
    #[arg(long, env = "AGORA_LINKS_MAX_PER_USER", default_value_t = 1_000_000, value_name = "NUMBER")]
    pub links_max_per_user: u32,
    /// Rows of one import.
    #[arg(long, env = "AGORA_LINKS_IMPORT_ROWS", default_value_t = 100_000, value_name = "NUMBER")]
    pub links_import_rows: u32,
    /// Megabytes of one import.
    #[arg(long, env = "AGORA_LINKS_IMPORT_MB", default_value_t = 64, value_name = "MB")]
    pub links_import_mb: usize,
    /// Days that clicks are kept one by one, without anything that names a person; 0 keeps only their counts.
    #[arg(long, env = "AGORA_LINKS_RAW_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub links_raw_days: u16,
    /// Megabytes of clicks that may wait on disk while the database is away, 16 or more; beyond, they are not counted.
    #[arg(long, env = "AGORA_LINKS_CLICKS_MB", default_value_t = 1_024, value_name = "MB",
        value_parser = clap::value_parser!(u64).range(16..))]
    pub links_clicks_mb: u64,
    /// The header in which a trusted proxy (--accounts-trusted-proxies) tells the visitor's country, such as
    /// CF-IPCountry.
    #[arg(long, env = "AGORA_LINKS_COUNTRY_HEADER", value_name = "NAME")]
    pub links_country_header: Option<String>,
}

fn own_host(text: &str) -> Result<String, String> {
    host(text).ok_or_else(|| "this is no host such as s.example".into())
}

impl LinksConfig {
    /// What links are started with, on the node of this number and the venue of this address.
    pub fn settings(&self, node: u16, public_url: Option<&str>) -> Settings {
        let public = public_url.and_then(|url| crate::domain::link::target::host_of(url).map(|host| host.into_owned()));
        Settings {
            node,
            public_hosts: public.into_iter().collect(),
            domains: self.links_domains.clone(),
            blocked: self.links_blocked.clone(),
            words: self.links_words.iter().map(|word| word.trim().to_lowercase()).collect(),
            slug_length: usize::from(self.links_slug_length),
            cache_bytes: self.links_cache_mb.max(1) << 20,
            import_bytes: self.links_import_mb << 20,
            raw_days: self.links_raw_days,
            buffer_bytes: self.links_clicks_mb << 20,
            country_header: self.links_country_header.as_ref().map(|name| name.to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        links: LinksConfig,
    }

    #[test]
    fn clicks_have_room_on_disk() {
        let bytes = |mb: &str| {
            let line = Line::try_parse_from(["agora", "--links-clicks-mb", mb]).ok()?;
            Some(line.links.settings(1, None).buffer_bytes)
        };
        assert_eq!([bytes("0"), bytes("15"), bytes("16")], [None, None, Some(16 << 20)]);
    }
}
