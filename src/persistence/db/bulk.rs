//! Many rows with few statements. PostgreSQL takes a whole column as one array, SQLite a list of
//! rows; the columns and their values are written down once for both.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sqlite::Sqlite;

/// The most rows of one statement on PostgreSQL, so that its arrays stay a few megabytes.
pub const POSTGRES_ROWS: usize = 5_000;

/// The rows of a full statement on SQLite. It is prepared once, as is the one for a single row.
pub const SQLITE_ROWS: usize = 32;

/// `INSERT INTO … SELECT * FROM unnest($1, …)`, with what happens to rows that are there already.
pub fn from_arrays(table: &str, columns: &[&str], conflict: &str) -> String {
    let numbers: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    format!("INSERT INTO {table} ({}) SELECT * FROM unnest({}) {conflict}", columns.join(", "), numbers.join(", "))
}

/// `INSERT INTO … VALUES (?, …), …` as a statement that diesel keeps prepared, which it does for
/// neither `ON CONFLICT DO UPDATE` nor text. `R` is a tuple of a row's values.
pub struct FromValues<'a, R> {
    /// Up to the values.
    head: String,
    rows: Vec<R>,
    conflict: &'a str,
}

impl<'a, R> FromValues<'a, R> {
    /// A statement of these rows, whose values stand in the order of the columns.
    pub fn new(table: &str, columns: &[&str], rows: Vec<R>, conflict: &'a str) -> FromValues<'a, R> {
        FromValues { head: format!("INSERT INTO {table} ({}) VALUES ", columns.join(", ")), rows, conflict }
    }
}

impl<R: QueryFragment<Sqlite>> QueryFragment<Sqlite> for FromValues<'_, R> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(&self.head);
        for (index, row) in self.rows.iter().enumerate() {
            out.push_sql(if index == 0 { "(" } else { ", (" });
            row.walk_ast(out.reborrow())?;
            out.push_sql(")");
        }
        out.push_sql(" ");
        out.push_sql(self.conflict);
        Ok(())
    }
}

impl<R> QueryId for FromValues<'_, R> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<R> RunQueryDsl<SqliteConnection> for FromValues<'_, R> {}

/// Inserts a slice of rows: connection, table, rows, the columns with their SQL types and values, and
/// an `ON CONFLICT` clause, which may be empty. A `QueryResult<()>`.
///
/// ```ignore
/// bulk_insert!(connection, "t", rows, |row| { number: BigInt = row.number, name: Text = &row.name }, "")
/// ```
/// A last argument says how many rows a statement has on SQLite, and the result is how many were added or changed. Before a statement of several rows changes a page it
/// keeps a copy, in case that it fails half-way: where each row changes pages of its own, single rows are cheaper.
macro_rules! bulk_insert {
    ($connection:expr, $table:literal, $rows:expr,
     |$row:ident| { $($column:ident: $type:ty = $value:expr),+ $(,)? }, $conflict:expr) => {
        $crate::persistence::db::bulk_insert!(
            $connection, $table, $rows, |$row| { $($column: $type = $value),+ }, $conflict,
            $crate::persistence::db::bulk::SQLITE_ROWS
        )
        .map(drop)
    };
    ($connection:expr, $table:literal, $rows:expr,
     |$row:ident| { $($column:ident: $type:ty = $value:expr),+ $(,)? }, $conflict:expr, $at_once:expr) => {{
        use diesel::RunQueryDsl as _;
        use $crate::persistence::db::{Connection as Either, bulk};
        const COLUMNS: &[&str] = &[$(stringify!($column)),+];
        let rows = $rows;
        let insert = |connection: &mut Either| -> diesel::QueryResult<usize> {
            let mut changed = 0;
            match connection {
                Either::Postgres(inner) => {
                    for chunk in rows.chunks(bulk::POSTGRES_ROWS) {
                        changed += diesel::sql_query(bulk::from_arrays($table, COLUMNS, $conflict))
                            $(.bind::<diesel::sql_types::Array<$type>, _>(
                                chunk.iter().map(|$row| $value).collect::<Vec<_>>(),
                            ))+
                            .execute(inner)?;
                    }
                }
                Either::Sqlite(inner) => {
                    let full = rows.chunks_exact($at_once);
                    for chunk in full.clone().chain(full.remainder().chunks(1)) {
                        let rows = chunk.iter().map(|$row| ($(diesel::IntoSql::into_sql::<$type>($value),)+));
                        changed += bulk::FromValues::new($table, COLUMNS, rows.collect(), $conflict).execute(inner)?;
                    }
                }
            }
            Ok(changed)
        };
        insert($connection)
    }};
}

pub(crate) use bulk_insert;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_as_long_as_their_rows() {
        assert_eq!(
            from_arrays("t", &["a", "b"], "ON CONFLICT DO NOTHING"),
            "INSERT INTO t (a, b) SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING"
        );
        let value = |number: i32| number.into_sql::<diesel::sql_types::Integer>();
        let rows = vec![(value(1), value(2)), (value(3), value(4))];
        let statement = FromValues::new("t", &["a", "b"], rows, "ON CONFLICT DO NOTHING");
        let text = diesel::debug_query::<Sqlite, _>(&statement).to_string();
        let expected = "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING -- binds: [1, 2, 3, 4]";
        assert_eq!(text, expected);
    }
}
