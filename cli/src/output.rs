//! Progress: bars on a terminal, JSON lines for a program, silence otherwise.

use std::{
    collections::HashMap,
    fs::File,
    io::{IsTerminal as _, Write as _},
    os::fd::OwnedFd,
    sync::Mutex,
};

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rocketos_model::BlobDigest;
use rocketos_oci::{Layer as OciLayer, Progress};
use serde_json::{Value, json};

use crate::args;

/// Version of the progress stream (bootc-progress v0).
const STREAM_VERSION: &str = "0.1.0";
/// Digits of a digest that a bar shows.
const SHORT: usize = 12;
/// Bytes between two events of one layer.
const EVENT_BYTES: u64 = 1 << 20;

/// One layer being fetched.
struct Layer {
    digest: BlobDigest,
    bar: Option<ProgressBar>,
    size: u64,
    done: u64,
    cached: bool,
    announced: u64,
}

#[derive(Default)]
struct State {
    layers: HashMap<BlobDigest, Layer>,
    order: Vec<BlobDigest>,
}

impl State {
    fn add(&mut self, layer: Layer) -> bool {
        self.order.push(layer.digest);
        self.layers.insert(layer.digest, layer);
        true
    }
}

/// Shows what happens.
pub struct Reporter {
    quiet: bool,
    bars: Option<MultiProgress>,
    stream: Option<Mutex<File>>,
    state: Mutex<State>,
}

impl Reporter {
    /// As the command line asks.
    pub fn new(args: &args::Progress) -> anyhow::Result<Self> {
        let reporter = Self::of_another(args)?;
        reporter.send(&json!({ "type": "Start", "version": STREAM_VERSION }));
        Ok(reporter)
    }

