//! The kernel's word that there is a new device.

use std::{
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
        recv, socket_with,
    },
};

/// The multicast group of the kernel's own device events.
const KERNEL_EVENTS: u32 = 1;
/// Bytes of a device event (linux/kobject.h, UEVENT_BUFFER_SIZE) and of the line before it.
const EVENT_BYTES: usize = 4096;

/// What the kernel told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// By what new devices ask for a module.
    pub asked: Vec<String>,
    /// There is a new disk or partition.
    pub disk: bool,
    /// It told more than there was room for, or cannot tell us: what there is can only be looked up.
    pub lost: bool,
}

/// A socket on which the kernel tells of new devices.
pub struct Events(Option<OwnedFd>);

impl Events {
    /// Listens from now on.
    pub fn listen() -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT)).ok();
        Self(socket.filter(|socket| bind(socket, &SocketAddrNetlink::new(0, KERNEL_EVENTS)).is_ok()))
    }

    /// Everything told since the last time.
    pub fn read(&self) -> News {
        let mut news = News { lost: self.0.is_none(), ..News::default() };
        let mut event = [0; EVENT_BYTES];
        while let Some(socket) = &self.0 {
            match recv(socket, &mut event, RecvFlags::empty()) {
                Ok((_, length)) => news.add(&event[..length.min(EVENT_BYTES)]),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => news.lost = true,
                Err(_) => break,
            }
        }
        news
    }

    /// Waits until something is told, or until `deadline`.
    pub fn wait(&self, deadline: Instant) {
        let pause = deadline.saturating_duration_since(Instant::now());
        let waited = self.0.as_ref().zip(Timespec::try_from(pause).ok()).is_some_and(|(socket, pause)| {
            !matches!(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&pause)), Err(error) if error != Errno::INTR)
        });
        if !waited {
            thread::sleep(pause.max(Duration::from_millis(1)));
        }
    }
}

impl News {
    /// Adds what an event says: `<action>@<path>`, then `KEY=value`, each ended by a zero byte.
    fn add(&mut self, event: &[u8]) {
        let mut words = event.split(|byte| *byte == 0);
        if !words.next().is_some_and(|line| line.starts_with(b"add@")) {
            return;
        }
        for word in words {
            if let Some(modalias) = word.strip_prefix(b"MODALIAS=") {
                self.asked.push(String::from_utf8_lossy(modalias).into_owned());
            }
            self.disk |= word == b"SUBSYSTEM=block";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_of_new_devices_only() {
        let mut news = News::default();
        news.add(
            b"add@/devices/pci0000:00/0000:00:1f.2\0ACTION=add\0SUBSYSTEM=pci\0MODALIAS=pci:v00008086\0SEQNUM=1\0",
        );
        assert_eq!(news, News { asked: vec!["pci:v00008086".into()], disk: false, lost: false });
        for other in
            ["remove@/devices/x\0SUBSYSTEM=block\0MODALIAS=x\0", "", "\0", "add@/module/ext4\0SUBSYSTEM=module\0"]
        {
            news.add(other.as_bytes());
        }
        assert_eq!((news.asked.len(), news.disk), (1, false));
        news.add(b"add@/devices/virtual/block/vda\0ACTION=add\0SUBSYSTEM=block\0");
        assert!(news.disk);
    }
}
