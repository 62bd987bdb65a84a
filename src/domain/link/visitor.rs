//! Who follows a link, as far as a request tells: nothing of it names a person.

use std::borrow::Cow;
use std::cell::OnceCell;
use woothee::parser::Parser;

/// What a user agent says about itself. The words are those of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// `desktop`, `mobile`, `tablet`, `tv`, `console`, `bot` or `other`.
    pub device: &'static str,
    /// The operating system, or `other`.
    pub os: &'static str,
    /// The browser, or `other`.
    pub browser: &'static str,
    /// The name of the robot, if it is one.
    pub bot: Option<&'static str>,
}

impl Default for Client {
    fn default() -> Client {
        Client { device: OTHER, os: OTHER, browser: OTHER, bot: None }
    }
}

/// A visit's circumstances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visitor<'a> {
    /// The user agent.
    pub client: Client,
    /// The most preferred language, a tag such as `de-AT`.
    pub language: Option<&'a str>,
    /// The country that a proxy told, two letters.
    pub country: Option<&'a str>,
    /// The query string, without `?`.
    pub query: Option<&'a str>,
}

/// The most parameters of a query that rules look at. Visitors write queries, and the answer waits for it.
pub const MAX_PARAMETERS: usize = 200;
/// The most bytes of a query that rules look at; a parameter that does not end there is left out.
pub const MAX_QUERY: usize = 8 * 1024;

/// What stands in statistics for whatever has no name there.
pub const OTHER: &str = "other";

/// Robots that do not say so in a way that the parser knows: command line tools, libraries, link previews, monitors.
const ROBOTS: &[(&str, &str)] = &[
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("python-requests", "python-requests"),
    ("python-urllib", "python-urllib"),
    ("go-http-client", "Go"),
    ("okhttp", "okhttp"),
    ("java/", "Java"),
    ("facebookexternalhit", "Facebook preview"),
    ("slackbot", "Slack preview"),
    ("discordbot", "Discord preview"),
    ("telegrambot", "Telegram preview"),
    ("whatsapp", "WhatsApp preview"),
    ("twitterbot", "Twitter preview"),
    ("linkedinbot", "LinkedIn preview"),
    ("headlesschrome", "headless Chrome"),
    ("uptime", "monitor"),
    ("monitor", "monitor"),
    ("preview", "preview"),
    ("spider", "crawler"),
    ("crawler", "crawler"),
    ("bot", "bot"),
];

impl Client {
    /// What this user agent string says. One that is missing or empty is a robot's: every browser sends one.
    pub fn of(user_agent: Option<&str>) -> Client {
        let Some(text) = user_agent.map(str::trim).filter(|text| !text.is_empty()) else {
            return Client { device: "bot", bot: Some("without a name"), ..Client::default() };
        };
        // Longer ones are not sent by browsers; there is no use in reading them to the end.
        let text = text.char_indices().nth(512).map_or(text, |(end, _)| text.get(..end).unwrap_or_default());
        let lower = text.to_ascii_lowercase();
        let named = ROBOTS.iter().find(|(part, _)| lower.contains(part)).map(|(_, name)| *name);
        let Some(parsed) = Parser::new().parse(text) else {
            let device = if named.is_some() { "bot" } else { OTHER };
            return Client { device, bot: named, ..Client::default() };
        };
        let bot = if parsed.category == "crawler" { Some(known(parsed.name)) } else { named };
        let tablet = lower.contains("ipad") || lower.contains("tablet");
        let device = match parsed.category {
            _ if bot.is_some() => "bot",
            "pc" if tablet => "tablet",
            "pc" => "desktop",
            "smartphone" if tablet || (lower.contains("android") && !lower.contains("mobile")) => "tablet",
            "smartphone" | "mobilephone" => "mobile",
            "appliance" if lower.contains("tv") => "tv",
            "appliance" => "console",
            _ => OTHER,
        };
        Client { device, os: system(parsed.os), browser: known(parsed.name), bot }
    }
}

/// Names that statistics and rules know; whatever else calls itself something is `other`, so that nobody can fill the
/// statistics with names.
const NAMES: &[&str] = &[
    "Android",
    "BlackBerry",
    "BSD",
    "ChromeOS",
    "iOS",
    "Linux",
    "macOS",
    "Nintendo 3DS",
    "Nintendo DSi",
    "Nintendo Wii",
    "PlayStation 3",
    "PlayStation 4",
    "PlayStation Portable",
    "PlayStation Vita",
    "Windows",
    "Windows Phone",
    "Chrome",
    "Edge",
    "Firefox",
    "Internet Explorer",
    "Opera",
    "Safari",
    "Samsung Internet",
    "Vivaldi",
    "Webview",
    "Sleipnir",
    "Yandex Browser",
    "Googlebot",
    "Googlebot Mobile",
    "AdSense",
    "bingbot",
    "msnbot",
    "Yahoo! Slurp",
    "Yahoo! Japan",
    "Baiduspider",
    "YandexBot",
    "Applebot",
    "facebook",
    "twitter",
    "Hatena",
    "mixi",
    "misc crawler",
    "Livedoor FeedFetcher",
];

