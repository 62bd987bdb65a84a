//! Settings that administrators change while the program runs.
//!
//! Each has a name, a type, a default and a check; the database keeps every version with who set it and
//! when. A change is made against the version that its author has seen, so that nobody overwrites what
//! they do not know. Reads come from memory; other nodes follow within a second or so.

use super::audit::{by_owner, note};
use super::error::AuthError;
use super::limits::{Class, Limit};
use super::service::Accounts;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::db::Connection;
use crate::persistence::runtime_config::{self as store, Version};
use arc_swap::ArcSwap;
use diesel::QueryResult;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a value as JSON, at most.
const LONGEST_VALUE: usize = 10_000;

/// What a setting is.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub key: String,
    /// What it does, for administrators.
    pub about: &'static str,
    /// What counts when nobody has set it.
    pub default: Value,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flag,
    /// A flag that only says no to what the server was started with.
    Off,
    /// A whole number within these bounds.
    Number(u64, u64),
    /// At most so many characters.
    Text(usize),
    Limit,
}

impl Spec {
    /// Says what is wrong with a value.
    fn check(&self, value: &Value) -> Result<(), String> {
        match (self.kind, value) {
            (Kind::Off, Value::Bool(true)) if self.default == json!(false) => {
                Err("can only be switched off: the server was not started with it".into())
            }
            (Kind::Flag | Kind::Off, Value::Bool(_)) => Ok(()),
            (Kind::Flag | Kind::Off, _) => Err("must be true or false".into()),
            (Kind::Number(least, most), Value::Number(number))
                if number.as_u64().is_some_and(|number| (least..=most).contains(&number)) =>
            {
                Ok(())
            }
            (Kind::Number(least, most), _) => Err(format!("must be a whole number from {least} to {most}")),
            (Kind::Text(most), Value::String(text)) if text.chars().count() <= most => Ok(()),
            (Kind::Text(most), _) => Err(format!("must be a text of at most {most} characters")),
            (Kind::Limit, _) => match serde_json::from_value::<Limit>(value.clone()) {
                Ok(limit) if limit.burst >= 1 && limit.burst.max(limit.per_second) <= Limit::MOST => Ok(()),
                Ok(_) | Err(_) => Err(format!(
                    "must be {{\"per_second\": 0 to {most}, \"burst\": 1 to {most}}}, where 0 sets no limit",
                    most = Limit::MOST
                )),
            },
        }
    }
}

/// The names of the settings that other parts of the program ask for.
pub mod key {
    /// Whether new users may sign up.
    pub const SIGN_UP: &str = "accounts.sign_up";
    /// Whether play money is given away, on a server that does.
    pub const DEMO_FUNDS: &str = "accounts.demo_funds";
    /// Whether withdrawals are taken.
    pub const WITHDRAWALS: &str = "custody.withdrawals";
    /// Whether links may be made without an account.
    pub const LINKS_ANONYMOUS: &str = "links.anonymous";
    /// Links of one user.
    pub const LINKS_MAX_PER_USER: &str = "links.max_per_user";
    /// Rows of one import of links.
    pub const LINKS_IMPORT_ROWS: &str = "links.import_rows";
    /// Messages of one user in ten seconds.
    pub const CHAT_USER_RATE: &str = "chat.user_rate";
    /// Messages in one room in ten seconds.
    pub const CHAT_ROOM_RATE: &str = "chat.room_rate";
    /// A line for everybody.
    pub const NOTICE: &str = "notice";
}

/// What counts while nobody has set anything, where that is for the command line to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Whether the server gives play money away.
    pub demo_funds: bool,
    /// Whether links may be made without an account.
    pub links_anonymous: bool,
    /// Links of one user.
    pub links_max_per_user: u32,
    /// Rows of one import of links.
    pub links_import_rows: u32,
    /// Messages of one user in ten seconds; 0 is no limit.
    pub chat_user_rate: u32,
    /// Messages in one room in ten seconds; 0 is no limit.
    pub chat_room_rate: u32,
}

