//! The one type for all kinds of connection. Alone in its file, since diesel's derive brings names in.
#![allow(missing_docs, reason = "diesel's derive makes public items without documentation")]

/// A connection. Queries that both databases know are written once and run on this type; for the few
/// others there is [`on_either!`](super::on_either).
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    Sqlite(diesel::SqliteConnection),
    Postgres(diesel::PgConnection),
}
