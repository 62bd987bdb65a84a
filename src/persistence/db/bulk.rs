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
/// neither `ON CONFLICT DO UPDATE` nor text.
pub struct FromValues<'a> {
    /// Up to the values.
    head: String,
    columns: usize,
    /// All values, row by row.
    values: Vec<Box<dyn QueryFragment<Sqlite> + 'a>>,
    conflict: &'a str,
}

impl<'a> FromValues<'a> {
    /// A statement without rows yet.
    pub fn new(table: &str, columns: &[&str], conflict: &'a str) -> FromValues<'a> {
        let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
        FromValues { head, columns: columns.len(), values: Vec::new(), conflict }
    }

    /// Adds the next value.
    pub fn push(&mut self, value: impl QueryFragment<Sqlite> + 'a) {
        self.values.push(Box::new(value));
    }
}

impl QueryFragment<Sqlite> for FromValues<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(&self.head);
        for (row, values) in self.values.chunks(self.columns).enumerate() {
            out.push_sql(if row == 0 { "(" } else { ", (" });
            for (column, value) in values.iter().enumerate() {
                if column > 0 {
                    out.push_sql(", ");
                }
                value.walk_ast(out.reborrow())?;
            }
            out.push_sql(")");
        }
        out.push_sql(" ");
        out.push_sql(self.conflict);
        Ok(())
    }
}

impl QueryId for FromValues<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<SqliteConnection> for FromValues<'_> {}

/// Inserts a slice of rows: connection, table, rows, the columns with their SQL types and values, and
/// an `ON CONFLICT` clause, which may be empty. A `QueryResult<()>`.
///
/// ```ignore
/// bulk_insert!(connection, "t", rows, |row| { number: BigInt = row.number, name: Text = &row.name }, "")
/// ```
macro_rules! bulk_insert {
    ($connection:expr, $table:literal, $rows:expr,
     |$row:ident| { $($column:ident: $type:ty = $value:expr),+ $(,)? }, $conflict:expr) => {{
        use diesel::RunQueryDsl as _;
        use $crate::persistence::db::{Connection as Either, bulk};
        const COLUMNS: &[&str] = &[$(stringify!($column)),+];
        let rows = $rows;
        let insert = |connection: &mut Either| -> diesel::QueryResult<()> {
            match connection {
                Either::Postgres(inner) => {
                    for chunk in rows.chunks(bulk::POSTGRES_ROWS) {
                        diesel::sql_query(bulk::from_arrays($table, COLUMNS, $conflict))
                            $(.bind::<diesel::sql_types::Array<$type>, _>(
                                chunk.iter().map(|$row| $value).collect::<Vec<_>>(),
                            ))+
                            .execute(inner)?;
                    }
                }
                Either::Sqlite(inner) => {
                    let full = rows.chunks_exact(bulk::SQLITE_ROWS);
                    for chunk in full.clone().chain(full.remainder().chunks(1)) {
                        let mut statement = bulk::FromValues::new($table, COLUMNS, $conflict);
                        for $row in chunk {
                            $(statement.push(diesel::IntoSql::into_sql::<$type>($value));)+
                        }
                        statement.execute(inner)?;
                    }
                }
            }
            Ok(())
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
        let mut statement = FromValues::new("t", &["a", "b"], "ON CONFLICT DO NOTHING");
        for number in 1..=4 {
            statement.push(number.into_sql::<diesel::sql_types::Integer>());
        }
        let text = diesel::debug_query::<Sqlite, _>(&statement).to_string();
        let expected = "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING -- binds: [1, 2, 3, 4]";
        assert_eq!(text, expected);
    }
}