/// More rows than this are no import but a migration, which has no business in a web server.
const MOST_ROWS: u64 = 1_000_000;

/// All settings, by name.
fn specs(defaults: &Defaults) -> Vec<Spec> {
    let spec = |key: &str, kind, default, about| Spec { key: key.to_owned(), about, default, kind };
    let rate = Kind::Number(0, 100_000);
    let mut specs = vec![
        spec(key::SIGN_UP, Kind::Flag, json!(true), "whether new users may sign up"),
        spec(
            key::DEMO_FUNDS,
            Kind::Off,
            json!(defaults.demo_funds),
            "whether play money is given away; only on a server that was started with it",
        ),
        spec(key::WITHDRAWALS, Kind::Flag, json!(true), "whether withdrawals are taken"),
        spec(
            key::LINKS_ANONYMOUS,
            Kind::Flag,
            json!(defaults.links_anonymous),
            "whether links may be made without an account",
        ),
        spec(
            key::LINKS_MAX_PER_USER,
            Kind::Number(0, u64::from(u32::MAX)),
            json!(defaults.links_max_per_user),
            "links that one user may have",
        ),
        spec(
            key::LINKS_IMPORT_ROWS,
            Kind::Number(1, MOST_ROWS),
            json!(defaults.links_import_rows),
            "rows of one import of links",
        ),
        spec(
            key::CHAT_USER_RATE,
            rate,
            json!(defaults.chat_user_rate),
            "messages, edits and reactions of one user in ten seconds, over all rooms; 0 is no limit",
        ),
        spec(
            key::CHAT_ROOM_RATE,
            rate,
            json!(defaults.chat_room_rate),
            "messages, edits and reactions in one room in ten seconds; 0 is no limit",
        ),
        spec(key::NOTICE, Kind::Text(500), json!(""), "a line that the web app shows to everybody"),
    ];
    specs.extend(Class::ALL.map(|class| Spec {
        key: format!("limits.{}", class.name()),
        about: "how often somebody may ask: requests a second, and at once after a pause",
        default: json!(class.default_limit()),
        kind: Kind::Limit,
    }));
    specs.sort_by(|one, other| one.key.cmp(&other.key));
    specs
}

/// A setting as it counts now.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// 0 when it was never set.
    pub version: i64,
    /// Its value.
    pub value: Value,
    /// When it was set.
    pub set_at: Option<Timestamp>,
    /// Who set it.
    pub set_by: Option<AccountId>,
}

/// All settings as they count at one moment.
#[derive(Debug)]
pub struct Snapshot {
    settings: BTreeMap<String, Setting>,
    limits: [Limit; Class::ALL.len()],
    sign_up: bool,
}

impl Snapshot {
    fn new(defaults: &Defaults, versions: Vec<Version>) -> Snapshot {
        let specs: BTreeMap<String, Spec> = specs(defaults).into_iter().map(|spec| (spec.key.clone(), spec)).collect();
        let unset = |spec: &Spec| Setting { version: 0, value: spec.default.clone(), set_at: None, set_by: None };
        let mut settings: BTreeMap<String, Setting> =
            specs.iter().map(|(key, spec)| (key.clone(), unset(spec))).collect();
        for version in versions {
            // A setting that this program does not know was left by another version of it.
            let (Some(setting), Some(spec)) = (settings.get_mut(&version.key), specs.get(&version.key)) else {
                continue;
            };
            let Ok(value) = serde_json::from_str(&version.value) else { continue };
            // What was set once may not be allowed by what the server was started with now.
            let value = if spec.check(&value).is_ok() { value } else { spec.default.clone() };
            let set_by = version.set_by.and_then(|id| u32::try_from(id).ok()).map(AccountId);
            *setting = Setting { version: version.version, value, set_at: Some(Timestamp(version.set_at)), set_by };
        }
        let limit = |class: Class| {
            let set = settings.get(&format!("limits.{}", class.name())).map(|setting| setting.value.clone());
            set.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_else(|| class.default_limit())
        };
        let limits = Class::ALL.map(limit);
        let sign_up = settings.get(key::SIGN_UP).and_then(|s| s.value.as_bool()).unwrap_or(true);
        Snapshot { limits, sign_up, settings }
    }

