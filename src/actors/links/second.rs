//! What nodes that share a Redis need not read twice. Without one, nothing.

use super::cache::name;
use crate::domain::link::Link;
use crate::persistence::redis::{Redis, SecondLevel};
use std::time::Duration;

/// How long Redis keeps a link.
const KEEP: Duration = Duration::from_secs(30);
/// The kind of things, in keys and channels.
const KIND: &str = "link";

/// The second level.
#[derive(Clone, Debug, Default)]
pub struct Second(Option<SecondLevel>);

impl Second {
    /// In this Redis, if there is one.
    pub fn new(redis: Option<Redis>) -> Second {
        Second(redis.map(|redis| SecondLevel::new(redis, KIND, KEEP)))
    }

    /// A link by its name, if it is known. JSON, since rules leave out what is not there.
    pub async fn get(&self, name: &str) -> Option<Link> {
        let content = self.0.as_ref()?.get(name).await.ok()??;
        serde_json::from_slice(&content).ok()
    }

    /// Keeps a link. One with a limit is not kept: how many clicks are left changes with each.
    pub async fn put(&self, link: &Link) {
        if let (Some(second), None) = (&self.0, link.clicks)
            && let Ok(content) = serde_json::to_vec(link)
        {
            // Not kept is as good: the database is asked again.
            let _ = second.put(&name(&link.domain, &link.slug), &content).await;
        }
    }

    /// Makes all nodes forget these names.
    pub async fn forget_all(&self, names: &[String]) {
        if let Some(second) = &self.0 {
            // Where Redis cannot be told, this node does not believe it for a while. The others find the change in the
            // database a moment later, and come here themselves.
            futures_util::future::join_all(names.iter().map(|name| second.forget(name))).await;
        }
    }

    /// What any node makes all forget.
    pub fn level(&self) -> Option<&SecondLevel> {
        self.0.as_ref()
    }
}