fn known(name: &str) -> &'static str {
    NAMES.iter().find(|known| **known == name).copied().unwrap_or(OTHER)
}

fn system(os: &str) -> &'static str {
    match os {
        "iPhone" | "iPad" | "iPod" | "iOS" => "iOS",
        "Mac OSX" | "Mac OS Classic" => "macOS",
        phone if phone.starts_with("Windows Phone") => "Windows Phone",
        windows if windows.starts_with("Windows") => "Windows",
        other => known(other),
    }
}

/// The parameters of a query, for all conditions of a visit: read once, when the first of these asks. Only the first
/// [`MAX_PARAMETERS`] within [`MAX_QUERY`] bytes are there.
#[derive(Debug)]
pub struct Parameters<'a> {
    query: &'a [u8],
    pairs: OnceCell<Vec<(Cow<'a, str>, Cow<'a, str>)>>,
}

impl<'a> Parameters<'a> {
    /// Those of a query string, without `?`.
    pub fn of(query: Option<&'a str>) -> Parameters<'a> {
        let query = query.unwrap_or_default().as_bytes();
        let query = match query.get(..MAX_QUERY) {
            Some(start) if query.get(MAX_QUERY).is_some_and(|next| *next != b'&') => {
                let whole = start.iter().rposition(|byte| *byte == b'&').unwrap_or(0);
                start.get(..whole).unwrap_or_default()
            }
            Some(start) => start,
            None => query,
        };
        Parameters { query, pairs: OnceCell::new() }
    }

    /// Whether there is this parameter with this value; an empty value is any.
    pub fn have(&self, name: &str, value: &str) -> bool {
        let read = || url::form_urlencoded::parse(self.query).take(MAX_PARAMETERS).collect();
        self.pairs.get_or_init(read).iter().any(|(n, v)| n == name && (value.is_empty() || v == value))
    }
}

/// The most preferred language of an `Accept-Language` header, by its quality values; the first of equals.
pub fn preferred_language(header: &str) -> Option<&str> {
    let mut best: Option<(u32, &str)> = None;
    for part in header.split(',').take(20) {
        let mut pieces = part.split(';').map(str::trim);
        let tag = pieces.next().unwrap_or_default();
        let sound = (1..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !sound {
            continue;
        }
        let quality = pieces.find_map(|piece| piece.strip_prefix("q=")).map_or(Some(1_000), thousandths).unwrap_or(0);
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, tag));
        }
    }
    best.map(|(_, tag)| tag)
}

/// Languages that statistics know: those of ISO 639-1, and some that browsers have beside them.
const LANGUAGES: &[&str] = &[
    "aa", "ab", "ae", "af", "ak", "am", "an", "ar", "as", "ast", "av", "ay", "az", "ba", "be", "bg", "bh", "bi", "bm",
    "bn", "bo", "br", "bs", "ca", "ce", "ceb", "ch", "ckb", "co", "cr", "cs", "cu", "cv", "cy", "da", "de", "dsb",
    "dv", "dz", "ee", "el", "en", "eo", "es", "et", "eu", "fa", "ff", "fi", "fil", "fj", "fo", "fr", "fur", "fy", "ga",
    "gd", "gl", "gn", "gsw", "gu", "gv", "ha", "haw", "he", "hi", "ho", "hr", "hsb", "ht", "hu", "hy", "hz", "ia",
    "id", "ie", "ig", "ii", "ik", "io", "is", "it", "iu", "ja", "jv", "ka", "kab", "kg", "ki", "kj", "kk", "kl", "km",
    "kn", "ko", "kr", "ks", "ku", "kv", "kw", "ky", "la", "lb", "lg", "li", "ln", "lo", "lt", "lu", "lv", "mg", "mh",
    "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "na", "nb", "nd", "ne", "ng", "nl", "nn", "no", "nr", "nv", "ny",
    "oc", "oj", "om", "or", "os", "pa", "pi", "pl", "ps", "pt", "qu", "rm", "rn", "ro", "ru", "rw", "sa", "sc", "sd",
    "se", "sg", "sh", "si", "sk", "sl", "sm", "sn", "so", "sq", "sr", "ss", "st", "su", "sv", "sw", "ta", "te", "tg",
    "th", "ti", "tk", "tl", "tn", "to", "tr", "ts", "tt", "tw", "ty", "ug", "uk", "ur", "uz", "ve", "vi", "vo", "wa",
    "wo", "xh", "yi", "yo", "yue", "za", "zh", "zu",
];

