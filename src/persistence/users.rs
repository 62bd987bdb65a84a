//! The table of users. It is the truth about them: write through
//! [`Database::write_durably`](super::db::Database::write_durably).

use super::db::Connection;
use super::schema::{confirmed_addresses, identities, mailed_codes, sessions, users};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::BigInt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a user may do; each role may all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trades and chats.
    User,
    /// Looks into other accounts to help.
    Support,
    /// Keeps order in chat and links.
    Moderator,
    /// Runs the venue.
    Admin,
}

impl Role {
    const ALL: [Role; 4] = [Role::User, Role::Support, Role::Moderator, Role::Admin];

    /// The role's name in the database, on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Support => "support",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A user, without what proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's account in the ledger too; never given twice.
    pub id: AccountId,
    /// Trimmed and lower-cased.
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// Plays with money that is given away.
    pub demo: bool,
    /// When the account was made.
    pub created_at: Timestamp,
    /// The newest successful sign-in, a sign-up not counted.
    pub last_sign_in_at: Option<Timestamp>,
    /// What the user calls itself; may be empty.
    pub name: String,
    /// The address of a picture; may be empty.
    pub photo: String,
    /// Whether an administrator has frozen the account.
    pub frozen: bool,
}

/// A user with the stored form of the password, a PHC string. `Debug` hides the latter.
#[derive(Clone)]
pub struct Credentials {
    /// Whose they are.
    pub user: User,
    /// The PHC string.
    pub password_hash: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A user to be made. `Debug` hides the password's hash.
pub struct NewUser<'a> {
    /// Trimmed and lower-cased.
    pub email: &'a str,
    /// A PHC string.
    pub password_hash: &'a str,
    /// What the user may do.
    pub role: Role,
    /// Plays with money that is given away.
    pub demo: bool,
}

impl fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("email", &self.email).field("role", &self.role).finish_non_exhaustive()
    }
}

type Row = (i64, String, String, String, bool, i64, Option<i64>, String, String, bool);

fn from_row(
    (id, email, password_hash, role, demo, created_at, last, name, photo, frozen): Row,
) -> QueryResult<Credentials> {
    let id = u32::try_from(id).map_err(|error| Error::DeserializationError(Box::new(error)))?;
    let role = Role::from_name(&role)
        .ok_or_else(|| Error::DeserializationError(format!("user {id} has an unknown role").into()))?;
    let last_sign_in_at = last.map(Timestamp);
    let created_at = Timestamp(created_at);
    let user = User { id: AccountId(id), email, role, demo, created_at, last_sign_in_at, name, photo, frozen };
    Ok(Credentials { user, password_hash })
}

/// Makes a user, with the next free id from 2 on.
///
/// # Errors
/// A unique violation when the address is taken; whatever the database reports.
pub fn create(conn: &mut Connection, new: &NewUser<'_>, now: Timestamp) -> QueryResult<User> {
    // PostgreSQL would spend a number on an insertion that fails.
    if by_email(conn, new.email)?.is_some() {
        let message = Box::new("the address is taken".to_owned());
        return Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, message));
    }
    diesel::insert_into(users::table)
        .values((
            users::email.eq(new.email),
            users::password_hash.eq(new.password_hash),
            users::role.eq(new.role.name()),
            users::demo.eq(new.demo),
            users::created_at.eq(now.0),
        ))
        .execute(conn)?;
    by_email(conn, new.email)?.map(|credentials| credentials.user).ok_or(Error::NotFound)
}

/// As [`create`], but with no number below `first`, which would be that of somebody whom the database has lost: `None`
/// then, and nobody was made whom others could see. What is to be called next, in another transaction, is
/// [`begin_above`].
///
/// # Errors
/// As [`create`].
pub fn create_from(
    conn: &mut Connection,
    new: &NewUser<'_>,
    first: AccountId,
    now: Timestamp,
) -> QueryResult<Option<User>> {
    let user = create(conn, new, now)?;
    if user.id >= first {
        return Ok(Some(user));
    }
    diesel::delete(users::table.find(i64::from(user.id.0))).execute(conn)?;
    Ok(None)
}

/// Makes new users' ids begin above `newest`. The log may know accounts that a lost or older
/// database does not; nobody may sign up into one of them.
///
/// To be the only statement of its transaction: it waits for all that change users, who must not wait for what this one
/// holds already.
///
/// # Errors
/// Those of the database.
pub fn begin_above(conn: &mut Connection, newest: AccountId) -> QueryResult<()> {
    let newest = i64::from(newest.0);
    match conn {
        Connection::Sqlite(inner) => {
            diesel::sql_query("UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = 'users'")
                .bind::<BigInt, _>(newest)
                .execute(inner)
        }
        Connection::Postgres(inner) => {
            // Nobody gets a number between the look at the last one and the change, which would set it back.
            diesel::sql_query("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE").execute(inner)?;
            diesel::sql_query(
                "SELECT setval('users_id_seq', $1) FROM users_id_seq \
                 WHERE $1 > last_value OR ($1 = last_value AND NOT is_called)",
            )
            .bind::<BigInt, _>(newest)
            .execute(inner)
        }
    }
    .map(drop)
}

