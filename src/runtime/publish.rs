//! State with one writer and many readers: a [`Publisher`] replaces the value, each [`Reader`] sees the
//! latest and can wait for the next. Values in between may be skipped, which is what streams want.

use tokio::sync::watch;

/// The one writer of a published value.
#[derive(Debug)]
pub struct Publisher<T>(watch::Sender<T>);

/// A view of a published value. Clones are independent readers.
#[derive(Clone, Debug)]
pub struct Reader<T>(watch::Receiver<T>);

/// The writer is gone; the value will never change again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer of this value is gone")]
pub struct WriterGone;

impl<T> Publisher<T> {
    /// Starts with `initial`, which readers see at once.
    pub fn new(initial: T) -> Self {
        Self(watch::Sender::new(initial))
    }

    /// Replaces the value and wakes every waiting reader.
    pub fn publish(&self, value: T) {
        self.0.send_replace(value);
    }

    /// Changes the value in place; readers wake only when `change` says that it changed something.
    pub fn update(&self, change: impl FnOnce(&mut T) -> bool) {
        self.0.send_if_modified(change);
    }

    /// A new reader.
    pub fn reader(&self) -> Reader<T> {
        Reader(self.0.subscribe())
    }

    /// Whether no reader is left.
    pub fn is_unread(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Publisher<T>
where
    T: Clone,
{
    /// The value as it is now.
    pub fn current(&self) -> T {
        self.0.borrow().clone()
    }
}

impl<T: Clone + Send + Sync> Reader<T> {
    /// The value as it is now.
    pub fn current(&self) -> T {
        self.0.borrow().clone()
    }

    /// The value as it is now; a change until now no longer wakes [`Reader::changed`].
    pub fn take_current(&mut self) -> T {
        self.0.borrow_and_update().clone()
    }

    /// Waits for a value not taken yet. Dropping it is safe.
    ///
    /// # Errors
    /// [`WriterGone`] when no other value can come.
    pub async fn changed(&mut self) -> Result<T, WriterGone> {
        self.0.changed().await.map_err(|_| WriterGone)?;
        Ok(self.take_current())
    }

    /// Waits until the value satisfies `accept`, at once if it does. Dropping it is safe.
    ///
    /// # Errors
    /// [`WriterGone`] when it never can.
    pub async fn wait_for(
        &mut self,
        accept: impl FnMut(&T) -> bool + Send,
    ) -> Result<T, WriterGone> {
        self.0.wait_for(accept).await.map(|value| value.clone()).map_err(|_| WriterGone)
    }
}
