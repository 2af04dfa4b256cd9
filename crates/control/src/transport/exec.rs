//! Conversations by a program of the image: its standard output asks, and its standard input is answered. Any way into a node can be had
//! so, by an image with this program and another.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{AtEnd, Conversation, Transport};

/// How long after its end it is started again.
const PAUSE: Duration = Duration::from_secs(5);
/// How long it may go on when its conversation has ended.
const GRACE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// A program, started again whenever it ends.
pub struct Exec {
    words: Vec<String>,
    pause: Duration,
    running: Option<Child>,
}

impl Exec {
    /// Not started yet: a path, and words for it.
    pub fn of(words: &[String]) -> Self {
        Self { words: words.to_owned(), pause: PAUSE, running: None }
    }
}

impl Transport for Exec {
    fn name(&self) -> String {
        self.words.first().cloned().unwrap_or_default()
    }

    fn next(&mut self) -> io::Result<Option<Conversation>> {
        if let Some(mut before) = self.running.take() {
            let status = before.wait()?;
            eprintln!("control: {}: ended ({status}), and is started again", self.name());
            thread::sleep(self.pause);
        }
        let Some((program, words)) = self.words.split_first() else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let starting = |error: io::Error| io::Error::new(error.kind(), format!("starting {program}: {error}"));
        let mut child = command.spawn().map_err(starting)?;
        let watched = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|error| starting(error.into()));
        let (watched, Some(answers), Some(asks)) = (watched?, child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a program without input and output"));
        };
        self.running = Some(child);
        Ok(Some(Conversation {
            asks: Box::new(asks),
            answers: Box::new(answers),
            at_end: AtEnd::Leave,
            hang_up: Box::new(move || end(&watched, &GRACE)),
        }))
    }
}

/// Has a program end that does not by itself.
fn end(program: &OwnedFd, grace: &Timespec) {
    // Readable when it has ended (pidfd_open(2)).
    let ended = poll(&mut [PollFd::new(program, PollFlags::IN)], Some(grace));
    if ended != Ok(1) {
        // It may have ended this instant.
        let _ = pidfd_send_signal(program, Signal::KILL);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::transport::{serve, tests::Api};

    fn shell(script: &str, words: &[&str]) -> Exec {
        let all = ["/bin/sh", "-c", script, "sh"].into_iter().chain(words.iter().copied());
        Exec { words: all.map(ToOwned::to_owned).collect(), pause: Duration::ZERO, running: None }
    }

    #[test]
    fn a_program_asks_by_its_output_and_is_started_again() {
        let api = Api::start();
        let (count, said) = (api.folder().join("count"), api.folder().join("said"));
        // The third time its program is gone, which ends it all.
        let script = "echo x >> $1; echo ask one; read line; echo \"$line\" >> $2; exec true";
        let paths = [count.to_str().unwrap(), said.to_str().unwrap()];
        let exec = shell(script, &paths);
        let socket = api.socket();
        let served = thread::spawn(move || {
            struct Twice(Exec, u32);
            impl Transport for Twice {
                fn name(&self) -> String {
                    self.0.name()
                }
                fn next(&mut self) -> io::Result<Option<Conversation>> {
                    self.1 += 1;
                    if self.1 <= 2 { self.0.next() } else { Ok(None) }
                }
            }
            serve(&mut Twice(exec, 0), &socket)
        });
        served.join().unwrap().unwrap();
        assert_eq!(fs::read_to_string(count).unwrap(), "x\nx\n");
        assert_eq!(fs::read_to_string(said).unwrap(), "answer one\nanswer one\n");
    }

    #[test]
    fn a_program_that_goes_on_is_ended_with_its_conversation() {
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let watched = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        end(&watched, &Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn says_which_program_does_not_start() {
        let mut exec = Exec::of(&["/no/such/program".to_owned()]);
        let Err(error) = exec.next() else { panic!("it was started") };
        assert!(error.to_string().starts_with("starting /no/such/program: "), "{error}");
    }
}
