//! The C library's memory.

/// Makes all threads share one heap, where the C library would give each its own and keep what was freed there.
///
/// For a program whose threads work one after the other on much memory; it must come before the first thread.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) changes a number of the allocator, under the allocator's own lock. Where it fails, memory is
    // merely not saved.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
