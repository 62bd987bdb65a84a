//! Settings that administrators change while the program runs.
//!
//! Each has a name, a type, a default and a check; the database keeps every version with who set it and
//! when. A change is made against the version that its author has seen, so that nobody overwrites what
//! they do not know. Reads come from memory; other nodes follow within a second or so.

use super::error::AuthError;
use super::limits::{Class, Limit};
use super::service::Accounts;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::runtime_config::{self as store, Version};
use arc_swap::ArcSwap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

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
    /// At most so many characters.
    Text(usize),
    Limit,
}

impl Spec {
    /// Says what is wrong with a value.
    fn check(&self, value: &Value) -> Result<(), String> {
        match (self.kind, value) {
            (Kind::Flag, Value::Bool(_)) => Ok(()),
            (Kind::Flag, _) => Err("must be true or false".into()),
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

/// All settings, by name.
pub fn specs() -> Vec<Spec> {
    let mut specs = vec![
        Spec {
            key: "accounts.sign_up".into(),
            about: "whether new users may sign up",
            default: json!(true),
            kind: Kind::Flag,
        },
        Spec {
            key: "notice".into(),
            about: "a line that the web app shows to everybody",
            default: json!(""),
            kind: Kind::Text(500),
        },
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
    fn new(versions: Vec<Version>) -> Snapshot {
        let unset = |spec: Spec| (spec.key, Setting { version: 0, value: spec.default, set_at: None, set_by: None });
        let mut settings: BTreeMap<String, Setting> = specs().into_iter().map(unset).collect();
        for version in versions {
            // A setting that this program does not know was left by another version of it.
            let Some(setting) = settings.get_mut(&version.key) else { continue };
            let Ok(value) = serde_json::from_str(&version.value) else { continue };
            let set_by = version.set_by.and_then(|id| u32::try_from(id).ok()).map(AccountId);
            *setting = Setting { version: version.version, value, set_at: Some(Timestamp(version.set_at)), set_by };
        }
        let limit = |class: Class| {
            let set = settings.get(&format!("limits.{}", class.name())).map(|setting| setting.value.clone());
            set.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_else(|| class.default_limit())
        };
        let limits = Class::ALL.map(limit);
        let sign_up = settings.get("accounts.sign_up").and_then(|s| s.value.as_bool()).unwrap_or(true);
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
}

/// The settings in memory.
pub(super) struct Runtime {
    now: ArcSwap<Snapshot>,
    /// How many versions the snapshot was made of.
    count: AtomicI64,
}

impl Runtime {
    pub(super) fn new() -> Runtime {
        Runtime { now: ArcSwap::from_pointee(Snapshot::new(Vec::new())), count: AtomicI64::new(0) }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.now.load_full()
    }

    /// The limit of a class, without a copy of everything.
    pub(super) fn limit(&self, class: Class) -> Limit {
        self.now.load().limit(class)
    }

    /// What the database has, if that is more than is known here.
    ///
    /// # Errors
    /// Whatever the database reports.
    pub(super) fn fresh(
        &self,
        conn: &mut crate::persistence::db::Connection,
    ) -> diesel::QueryResult<Option<(i64, Vec<Version>)>> {
        let count = store::count(conn)?;
        if count == self.count.load(Ordering::Relaxed) {
            return Ok(None);
        }
        Ok(Some((count, store::current(conn)?)))
    }

    pub(super) fn take(&self, (count, versions): (i64, Vec<Version>)) {
        self.now.store(Arc::new(Snapshot::new(versions)));
        self.count.store(count, Ordering::Relaxed);
    }
}

impl Accounts {
    /// All settings as they count now.
    pub fn runtime(&self) -> Arc<Snapshot> {
        self.runtime_settings().snapshot()
    }

    /// Sets a value; `seen` is the version that it is to follow, or `None` to follow whatever there is.
    /// It counts here when this answers. Gives the setting before and after.
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
    ) -> Result<Result<(Setting, Setting), String>, AuthError> {
        let spec = specs().into_iter().find(|spec| spec.key == key).ok_or(AuthError::NoSuchSetting)?;
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
        let version = Version {
            key: key.to_owned(),
            version: before.version + 1,
            value: text,
            set_at: self.now().0,
            set_by: Some(i64::from(by.0)),
        };
        // Somebody on another node may be faster; the table takes each version once.
        let added = self.write(move |conn| store::add(conn, &version)).await;
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
        if !specs().iter().any(|spec| spec.key == key) {
            return Err(AuthError::NoSuchSetting);
        }
        let key = key.to_owned();
        self.read(move |conn| store::history(conn, &key, limit)).await
    }

    /// Takes over what the database has and this node does not know yet.
    pub(super) async fn follow_runtime(&self) -> Result<(), AuthError> {
        let accounts = self.clone();
        let fresh = self.read(move |conn| accounts.runtime_settings().fresh(conn)).await?;
        if let Some(fresh) = fresh {
            self.runtime_settings().take(fresh);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_check_and_nonsense_does_not() {
        for spec in specs() {
            assert_eq!(spec.check(&spec.default), Ok(()), "{}", spec.key);
            for nonsense in [json!(null), json!(7), json!({"burst": 0, "per_second": 1}), json!([])] {
                assert!(spec.check(&nonsense).is_err(), "{} {nonsense}", spec.key);
            }
        }
        let limit = specs().into_iter().find(|spec| spec.key == "limits.public").unwrap();
        assert!(limit.check(&json!({"per_second": 0, "burst": 1})).is_ok());
        assert!(limit.check(&json!({"per_second": 1, "burst": 1_000_001})).is_err());
        assert!(limit.check(&json!({"per_second": 1, "burst": 1, "more": 1})).is_err());
    }
}