/// The user with this address (trimmed and lower-cased) and the stored password.
///
/// # Errors
/// Whatever the database reports.
pub fn by_email(conn: &mut Connection, email: &str) -> QueryResult<Option<Credentials>> {
    users::table.filter(users::email.eq(email)).first::<Row>(conn).optional()?.map(from_row).transpose()
}

/// The user with this id.
///
/// # Errors
/// Whatever the database reports.
pub fn by_id(conn: &mut Connection, id: AccountId) -> QueryResult<Option<User>> {
    Ok(credentials(conn, id)?.map(|credentials| credentials.user))
}

/// The user with this id and the stored password.
///
/// # Errors
/// Whatever the database reports.
pub fn credentials(conn: &mut Connection, id: AccountId) -> QueryResult<Option<Credentials>> {
    users::table.find(i64::from(id.0)).first::<Row>(conn).optional()?.map(from_row).transpose()
}

/// The addresses of these users, by id; ids of nobody are left out.
///
/// # Errors
/// Whatever the database reports.
pub fn emails(conn: &mut Connection, ids: &[i64]) -> QueryResult<BTreeMap<i64, String>> {
    let found: Vec<(i64, String)> =
        users::table.filter(users::id.eq_any(ids.to_vec())).select((users::id, users::email)).load(conn)?;
    Ok(found.into_iter().collect())
}

/// Notes a sign-in; false when there is no such user, or when the password that was `proved` (its PHC string, as it was
/// read then) is not the user's any more. To come before whatever its transaction reads of the user: until that ends
/// nobody changes the user's password or role, so what is read afterwards still counts when the session does.
///
/// # Errors
/// Whatever the database reports.
pub fn signed_in(conn: &mut Connection, id: AccountId, proved: Option<&str>, now: Timestamp) -> QueryResult<bool> {
    let user = users::table.find(i64::from(id.0));
    let at = users::last_sign_in_at.eq(now.0);
    let noted = match proved {
        Some(hash) => diesel::update(user.filter(users::password_hash.eq(hash))).set(at).execute(conn)?,
        None => diesel::update(user).set(at).execute(conn)?,
    };
    Ok(noted > 0)
}

/// Changes what a user calls itself and its picture.
///
/// # Errors
/// Whatever the database reports.
pub fn set_profile(conn: &mut Connection, id: AccountId, name: &str, photo: &str) -> QueryResult<()> {
    diesel::update(users::table.find(i64::from(id.0)))
        .set((users::name.eq(name), users::photo.eq(photo)))
        .execute(conn)
        .map(drop)
}

/// Notes whether an account is frozen; the ledger enforces it.
///
/// # Errors
/// Whatever the database reports.
pub fn set_frozen(conn: &mut Connection, id: AccountId, frozen: bool) -> QueryResult<()> {
    diesel::update(users::table.find(i64::from(id.0))).set(users::frozen.eq(frozen)).execute(conn).map(drop)
}

/// Users whose address contains this text, by rising id above `above`, `limit` at most.
///
/// # Errors
/// Whatever the database reports.
pub fn search(conn: &mut Connection, text: &str, above: AccountId, limit: i64) -> QueryResult<Vec<User>> {
    let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let rows = users::table
        .filter(users::email.like(format!("%{escaped}%")).escape('\\'))
        .filter(users::id.gt(i64::from(above.0)))
        .order(users::id)
        .limit(limit)
        .load::<Row>(conn)?;
    rows.into_iter().map(|row| from_row(row).map(|credentials| credentials.user)).collect()
}

/// Stores another password, a PHC string.
///
/// # Errors
/// Whatever the database reports.
pub fn set_password(conn: &mut Connection, id: AccountId, password_hash: &str) -> QueryResult<()> {
    diesel::update(users::table.find(i64::from(id.0)))
        .set(users::password_hash.eq(password_hash))
        .execute(conn)
        .map(drop)
}

/// Stores another password in place of the one that its owner has proved, both as PHC strings; false when that one is
/// not the user's any more.
///
/// # Errors
/// Whatever the database reports.
pub fn replace_password(conn: &mut Connection, id: AccountId, proved: &str, new: &str) -> QueryResult<bool> {
    let proved = users::table.find(i64::from(id.0)).filter(users::password_hash.eq(proved));
    Ok(diesel::update(proved).set(users::password_hash.eq(new)).execute(conn)? > 0)
}

