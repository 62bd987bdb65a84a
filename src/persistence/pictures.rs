//! Pictures for profiles: whose they are. The pictures themselves are objects (see [`super::objects`]).

use super::db::Connection;
use super::schema::{profile_pictures as p, users};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use uuid::Uuid;

/// Where pictures are put and served, on our own origin; the name of one follows.
pub const ADDRESS: &str = "/api/files/";

/// An uploaded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its name.
    pub id: Uuid,
    /// Whose.
    pub account: AccountId,
    /// Its media type.
    pub media_type: String,
    /// When.
    pub uploaded_at: Timestamp,
}

/// Notes a picture.
///
/// # Errors
/// A unique violation when there is one of this name; whatever the database reports.
pub fn add(conn: &mut Connection, picture: &Picture) -> QueryResult<()> {
    if get(conn, picture.id)?.is_some() {
        let message = Box::new("the picture exists".to_owned());
        return Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, message));
    }
    diesel::insert_into(p::table)
        .values((
            p::id.eq(picture.id.to_string()),
            p::account.eq(i64::from(picture.account.0)),
            p::media_type.eq(&picture.media_type),
            p::uploaded_at.eq(picture.uploaded_at.0),
        ))
        .execute(conn)
        .map(drop)
}

/// The picture of this name.
///
/// # Errors
/// Whatever the database reports.
pub fn get(conn: &mut Connection, id: Uuid) -> QueryResult<Option<Picture>> {
    let row = p::table.find(id.to_string()).first::<(String, i64, String, i64)>(conn).optional()?;
    Ok(row.and_then(|(_, account, media_type, at)| {
        let account = AccountId(u32::try_from(account).ok()?);
        Some(Picture { id, account, media_type, uploaded_at: Timestamp(at) })
    }))
}

/// The pictures of a user that are of no use any more, a thousand at most: all but the newest `kept` and the one that the
/// profile shows.
///
/// # Errors
/// Whatever the database reports.
pub fn older(conn: &mut Connection, user: AccountId, kept: i64) -> QueryResult<Vec<Uuid>> {
    let account = i64::from(user.0);
    let shown: Option<String> = users::table.find(account).select(users::photo).first(conn).optional()?;
    let shown = shown.and_then(|photo| photo.strip_prefix(ADDRESS).map(str::to_owned)).unwrap_or_default();
    let older: Vec<String> = p::table
        .filter(p::account.eq(account).and(p::id.ne(shown)))
        .order((p::uploaded_at.desc(), p::id.desc()))
        .offset(kept)
        .limit(1_000)
        .select(p::id)
        .load(conn)?;
    Ok(older.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect())
}

/// Forgets a picture.
///
/// # Errors
/// Whatever the database reports.
pub fn remove(conn: &mut Connection, id: Uuid) -> QueryResult<()> {
    diesel::delete(p::table.find(id.to_string())).execute(conn).map(drop)
}
