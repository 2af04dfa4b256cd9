//! How far sealing is, told to whoever shows it.

/// A stretch of work that takes long enough to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the root's tree, in entries; the total is not known.
    Survey,
    /// Copying files into groups, in bytes.
    Copy,
    /// Hashing the tree; the total is not known.
    Digest,
    /// Waiting for the initramfs to be compressed; the total is not known.
    Initramfs,
}

/// Is told what happens; called from several threads.
pub trait Progress: Sync {
    /// A step begins; `total` is absent where nobody knows it.
    fn begin(&self, step: Step, total: Option<u64>);
    /// This much more of the step is done.
    fn advance(&self, by: u64);
    /// The step is done.
    fn end(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Step, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