    /// All settings with their names.
    pub fn settings(&self) -> &BTreeMap<String, Setting> {
        &self.settings
    }

    /// The limit of a class.
    pub fn limit(&self, class: Class) -> Limit {
        let place = Class::ALL.iter().position(|other| *other == class);
        place.and_then(|place| self.limits.get(place)).copied().unwrap_or_else(|| class.default_limit())
    }

    /// Whether new users may sign up.
    pub fn sign_up(&self) -> bool {
        self.sign_up
    }

    /// A flag of [`key`].
    pub fn flag(&self, key: &str) -> bool {
        self.settings.get(key).and_then(|setting| setting.value.as_bool()).unwrap_or_default()
    }

    /// A number of [`key`].
    pub fn number(&self, key: &str) -> u32 {
        let number = self.settings.get(key).and_then(|setting| setting.value.as_u64());
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
    }
}

/// Hears of the settings whenever they have changed.
type Listener = Box<dyn Fn(&Snapshot) + Send + Sync>;

/// What was read of the settings at one time.
pub(super) struct Read {
    /// Rises with the time at which the read began.
    ticket: u64,
    versions: Vec<Version>,
}

/// What the snapshot was made of.
#[derive(Default)]
struct Taken {
    ticket: u64,
    versions: Vec<Version>,
    listeners: Vec<Listener>,
}

/// The settings in memory.
///
/// A database may fall back (a backup was restored, a copy that lagged took over), so what it has is compared as a
/// whole: neither versions nor their number say which of two reads is the newer one.
pub(super) struct Runtime {
    defaults: Defaults,
    now: ArcSwap<Snapshot>,
    /// Reads that were begun.
    reads: AtomicU64,
    taken: Mutex<Taken>,
}

impl Runtime {
    pub(super) fn new(defaults: Defaults) -> Runtime {
        Runtime {
            defaults,
            now: ArcSwap::from_pointee(Snapshot::new(&defaults, Vec::new())),
            reads: AtomicU64::new(0),
            taken: Mutex::default(),
        }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.now.load_full()
    }

    /// The limit of a class, without a copy of everything.
    pub(super) fn limit(&self, class: Class) -> Limit {
        self.now.load().limit(class)
    }

    /// What the database has.
    ///
    /// # Errors
    /// Whatever the database reports.
    pub(super) fn fresh(&self, conn: &mut Connection) -> QueryResult<Read> {
        // Before the read: one that has seen a change has no lower number than those that were over before it.
        let ticket = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Read { ticket, versions: store::current(conn)? })
    }

    /// Takes over what was read, unless somebody has taken over already what was read later.
    pub(super) fn take(&self, Read { ticket, versions }: Read) {
        let mut taken = self.taken.lock();
        if ticket < taken.ticket {
            return;
        }
        taken.ticket = ticket;
        if versions == taken.versions {
            return;
        }
        let now = Arc::new(Snapshot::new(&self.defaults, versions.clone()));
        taken.versions = versions;
        self.now.store(now.clone());
        taken.listeners.iter().for_each(|listener| listener(&now));
    }
}

impl Accounts {
    /// All settings as they count now.
    pub fn runtime(&self) -> Arc<Snapshot> {
        self.runtime_settings().snapshot()
    }

    /// What there is to be set, by name.
    pub fn runtime_specs(&self) -> Vec<Spec> {
        specs(&self.runtime_settings().defaults)
    }

