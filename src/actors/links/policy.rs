//! What operators and moderators have laid down.

use crate::domain::link::target::host;
use crate::persistence::db::Connection;
use crate::persistence::links::hosts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How links are set up. From the command line; see there for the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's number, for the numbers of links.
    pub node: u16,
    /// The venue's public names, without which a link could lead to itself.
    pub public_hosts: Vec<String>,
    /// Short domains.
    pub domains: Vec<String>,
    /// Hosts that no link may lead to, beside those that moderators add.
    pub blocked: Vec<String>,
    /// Parts of slugs that are refused, in lower case.
    pub words: Vec<String>,
    /// Characters of random slugs.
    pub slug_length: usize,
    /// Bytes of links that are held in memory.
    pub cache_bytes: u64,
    /// Bytes of one import.
    pub import_bytes: usize,
    /// Days that single clicks are kept; 0 keeps none.
    pub raw_days: u16,
    /// Bytes of clicks that wait on disk.
    pub buffer_bytes: u64,
    /// The header in which a trusted proxy tells the visitor's country, in lower case.
    pub country_header: Option<String>,
}

/// What administrators change while the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowances {
    /// Links that one user may have.
    pub max_per_user: i64,
    /// Whether links may be made without an account.
    pub anonymous: bool,
    /// Rows of one import.
    pub import_rows: usize,
}

impl Settings {
    /// All names of this server.
    pub fn own_hosts(&self) -> Vec<String> {
        self.public_hosts.iter().chain(&self.domains).cloned().collect()
    }
}

/// What can be set for a short domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainSettings {
    /// Where the domain's bare address leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Where names lead that nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The redirect's status when a link's maker names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Characters of random slugs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug_length: Option<u8>,
}

/// What counts at the moment.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Hosts that no link may lead to.
    pub blocked: Vec<String>,
    /// Short domains with their settings; the venue's own address is the empty name.
    pub domains: BTreeMap<String, DomainSettings>,
}

impl Policy {
    /// What the command line and the database say together.
    ///
    /// # Errors
    /// Those of the database.
    pub fn load(conn: &mut Connection, settings: &Settings) -> diesel::QueryResult<Policy> {
        let mut blocked: Vec<String> = settings.blocked.iter().filter_map(|text| host(text)).collect();
        blocked.extend(hosts::blocked(conn)?.into_iter().map(|blocked| blocked.host));
        blocked.sort();
        blocked.dedup();
        let mut domains: BTreeMap<String, DomainSettings> = BTreeMap::new();
        domains.insert(String::new(), DomainSettings::default());
        for domain in &settings.domains {
            domains.insert(domain.clone(), DomainSettings::default());
        }
        for (host, text) in hosts::domains(conn)? {
            // A domain that is served no more keeps its settings for when it is again.
            if let (Some(place), Ok(settings)) = (domains.get_mut(&host), serde_json::from_str(&text)) {
                *place = settings;
            }
        }
        Ok(Policy { blocked, domains })
    }
}
