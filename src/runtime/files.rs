//! How many files this process may have open.

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Raises the soft limit on open files to the hard one and gives what may be open then; `None` is no
/// limit at all. The soft limit is 1,024 by tradition, for the sake of programs that use select(2); an
/// agent has two descriptors per sidecar.
///
/// # Errors
/// When the kernel refuses; the limit is then what it was.
pub fn raise_limit() -> Result<Option<u64>, Errno> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(limit.maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let allowed = raise_limit().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, limit.maximum), (allowed, allowed));
    }
}
