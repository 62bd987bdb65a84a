//! Many rows with few statements. PostgreSQL takes a whole column as one array, SQLite a list of
//! rows; the columns and their values are written down once for both.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sqlite::Sqlite;
use std::marker::PhantomData;

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
///
/// diesel finds it again by `Place` and the number of rows, without writing its text down each time:
/// whoever uses one `Place` always gives the same table, columns and conflict.
pub struct FromValues<'a, R, Place, const ROWS: usize> {
    table: &'a str,
    columns: &'a [&'a str],
    rows: [R; ROWS],
    conflict: &'a str,
    place: PhantomData<Place>,
}

impl<'a, R, Place, const ROWS: usize> FromValues<'a, R, Place, ROWS> {
    /// A statement of these rows, whose values stand in the order of the columns.
    pub fn new(table: &'a str, columns: &'a [&'a str], rows: [R; ROWS], conflict: &'a str) -> Self {
        FromValues { table, columns, rows, conflict, place: PhantomData }
    }
}

impl<R: QueryFragment<Sqlite>, Place, const ROWS: usize> QueryFragment<Sqlite> for FromValues<'_, R, Place, ROWS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        out.push_sql(self.table);
        for (index, column) in self.columns.iter().enumerate() {
            out.push_sql(if index == 0 { " (" } else { ", " });
            out.push_sql(column);
        }
        out.push_sql(") VALUES ");
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

impl<R, Place: 'static, const ROWS: usize> QueryId for FromValues<'_, R, Place, ROWS> {
    type QueryId = (Place, [(); ROWS]);
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<R, Place, const ROWS: usize> RunQueryDsl<SqliteConnection> for FromValues<'_, R, Place, ROWS> {}

/// Inserts a slice of rows: connection, table, rows, the columns with their SQL types and values, and
/// an `ON CONFLICT` clause, which may be empty and is the same each time. A `QueryResult<()>`.
///
/// ```ignore
/// bulk_insert!(connection, "t", rows, |row| { number: BigInt = row.number, name: Text = &row.name }, "")
/// ```
/// A last argument says how many rows a statement has on SQLite, and the result is how many were added or changed. Before
/// a statement of several rows changes a page it keeps a copy, in case that it fails half-way: where each row changes pages
/// of its own, single rows are cheaper.
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
                    // Names the statement for diesel.
                    struct Here;
                    let (full, rest) = rows.as_chunks::<{ $at_once }>();
                    for chunk in full {
                        let rows = chunk.each_ref().map(|$row| ($(diesel::IntoSql::into_sql::<$type>($value),)+));
                        let insert = bulk::FromValues::<_, Here, _>::new($table, COLUMNS, rows, $conflict);
                        changed += insert.execute(inner)?;
                    }
                    for $row in rest {
                        let row = [($(diesel::IntoSql::into_sql::<$type>($value),)+)];
                        let insert = bulk::FromValues::<_, Here, _>::new($table, COLUMNS, row, $conflict);
                        changed += insert.execute(inner)?;
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
        let rows = [(value(1), value(2)), (value(3), value(4))];
        let statement = FromValues::<_, (), _>::new("t", &["a", "b"], rows, "ON CONFLICT DO NOTHING");
        let text = diesel::debug_query::<Sqlite, _>(&statement).to_string();
        let expected = "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING -- binds: [1, 2, 3, 4]";
        assert_eq!(text, expected);
    }
}
