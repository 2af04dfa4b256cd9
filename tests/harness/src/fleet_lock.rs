//! A service that hands out reboot locks (FleetLock), in a thread of the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// What one request may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The service; its thread ends with the process.
#[derive(Debug)]
pub struct FleetLock {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    grants: Arc<Mutex<bool>>,
}

impl FleetLock {
    /// Starts one that refuses everybody.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the reboot lock")?;
        let service = Self { port: listener.local_addr()?.port(), asked: Arc::default(), grants: Arc::default() };
        let (asked, grants) = (Arc::clone(&service.asked), Arc::clone(&service.grants));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up has asked nothing.
                let _ = answer(stream, &asked, &grants);
            }
        });
        Ok(service)
    }

    /// Its port on the host's loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on whoever asks may reboot.
    pub fn grant(&self) {
        *self.grants.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// What was asked so far: the last part of each request's path.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<Vec<String>>, grants: &Mutex<bool>) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let path = first.split(' ').nth(1).unwrap_or_default();
    let verb = path.rsplit('/').next().unwrap_or_default().to_owned();
    let granted = verb == "steady-state" || *grants.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, body) = match granted {
        true => ("200 OK", ""),
        false => ("409 Conflict", r#"{"kind": "failed_lock_semaphore_full", "value": "another node reboots"}"#),
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(verb);
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    Ok(())
}