    /// Lets somebody know of the settings, now and whenever they have changed, here or on another node. It must not
    /// block.
    pub fn hear_settings(&self, listener: impl Fn(&Snapshot) + Send + Sync + 'static) {
        let runtime = self.runtime_settings();
        let mut taken = runtime.taken.lock();
        listener(&runtime.snapshot());
        taken.listeners.push(Box::new(listener));
    }

    /// Sets a value; `seen` is the version that it is to follow, or `None` to follow whatever there is.
    /// It counts here when this answers, and is remembered, with `from` where it was set. Gives the setting before and
    /// after.
    ///
    /// # Errors
    /// [`AuthError::NoSuchSetting`], [`AuthError::SettingChanged`], or a failure; the text says what is
    /// wrong with a value.
    pub async fn set(
        &self,
        key: &str,
        value: Value,
        seen: Option<i64>,
        by: AccountId,
        from: Option<IpAddr>,
    ) -> Result<Result<(Setting, Setting), String>, AuthError> {
        let spec = self.runtime_specs().into_iter().find(|spec| spec.key == key).ok_or(AuthError::NoSuchSetting)?;
        let text = value.to_string();
        if let Err(wrong) = spec.check(&value) {
            return Ok(Err(wrong));
        }
        if text.len() > LONGEST_VALUE {
            return Ok(Err("is too long".into()));
        }
        self.follow_runtime().await?;
        let before = self.runtime().settings().get(key).cloned().ok_or(AuthError::NoSuchSetting)?;
        if seen.is_some_and(|seen| seen != before.version) {
            return Err(AuthError::SettingChanged);
        }
        let now = self.now();
        let version = Version {
            key: key.to_owned(),
            version: before.version + 1,
            value: text,
            set_at: now.0,
            set_by: Some(i64::from(by.0)),
        };
        let detail = json!({"key": key, "before": before.value, "after": value, "version": version.version});
        // Somebody on another node may be faster; the table takes each version once.
        let added = self.write(move |conn| {
            store::add(conn, &version)?;
            note(conn, &by_owner("config_changed", by, from, detail), now)
        });
        let added = added.await;
        added.map_err(|error| if error == AuthError::EmailTaken { AuthError::SettingChanged } else { error })?;
        self.follow_runtime().await?;
        let after = self.runtime().settings().get(key).cloned().ok_or(AuthError::NoSuchSetting)?;
        Ok(Ok((before, after)))
    }

    /// Earlier values of a setting, newest first.
    ///
    /// # Errors
    /// [`AuthError::NoSuchSetting`], or a failure.
    pub async fn setting_history(&self, key: &str, limit: i64) -> Result<Vec<Version>, AuthError> {
        if !self.runtime_specs().iter().any(|spec| spec.key == key) {
            return Err(AuthError::NoSuchSetting);
        }
        let key = key.to_owned();
        self.read(move |conn| store::history(conn, &key, limit)).await
    }

