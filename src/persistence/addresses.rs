//! The table of e-mail addresses whose mail their user has shown to read.

use super::db::Connection;
use super::schema::{confirmed_addresses as c, users};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;

/// Notes that a user reads the mail of this address (trimmed and lower-cased), in place of an older one.
///
/// # Errors
/// Whatever the database reports.
pub fn confirm(conn: &mut Connection, user: AccountId, email: &str, now: Timestamp) -> QueryResult<()> {
    let id = i64::from(user.0);
    diesel::delete(c::table.find(id)).execute(conn)?;
    diesel::insert_into(c::table)
        .values((c::user_id.eq(id), c::email.eq(email), c::confirmed_at.eq(now.0)))
        .execute(conn)
        .map(drop)
}

/// The address of a user, if it is one whose mail the user has shown to read.
///
/// # Errors
/// Whatever the database reports.
pub fn confirmed(conn: &mut Connection, user: AccountId) -> QueryResult<Option<String>> {
    let id = i64::from(user.0);
    let present: Option<String> = users::table.find(id).select(users::email).first(conn).optional()?;
    let shown: Option<String> = c::table.find(id).select(c::email).first(conn).optional()?;
    Ok(present.filter(|email| shown.as_ref() == Some(email)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use crate::persistence::db::Database;
    use crate::persistence::users::{NewUser, Role, create, set_email};

    #[test]
    fn a_confirmed_address_counts_while_it_is_the_users() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        let new = NewUser { email: "a@example.org", password_hash: "x", role: Role::User, demo: false };
        let user = database.write_durably(|conn| create(conn, &new, Timestamp(1))).unwrap().id;
        let now = || database.read(|conn| confirmed(conn, user)).unwrap();
        assert_eq!(now(), None);
        for _ in 0..2 {
            database.write(|conn| confirm(conn, user, "a@example.org", Timestamp(2))).unwrap();
            assert_eq!(now().as_deref(), Some("a@example.org"));
        }
        database.write(|conn| set_email(conn, user, "b@example.org")).unwrap();
        assert_eq!(now(), None);
        assert_eq!(database.read(|conn| confirmed(conn, AccountId(99))).unwrap(), None);
    }
}