    /// As the command line asks, of what another process does: it sends the events that are replayed here.
    pub fn of_another(args: &args::Progress) -> anyhow::Result<Self> {
        let bars = (!args.quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
        // A terminal that cannot draw gets lines.
        let bars = bars.filter(|bars| !bars.is_hidden());
        let stream = args.progress_fd.map(open_stream).transpose()?;
        Ok(Self { quiet: args.quiet, bars, stream: stream.map(Mutex::new), state: Mutex::default() })
    }

    /// Whether anybody sees an event.
    pub fn shows_events(&self) -> bool {
        self.bars.is_some() || self.stream.is_some()
    }

    /// Shows an event of another process, and hands it on.
    pub fn replay(&self, event: &Value) {
        self.send(event);
        let Some(bars) = &self.bars else { return };
        match event["type"].as_str() {
            Some("ProgressSteps") => {
                let what = event["description"].as_str().unwrap_or_default();
                // A terminal that is gone is no reason to stop.
                let _ = bars.println(format!("{what} …"));
            }
            Some("ProgressBytes") => {
                event["subtasks"].as_array().into_iter().flatten().for_each(|layer| self.replay_layer(layer));
            }
            _ => {}
        }
    }

    /// Moves the bar of a layer to where an event has it.
    fn replay_layer(&self, event: &Value) {
        let Some(digest) = event["id"].as_str().and_then(|id| id.parse::<BlobDigest>().ok()) else { return };
        let number = |name: &str| event[name].as_u64().unwrap_or(0);
        let (size, done) = (number("bytesTotal"), number("bytes"));
        let Ok(mut state) = self.state.lock() else { return };
        if !state.layers.contains_key(&digest) {
            let cached = number("bytesCached") >= size;
            let bar = if cached { None } else { self.bar(&digest, size) };
            state.add(Layer { digest, bar, size, done, cached, announced: done });
        }
        if let Some(bar) =
            state.layers.get(&digest).and_then(|layer| layer.bar.as_ref()).filter(|bar| !bar.is_finished())
        {
            bar.set_position(done);
            if done >= size {
                bar.finish_and_clear();
            }
        }
    }

    /// Prints beside the bars.
    pub fn beside(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Says what is done now.
    pub fn step(&self, what: &str) {
        if let Some(bars) = &self.bars {
            // A terminal that is gone is no reason to stop.
            let _ = bars.println(format!("{what} …"));
        }
        let id = what.to_lowercase();
        self.send(&json!({
            "type": "ProgressSteps", "task": id, "description": what, "id": id,
            "stepsCached": 0, "steps": 0, "stepsTotal": 1, "subtasks": [],
        }));
    }

    /// Says something that people want to know afterwards, on a terminal or in a journal.
    pub fn note(&self, what: &str) {
        match &self.bars {
            // A terminal that is gone is no reason to stop.
            Some(bars) => drop(bars.println(what)),
            None if self.quiet => {}
            None => eprintln!("{what}"),
        }
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }

    /// Whoever listens may have left; the work goes on.
    fn send(&self, event: &Value) {
        if let Some(stream) = &self.stream
            && let Ok(mut stream) = stream.lock()
        {
            let _ = writeln!(stream, "{event}");
        }
    }

    fn send_bytes(&self, state: &State) {
        if self.stream.is_none() {
            return;
        }
        let layers: Vec<&Layer> = state.order.iter().filter_map(|digest| state.layers.get(digest)).collect();
        let sum = |part: fn(&Layer) -> u64| layers.iter().map(|layer| part(layer)).sum::<u64>();
        let cached = |layer: &Layer| if layer.cached { layer.size } else { 0 };
        let finished = layers.iter().filter(|layer| layer.done >= layer.size).count();
        let subtasks: Vec<Value> = layers
            .iter()
            .map(|layer| {
                json!({
                    "subtask": "layer", "description": layer.digest, "id": layer.digest,
                    "bytesCached": cached(layer), "bytes": layer.done, "bytesTotal": layer.size,
                })
            })
            .collect();
        self.send(&json!({
            "type": "ProgressBytes", "task": "pulling", "description": "Pulling", "id": "pulling",
            "bytesCached": sum(cached), "bytes": sum(|layer| layer.done), "bytesTotal": sum(|layer| layer.size),
            "stepsCached": layers.iter().filter(|layer| layer.cached).count(),
            "steps": finished, "stepsTotal": layers.len(), "subtasks": subtasks,
        }));
    }

    fn bar(&self, digest: &BlobDigest, size: u64) -> Option<ProgressBar> {
        let style = ProgressStyle::with_template("{prefix} {bar:40} {bytes:>10}/{total_bytes:10} {bytes_per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.as_ref()?.add(ProgressBar::new(size).with_style(style));
        bar.set_prefix(digest.to_hex()[..SHORT].to_owned());
        Some(bar)
    }

    fn with(&self, change: impl FnOnce(&mut State) -> bool) {
        if let Ok(mut state) = self.state.lock()
            && change(&mut state)
        {
            self.send_bytes(&state);
        }
    }
}

impl Progress for Reporter {
    fn layer_started(&self, layer: &OciLayer) {
        let bar = self.bar(&layer.digest, layer.size);
        self.with(|state| {
            state.add(Layer { digest: layer.digest, bar, size: layer.size, done: 0, cached: false, announced: 0 })
        });
    }

    fn layer_advanced(&self, layer: &OciLayer, bytes: u64) {
        self.with(|state| {
            let Some(layer) = state.layers.get_mut(&layer.digest) else { return false };
            layer.done += bytes;
            if let Some(bar) = &layer.bar {
                bar.inc(bytes);
            }
            let tell = layer.done >= layer.announced + EVENT_BYTES;
            if tell {
                layer.announced = layer.done;
            }
            tell
        });
    }

    fn layer_done(&self, layer: &OciLayer) {
        self.with(|state| {
            let Some(layer) = state.layers.get_mut(&layer.digest) else { return false };
            layer.done = layer.size;
            if let Some(bar) = &layer.bar {
                bar.finish_and_clear();
            }
            true
        });
    }

    fn layer_skipped(&self, layer: &OciLayer) {
        let size = layer.size;
        self.with(|state| {
            state.add(Layer { digest: layer.digest, bar: None, size, done: size, cached: true, announced: size })
        });
    }
}

/// Opens the descriptor a program gave us anew, so that closing ours leaves its own alone.
fn open_stream(fd: i32) -> anyhow::Result<File> {
    let path = format!("/proc/self/fd/{fd}");
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::APPEND;
    let opened: OwnedFd = rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
        .with_context(|| format!("opening --progress-fd {fd}"))?;
    Ok(opened.into())
}
