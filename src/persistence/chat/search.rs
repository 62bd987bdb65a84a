//! Full-text search over the rooms that somebody may read: FTS5 on SQLite, tsvector on PostgreSQL.

use super::schema::chat_messages as m;
use super::{bad, messages};
use crate::domain::chat::{Message, RoomId};
use crate::persistence::db::Connection;
use diesel::prelude::*;

/// The most words of a query that are looked for.
const MAX_WORDS: usize = 16;

/// The words of a query; punctuation separates them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(MAX_WORDS)
}

/// Messages that contain words that begin with all the words of `text`, newest first, in these rooms.
/// `before` is the `id` of the last message of the page before. What was deleted has no words.
///
/// # Errors
/// Those of the database.
pub fn search(
    conn: &mut Connection,
    text: &str,
    rooms: &[RoomId],
    before: Option<i64>,
    count: i64,
) -> QueryResult<Vec<(i64, RoomId, Message)>> {
    if words(text).next().is_none() || rooms.is_empty() {
        return Ok(Vec::new());
    }
    let matching = matching(conn, text, rooms, before.unwrap_or(i64::MAX), count)?;
    let rows: Vec<(i64, i64, messages::Row)> = m::table
        .filter(m::id.eq_any(matching))
        .order(m::id.desc())
        .select((m::id, m::room, messages::COLUMNS))
        .load(conn)?;
    let found = |(id, room, row): (i64, i64, messages::Row)| {
        let room = RoomId::from_number(room as u64).ok_or_else(|| bad("room"))?;
        Ok((id, room, messages::message(row)?))
    };
    rows.into_iter().map(found).collect()
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    id: i64,
}

fn matching(conn: &mut Connection, text: &str, rooms: &[RoomId], before: i64, count: i64) -> QueryResult<Vec<i64>> {
    use diesel::sql_types::{BigInt, Text};
    // Numbers, so they need no placeholders.
    let rooms = rooms.iter().map(|room| room.0.to_string()).collect::<Vec<_>>().join(",");
    // Every word quoted or bare letters, so that nothing of it is an operator of the query language.
    let found: Vec<Found> = match conn {
        Connection::Sqlite(inner) => {
            let query = words(text).map(|word| format!("\"{word}\"*")).collect::<Vec<_>>().join(" ");
            let sql = format!(
                "SELECT m.id FROM chat_words w JOIN chat_messages m ON m.id = w.rowid \
                 WHERE chat_words MATCH ? AND m.id < ? AND m.room IN ({rooms}) ORDER BY m.id DESC LIMIT ?"
            );
            let query = diesel::sql_query(sql).bind::<Text, _>(query);
            query.bind::<BigInt, _>(before).bind::<BigInt, _>(count).load(inner)?
        }
        Connection::Postgres(inner) => {
            let query = words(text).map(|word| format!("{word}:*")).collect::<Vec<_>>().join(" & ");
            let sql = format!(
                "SELECT m.id FROM chat_messages m \
                 WHERE to_tsvector('simple', regexp_replace(m.body, '[[:punct:]]+', ' ', 'g')) \
                 @@ to_tsquery('simple', $1) \
                 AND m.id < $2 AND m.room IN ({rooms}) ORDER BY m.id DESC LIMIT $3"
            );
            let query = diesel::sql_query(sql).bind::<Text, _>(query);
            query.bind::<BigInt, _>(before).bind::<BigInt, _>(count).load(inner)?
        }
    };
    Ok(found.into_iter().map(|found| found.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_between_punctuation() {
        assert_eq!(
            words("BTC-USDT \"halted\" OR* né:é").collect::<Vec<_>>(),
            ["BTC", "USDT", "halted", "OR", "né", "é"]
        );
        assert_eq!(words(" \"*^ ").count(), 0);
        assert_eq!(words(&"a ".repeat(100)).count(), MAX_WORDS);
    }
}
