//! One conversation by standard input and output: for who starts this program in the container.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use super::{AtEnd, Conversation, Transport};

/// Standard input and output, once.
pub struct Stdio {
    files: Option<(File, File)>,
}

impl Stdio {
    /// Of this process.
    ///
    /// # Errors
    /// When they are not there.
    pub fn new() -> io::Result<Self> {
        Self::of(io::stdin().as_fd(), io::stdout().as_fd())
    }

    fn of(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<Self> {
        // As files: nothing of theirs is kept back until a line is whole.
        let file = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        Ok(Self { files: Some((file(input)?, file(output)?)) })
    }
}

impl Transport for Stdio {
    fn name(&self) -> String {
        "standard input and output".to_owned()
    }

    fn next(&mut self) -> io::Result<Option<Conversation>> {
        Ok(self.files.take().map(|(input, output)| Conversation {
            asks: Box::new(input),
            answers: Box::new(output),
            // A pipe ends when all is asked.
            at_end: AtEnd::Answer,
            hang_up: Box::new(|| ()),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::transport::tests::Api;

    #[test]
    fn what_comes_in_is_asked_once_and_the_answer_waited_for() {
        let api = Api::start();
        let (input, mut asks) = io::pipe().unwrap();
        let (mut answers, output) = io::pipe().unwrap();
        asks.write_all(b"ask one\n").unwrap();
        drop(asks);
        let mut stdio = Stdio::of(input.as_fd(), output.as_fd()).unwrap();
        drop((input, output));
        super::super::serve(&mut stdio, &api.socket()).unwrap();
        assert!(stdio.next().unwrap().is_none());
        drop(stdio);
        let mut said = String::new();
        answers.read_to_string(&mut said).unwrap();
        assert_eq!(said, "answer one\n");
    }
}
