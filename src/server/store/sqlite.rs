//! Opens the database file: makes it when there is none, refuses what is not ours or is damaged, and
//! brings its schema up to date.
//!
//! A new database is made under another name and renamed when it is whole, so that a file in its place
//! is always one that was complete once: an empty or broken one is damage and is never written over.

use super::{
    error::StoreError,
    lock::{DatabaseLock, beside},
};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// "finl": tells our databases from everybody else's (SQLite file format §1.3.14).
const APPLICATION_ID: i64 = 0x6669_6e6c;

/// What brings a database from each schema version to the next; the first one from nothing.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001_initial.sql")];

/// 5 s: how long a write waits for another process, such as a backup, to let go of the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An open database that no other server has open.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    /// Last, so that the database is closed when the next server gets it.
    _lock: Option<DatabaseLock>,
}

impl Database {
    /// Opens the database at `path`, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // Two names of one file must meet in one lock.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock = DatabaseLock::acquire(&path)?;
        match fs::metadata(&path) {
            Ok(file) if file.len() == 0 => return Err(StoreError::Empty { path }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path)?,
            Err(error) => return Err(file_error("read", &path, error)),
        }
        let damaged = |error| damage(&path, error);
        let mut connection = connect(&path).map_err(damaged)?;
        let version = identify(&connection, &path)?;
        migrate(&mut connection, version).map_err(damaged)?;
        configure(&connection).map_err(damaged)?;
        check(&connection, &path)?;
        Ok(Self { connection, _lock: Some(lock) })
    }

    /// A database that lives as long as the process.
    pub(super) fn in_memory() -> Result<Self, StoreError> {
        let mut connection = Connection::open_in_memory()?;
        migrate(&mut connection, 0)?;
        configure(&connection)?;
        Ok(Self { connection, _lock: None })
    }

    /// Moves what is in the write-ahead log into the database and closes both.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        self.connection.close().map_err(|(_, error)| error.into())
    }
}

/// Makes a new database at `path`, which appears there when it is complete and on the disk.
fn create(path: &Path) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    if log.exists() {
        return Err(StoreError::Orphaned { path: path.to_owned(), log });
    }
    let unfinished = beside(path, ".new");
    for leftover in [unfinished.clone(), beside(&unfinished, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &leftover, error));
            }
            _ => {}
        }
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(|error| file_error("create", &unfinished, error))?;
    let mut connection = connect(&unfinished)?;
    migrate(&mut connection, 0)?;
    connection.close().map_err(|(_, error)| error)?;
    file.sync_all()
        .and_then(|()| fs::rename(&unfinished, path))
        .and_then(|()| File::open(directory_of(path))?.sync_all())
        .map_err(|error| file_error("create", path, error))
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The schema version of a database that is ours.
fn identify(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(|error| damage(path, error))?;
    let version = pragma("user_version").map_err(|error| damage(path, error))?;
    let (known, path) = (newest_version(), path.to_owned());
    if application != APPLICATION_ID || version < 1 {
        let is_spire = connection.table_exists(None, "registered_entries").unwrap_or_default();
        let what = if is_spire { "a datastore of SPIRE" } else { "a database of another program" };
        return Err(StoreError::Foreign { path, what });
    }
    if version > known {
        return Err(StoreError::Newer { path, found: version, known });
    }
    Ok(version)
}

fn newest_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Runs the migrations that a database of schema `version` lacks, all or none.
fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(version).unwrap_or_default();
    let missing = MIGRATIONS.get(done..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest_version())?;
    transaction.commit()
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // WAL with FULL: a commit is on the disk before it is acknowledged.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 64 MiB: what is left of the log's file after a large transaction.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Looks through the structure of the whole file: damage is found now, not when a write meets it.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let verdict = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .map_err(|error| damage(path, error))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged { path: path.to_owned(), detail: verdict })
}

/// What SQLite's refusal says about the file at `path`.
fn damage(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), detail: error.to_string() }
        }
        _ => error.into(),
    }
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File { action, path: path.to_owned(), source: Arc::new(source) }
}