    /// Takes over what the database has, be it newer or older than what this node knows.
    pub(super) async fn follow_runtime(&self) -> Result<(), AuthError> {
        let accounts = self.clone();
        let fresh = self.read(move |conn| accounts.runtime_settings().fresh(conn)).await?;
        self.runtime_settings().take(fresh);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{Venue, run, sign_up};

    fn defaults() -> Defaults {
        Defaults { links_max_per_user: 1_000, links_import_rows: 100, ..Defaults::default() }
    }

    fn spec(defaults: &Defaults, key: &str) -> Spec {
        specs(defaults).into_iter().find(|spec| spec.key == key).unwrap()
    }

    #[test]
    fn every_default_passes_its_check_and_nonsense_does_not() {
        for spec in specs(&defaults()) {
            assert_eq!(spec.check(&spec.default), Ok(()), "{}", spec.key);
            for nonsense in [json!(null), json!(-7), json!(0.5), json!({"burst": 0, "per_second": 1}), json!([])] {
                assert!(spec.check(&nonsense).is_err(), "{} {nonsense}", spec.key);
            }
        }
        let limit = spec(&defaults(), "limits.public");
        assert!(limit.check(&json!({"per_second": 0, "burst": 1})).is_ok());
        assert!(limit.check(&json!({"per_second": 1, "burst": 1_000_001})).is_err());
        assert!(limit.check(&json!({"per_second": 1, "burst": 1, "more": 1})).is_err());
        let rows = spec(&defaults(), key::LINKS_IMPORT_ROWS);
        let good = |value: Value| rows.check(&value).is_ok();
        assert_eq!([0, 1, 1_000_000, 1_000_001].map(|rows| good(json!(rows))), [false, true, true, false]);
    }

    #[test]
    fn play_money_is_for_servers_that_were_started_with_it() {
        let version = |value: &str| Version {
            key: key::DEMO_FUNDS.into(),
            version: 1,
            value: value.into(),
            set_at: 1,
            set_by: None,
        };
        let real = defaults();
        let demo = Defaults { demo_funds: true, ..real };
        assert!(spec(&real, key::DEMO_FUNDS).check(&json!(true)).is_err());
        assert!(spec(&real, key::DEMO_FUNDS).check(&json!(false)).is_ok());
        assert!(spec(&demo, key::DEMO_FUNDS).check(&json!(true)).is_ok());
        let given = |defaults, value| Snapshot::new(defaults, vec![version(value)]).flag(key::DEMO_FUNDS);
        assert!(given(&demo, "true") && !given(&demo, "false"));
        // Set while it was a demo, which it is no more.
        assert!(!given(&real, "true"));
    }

    #[test]
    fn whoever_listens_hears_what_there_is_and_what_changes() {
        let runtime = Runtime::new(defaults());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let listener = move |now: &Snapshot| kept.lock().push(now.number(key::CHAT_USER_RATE));
        runtime.taken.lock().listeners.push(Box::new(listener));
        let version = |version: i64, value: &str| Version {
            key: key::CHAT_USER_RATE.into(),
            version,
            value: value.into(),
            set_at: 1,
            set_by: None,
        };
        let take = |ticket, version| runtime.take(Read { ticket, versions: vec![version] });
        take(1, version(1, "7"));
        assert_eq!(*heard.lock(), [7]);
        // Of two that follow at once, the one that has read later may be the faster.
        take(3, version(3, "9"));
        take(2, version(2, "8"));
        assert_eq!((heard.lock().as_slice(), runtime.snapshot().number(key::CHAT_USER_RATE)), (&[7, 9][..], 9));
        // What is known is no news; what a database has that fell back is.
        take(4, version(3, "9"));
        take(5, version(1, "7"));
        assert_eq!((heard.lock().as_slice(), runtime.snapshot().number(key::CHAT_USER_RATE)), (&[7, 9, 7][..], 7));
    }

    #[actix_rt::test]
    async fn a_database_that_fell_back_says_what_counts() {
        let venue = Venue::new();
        let (accounts, ada) = (venue.start(), AccountId::FIRST_USER);
        sign_up(&accounts, "ada@example.org").await;
        let set = async |name: &str, value: Value| {
            let (_, after) = accounts.set(name, value, None, ada, None).await.unwrap().unwrap();
            after.version
        };
        assert_eq!(set(key::NOTICE, json!("old")).await, 1);
        assert_eq!(set(key::NOTICE, json!("new")).await, 2);
        run(&accounts, "DELETE FROM runtime_config WHERE version = 2").await;
        // As many rows as before.
        assert_eq!(set(key::CHAT_USER_RATE, json!(7)).await, 1);
        let now = accounts.runtime();
        assert_eq!((&now.settings()[key::NOTICE].value, now.number(key::CHAT_USER_RATE)), (&json!("old"), 7));
        assert_eq!(set(key::NOTICE, json!("newer")).await, 2);
        run(&accounts, "DELETE FROM runtime_config").await;
        accounts.follow_runtime().await.unwrap();
        assert_eq!(accounts.runtime().settings()[key::NOTICE].version, 0);
    }
}
