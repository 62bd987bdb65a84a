//! The actors: who owns which state, and in what order things happen.
//!
//! Two things here carry all the others:
//!
//! - [`supervisor`] is the tree. Every long-lived actor is a child of a supervisor, which restarts it after a panic
//!   or a hang, and gives up towards its own parent when that happens too often.
//! - [`directory`] keeps the actors of which there are too many to have all at once (users, rooms, links): activated
//!   on first use, passivated when idle.
//!
//! Both run their actors in the same way ([`supervision`]): the mailbox belongs to the *place* in the tree or the
//! directory, and the actor behind it comes and goes. A [`Handle`](supervision::Handle) is therefore a stable name
//! that never has to be looked up again.

pub mod account;
pub mod chat;
pub mod cluster;
pub mod directory;
pub mod event_log;
pub mod latency;
pub mod links;
pub mod log_time;
pub mod role;
pub mod supervision;
pub mod supervisor;
pub mod trading;