/// The language that statistics count a tag for, without its region; whatever is none is `other`, so that nobody can
/// fill the statistics with words.
pub fn known_language(tag: &str) -> &'static str {
    let language = tag.split('-').next().unwrap_or_default();
    LANGUAGES.iter().find(|known| known.eq_ignore_ascii_case(language)).copied().unwrap_or(OTHER)
}

/// A quality value, 0 to 1 with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded = format!("{fraction:0<3}");
    let fraction: u32 = padded.get(..3)?.parse().ok()?;
    Some((whole.parse::<u32>().ok()?.min(1) * 1_000 + fraction).min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agents() {
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1";
        let pad = "Mozilla/5.0 (iPad; CPU OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.0 Mobile/15E148 Safari/604.1";
        let android = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36";
        let slate = "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:120.0) Gecko/20100101 Firefox/120.0";
        let google = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        for (text, device, os, browser, is_bot) in [
            (Some(chrome), "desktop", "Windows", "Chrome", false),
            (Some(phone), "mobile", "iOS", "Safari", false),
            (Some(pad), "tablet", "iOS", "Safari", false),
            (Some(android), "mobile", "Android", "Chrome", false),
            (Some(slate), "tablet", "Android", "Chrome", false),
            (Some(mac), "desktop", "macOS", "Firefox", false),
            (Some(google), "bot", "other", "Googlebot", true),
            (Some("curl/8.0"), "bot", "other", "other", true),
            (Some("Slackbot-LinkExpanding 1.0"), "bot", "other", "other", true),
            (Some("something"), "other", "other", "other", false),
            (Some(" "), "bot", "other", "other", true),
            (None, "bot", "other", "other", true),
        ] {
            let client = Client::of(text);
            let found = (client.device, client.os, client.bot.is_some());
            assert_eq!(found, (device, os, is_bot), "{text:?}: {client:?}");
            if !is_bot {
                assert_eq!(client.browser, browser, "{text:?}");
            }
        }
    }

    #[test]
    fn languages_by_preference() {
        for (header, expected) in [
            ("de", Some("de")),
            ("en;q=0.5, de-AT;q=0.9, fr;q=0.9", Some("de-AT")),
            ("en;q=0, *", None),
            ("*", None),
            ("", None),
            ("en;q=oops, it;q=0.1", Some("it")),
            ("<script>, nl", Some("nl")),
        ] {
            assert_eq!(preferred_language(header), expected, "{header}");
        }
    }

    #[test]
    fn languages_that_nobody_speaks_have_no_name() {
        for (tag, expected) in
            [("de-AT", "de"), ("PT-br", "pt"), ("zh-Hant-TW", "zh"), ("fil", "fil"), ("xq", OTHER), ("a1b2", OTHER)]
        {
            assert_eq!(known_language(tag), expected, "{tag}");
        }
        assert!(LANGUAGES.is_sorted());
    }

    #[test]
    fn parameters_of_the_query() {
        let query = Parameters::of(Some("a=1&b=x%20y&c"));
        assert!(query.have("a", "1") && query.have("b", "x y") && query.have("c", "") && query.have("a", ""));
        assert!(!query.have("a", "2") && !query.have("d", ""));
        assert!(!Parameters::of(None).have("a", ""));
    }

    #[test]
    fn a_query_is_read_once_and_only_so_far() {
        let query = Parameters::of(Some("a=1"));
        assert!(query.pairs.get().is_none(), "nobody has asked yet");
        assert!(query.have("a", "1"));
        let read = query.pairs.get().unwrap().as_ptr();
        assert!(query.have("a", "") && query.pairs.get().unwrap().as_ptr() == read);

        let many: String = (0..=MAX_PARAMETERS).map(|number| format!("p{number}=x&")).collect();
        let query = Parameters::of(Some(&many));
        assert!(query.have(&format!("p{}", MAX_PARAMETERS - 1), "x"));
        assert!(!query.have(&format!("p{MAX_PARAMETERS}"), ""));

        // The last one ends with the bytes that are looked at, then it does not.
        for (filling, there) in [(MAX_QUERY - 3, true), (MAX_QUERY - 2, false)] {
            let long = format!("a={}&b=1&c=2", "x".repeat(filling - 3));
            let query = Parameters::of(Some(&long));
            assert_eq!(["a", "b", "c"].map(|name| query.have(name, "")), [true, there, false], "{filling}");
        }
        assert!(!Parameters::of(Some(&"x".repeat(MAX_QUERY + 1))).have(&"x".repeat(MAX_QUERY), ""));
    }
}