/// Gives a user another address (trimmed and lower-cased).
///
/// # Errors
/// A unique violation when it is taken; whatever the database reports.
pub fn set_email(conn: &mut Connection, id: AccountId, email: &str) -> QueryResult<()> {
    diesel::update(users::table.find(i64::from(id.0))).set(users::email.eq(email)).execute(conn).map(drop)
}

/// Changes a user's role; false when there is no such user.
///
/// # Errors
/// Whatever the database reports.
pub fn set_role(conn: &mut Connection, id: AccountId, role: Role) -> QueryResult<bool> {
    let changed = diesel::update(users::table.find(i64::from(id.0))).set(users::role.eq(role.name())).execute(conn)?;
    Ok(changed > 0)
}

/// Whether a user has this password still, a PHC string that was read before. Until the transaction ends nobody sets
/// another one.
///
/// # Errors
/// Whatever the database reports.
pub fn has_password(conn: &mut Connection, id: AccountId, password_hash: &str) -> QueryResult<bool> {
    let same = users::table.find(i64::from(id.0)).filter(users::password_hash.eq(password_hash));
    // Changes nothing, and waits for those who set another one, as they then do for this.
    Ok(diesel::update(same).set(users::demo.eq(users::demo)).execute(conn)? > 0)
}

/// Whether somebody has signed in as this user since it was made, with its first session. To be the first statement of
/// its transaction: until that ends nobody else signs in.
///
/// # Errors
/// Whatever the database reports.
pub fn came_in_again(conn: &mut Connection, id: AccountId) -> QueryResult<bool> {
    let id = i64::from(id.0);
    // Changes nothing, and waits for those who sign in, as they then do for this.
    diesel::update(users::table.find(id)).set(users::demo.eq(users::demo)).execute(conn)?;
    let begun: i64 = sessions::table.filter(sessions::user_id.eq(id)).count().get_result(conn)?;
    Ok(begun > 1)
}

/// Removes a user that was made a moment ago, with what was stored together with it.
///
/// # Errors
/// A foreign key violation when the user has left something else; whatever the database reports.
pub fn remove(conn: &mut Connection, id: AccountId) -> QueryResult<()> {
    let id = i64::from(id.0);
    diesel::delete(sessions::table.filter(sessions::user_id.eq(id))).execute(conn)?;
    diesel::delete(identities::table.filter(identities::user_id.eq(id))).execute(conn)?;
    diesel::delete(confirmed_addresses::table.find(id)).execute(conn)?;
    diesel::delete(mailed_codes::table.filter(mailed_codes::user_id.eq(id))).execute(conn)?;
    diesel::delete(users::table.find(id)).execute(conn).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::persistence::db::{Database, DbError};

    fn new(email: &str) -> NewUser<'_> {
        NewUser { email, password_hash: "$argon2id$secret", role: Role::User, demo: true }
    }

    #[test]
    fn ids_begin_at_two_and_are_never_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("agora.db")).unwrap();
        let make = |email: &str| db.write_durably(|conn| create(conn, &new(email), Timestamp(5)));
        assert_eq!(make("a@example.org").unwrap().id, AccountId::FIRST_USER);
        assert_eq!(make("b@example.org").unwrap().id, AccountId(3));
        assert!(matches!(make("b@example.org"), Err(DbError::Taken)));
        db.write(|conn| diesel::delete(users::table.find(3)).execute(conn)).unwrap();
        assert_eq!(make("b@example.org").unwrap().id, AccountId(4));
        let user = db.read(|conn| by_id(conn, AccountId(4))).unwrap().unwrap();
        let expected = User {
            id: AccountId(4),
            email: "b@example.org".into(),
            role: Role::User,
            demo: true,
            created_at: Timestamp(5),
            last_sign_in_at: None,
            name: String::new(),
            photo: String::new(),
            frozen: false,
        };
        assert_eq!(user, expected);
        assert_eq!(db.read(|conn| by_id(conn, AccountId(3))).unwrap(), None);
    }

    #[test]
    fn roles_keep_their_names_and_order() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert_eq!(Role::from_name("owner"), None);
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn hashes_stay_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("agora.db")).unwrap();
        db.write_durably(|conn| create(conn, &new("a@example.org"), Timestamp(5))).unwrap();
        let credentials = db.read(|conn| by_email(conn, "a@example.org")).unwrap().unwrap();
        assert_eq!(credentials.password_hash, "$argon2id$secret");
        assert!(!format!("{credentials:?} {:?}", new("a@example.org")).contains("argon2"));
    }
}
