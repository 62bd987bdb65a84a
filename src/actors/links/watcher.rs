//! What other nodes have changed, so that this one forgets it: from Redis at once where there is one,
//! and from the table of changes in any case.

use super::Links;
use super::cache::{Cache, name};
use super::second::Second;
use crate::persistence::links::changes;
use actix::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Changes of one look.
const AT_ONCE: i64 = 1_000;
/// Places before the newest one that are looked at again: transactions become visible in another order
/// than they took their numbers in.
const OVERLAP: i64 = 500;

/// The actor. See the module's documentation.
pub struct Watcher {
    links: Links,
    cache: Arc<Cache>,
    second: Second,
    /// Places that were seen, from `newest - OVERLAP` on.
    seen: BTreeSet<i64>,
    newest: Option<i64>,
    looking: bool,
    /// Whether blocked hosts and domains have changed and were not read since.
    outdated: bool,
}

impl Watcher {
    /// A watcher that begins at the newest change.
    pub fn new(links: Links, cache: Arc<Cache>, second: Second) -> Watcher {
        Watcher { links, cache, second, seen: BTreeSet::new(), newest: None, looking: false, outdated: false }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let (links, newest) = (self.links.clone(), self.newest);
        let work = async move {
            links
                .read(move |conn| match newest {
                    Some(newest) => changes::after(conn, newest - OVERLAP, AT_ONCE).map(|found| (newest, found)),
                    None => Ok((changes::newest(conn)?, Vec::new())),
                })
                .await
        };
        ctx.spawn(work.into_actor(self).map(|found, watcher, ctx| {
            watcher.looking = false;
            let Ok((newest, found)) = found else { return };
            let first = watcher.newest.is_none();
            watcher.newest = Some(newest);
            if first {
                // Whatever was read before this moment may be older than the newest change.
                watcher.cache.clear();
                watcher.outdated = true;
            }
            let mut changed = Vec::new();
            for change in found {
                watcher.newest = watcher.newest.max(Some(change.seq));
                if !watcher.seen.insert(change.seq) {
                    continue;
                }
                if change.link.0 == 0 {
                    watcher.outdated = true;
                } else {
                    let name = name(&change.domain, &change.slug).into_owned();
                    watcher.cache.forget(&name);
                    changed.push(name);
                }
            }
            if !changed.is_empty() {
                // A node that read the link before the change may have left it there after it was forgotten, and a look
                // on this one may have found it meanwhile.
                let (second, cache) = (watcher.second.clone(), watcher.cache.clone());
                let forget = async move {
                    second.forget_all(&changed).await;
                    changed.iter().for_each(|name| cache.forget(name));
                };
                ctx.spawn(forget.into_actor(watcher));
            }
            let keep_from = watcher.newest.unwrap_or(0) - OVERLAP;
            watcher.seen = watcher.seen.split_off(&keep_from);
            watcher.reload(ctx);
        }));
    }

    /// Reads blocked hosts and domains anew, if they have changed. If that fails, the next look tries again.
    fn reload(&mut self, ctx: &mut Context<Self>) {
        // What changes while they are read counts as not read.
        if !std::mem::take(&mut self.outdated) {
            return;
        }
        let links = self.links.clone();
        let reload = async move { links.reload_policy().await };
        ctx.spawn(reload.into_actor(self).map(|done, watcher, _| {
            if let Err(error) = done {
                tracing::warn!(%error, "blocked hosts and domains could not be read anew");
                watcher.outdated = true;
            }
        }));
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(LOOK_EVERY, Watcher::look);
        if let Some(level) = self.second.level() {
            let (mut heard, cache) = (level.forgotten(), self.cache.clone());
            let listen = async move {
                loop {
                    // What is missed here, the table of changes tells a moment later.
                    if let Some(name) = heard.next().await {
                        cache.forget(&name);
                    }
                }
            };
            ctx.spawn(listen.into_actor(self));
        }
    }
}
