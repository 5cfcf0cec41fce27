//! How the kernel gives this process memory.

use nix::errno::Errno;

/// Asks for small pages only. An agent's memory is thousands of buffers of a few KiB that are hardly
/// written to; in 2 MiB pages each of them is resident whole (measured: 42 KB a sidecar instead of 28).
/// The allocator does not ask for huge pages, but where they are given unasked, as Debian's and Red
/// Hat's kernels do (`transparent_hugepage/enabled` is `always`), only this helps. Child processes
/// inherit it.
///
/// # Errors
/// When the kernel does not know the wish (before Linux 3.15); the program then takes more memory.
pub fn use_small_pages() -> Result<(), Errno> {
    nix::sys::prctl::set_thp_disable(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_the_wish() {
        use_small_pages().unwrap();
        assert_eq!(nix::sys::prctl::get_thp_disable(), Ok(true));
    }
}
