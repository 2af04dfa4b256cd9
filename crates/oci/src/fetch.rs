//! Fetching: layers from where they are into the store, a few at once, each in bounded memory.
//!
//! Each layer has a task that brings its bytes and a thread that checks, unpacks and stores them; between them stands a
//! channel of a few pieces. A file is read by the thread itself.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rocketos_model::DiffId;
use rocketos_store::{LayerStats, Mender, Store, StoreError};
use tokio::{sync::mpsc, time};

use crate::{
    OciError, Reader, Resolved,
    checked::{Checked, Watch},
    decompress::{Compression, TarStream},
    layers::{FetchStats, Layer, Progress},
};

/// Layers fetched at once. Each costs a few pieces of the network's, a decompressor's window and a thread.
pub const LAYERS_AT_ONCE: usize = 3;
/// Time between two reports of progress.
const TICK: Duration = Duration::from_millis(100);

/// Tells the thread of a layer to stop when the future that wanted it goes.
struct StopOnDrop(Arc<Watch>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Where a layer's tar stream goes.
#[derive(Clone)]
enum Into {
    Store(Store),
    Mender(Mender),
}

impl Into {
    fn import(&self, layer: &DiffId, tar: &mut dyn std::io::Read) -> Result<LayerStats, StoreError> {
        match self {
            Self::Store(store) => store.import_layer(layer, tar),
            Self::Mender(mender) => mender.import_layer(layer, tar),
        }
    }
}

impl Reader {
    /// Brings every layer that the store lacks into it.
    ///
    /// Every byte is checked as it passes: each layer's digest and size here, its diff_id by the store, which names a
    /// layer only when all agree. Dropping the future stops the fetch; layers that were finished stay, an unfinished
    /// one is not named.
    ///
    /// # Errors
    /// When a layer cannot be had, is not what the manifest says, or does not fit. The first error stops the others.
    pub async fn fetch(
        &self,
        resolved: &Resolved,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<FetchStats, OciError> {
        let (mut present_layers, mut wanted) = (0, Vec::new());
        for (at, layer) in resolved.distinct() {
            if store.has_layer(&layer.diff_id).map_err(OciError::Lookup)? {
                progress.layer_skipped(layer);
                present_layers += 1;
            } else {
                wanted.push((at, layer));
            }
        }
        let fetched = run(resolved, wanted, &Into::Store(store.clone()), progress).await?;
        Ok(FetchStats { present_layers, ..fetched })
    }

    /// Brings these layers for a mender, whether the store has them or not; checked as by [`Reader::fetch`].
    ///
    /// # Errors
    /// As [`Reader::fetch`]; what layers before the first error mended stays so.
    pub async fn fetch_again(
        &self,
        resolved: &Resolved,
        layers: &BTreeSet<DiffId>,
        mender: &Mender,
        progress: &dyn Progress,
    ) -> Result<FetchStats, OciError> {
        let wanted = resolved.distinct().filter(|(_, layer)| layers.contains(&layer.diff_id)).collect();
        run(resolved, wanted, &Into::Mender(mender.clone()), progress).await
    }
}

/// Fetches layers, a few at once. Nothing is written any more when this returns.
async fn run(
    resolved: &Resolved,
    mut wanted: Vec<(usize, &Layer)>,
    into: &Into,
    progress: &dyn Progress,
) -> Result<FetchStats, OciError> {
    let mut stats = FetchStats::default();
    // The longest first, so that the last ones are short and end together.
    wanted.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
    let mut wanted = VecDeque::from(wanted);
    // Every thread holds the sender; when the last one is done, the receiver hears of it.
    let (alive, mut all_done) = mpsc::channel::<()>(1);
    let mut running = FuturesUnordered::new();
    let mut outcome = Ok(());
    loop {
        while running.len() < resolved.source.parallel(LAYERS_AT_ONCE)
            && let Some((at, layer)) = wanted.pop_front()
        {
            running.push(fetch_layer(resolved, at, layer, into, progress, alive.clone()));
        }
        match running.next().await {
            Some(Ok((layer, imported))) => add(&mut stats, layer, imported),
            Some(Err(error)) => {
                outcome = Err(error);
                break;
            }
            None => break,
        }
    }
    drop(running);
    drop(alive);
    all_done.recv().await;
    outcome.map(|()| stats)
}

fn add(stats: &mut FetchStats, layer: &Layer, imported: LayerStats) {
    stats.fetched_layers += 1;
    stats.fetched_bytes += layer.size;
    stats.tar_bytes += imported.tar_bytes;
    stats.new_objects += imported.new_objects;
    stats.new_object_bytes += imported.new_bytes;
}

async fn fetch_layer<'a>(
    resolved: &Resolved,
    at: usize,
    layer: &'a Layer,
    into: &Into,
    progress: &dyn Progress,
    alive: mpsc::Sender<()>,
) -> Result<(&'a Layer, LayerStats), OciError> {
    progress.layer_started(layer);
    let watch = Arc::new(Watch::default());
    let (checked, compression, feeder) = resolved.source.layer(at, layer, watch.clone())?;
    let _stop = StopOnDrop(watch.clone());
    let task = {
        let (into, layer) = (into.clone(), layer.clone());
        tokio::task::spawn_blocking(move || {
            let imported = import(&into, &layer, compression, checked);
            drop(into);
            drop(alive);
            imported
        })
    };
    let work = async {
        let ((), imported) = tokio::join!(feeder.run(), task);
        // A thread that panicked has said so; to the caller the layer did not arrive.
        imported.unwrap_or(Err(OciError::Cancelled))
    };
    let mut work = std::pin::pin!(work);
    let mut tick = time::interval(TICK);
    let mut reported = 0;
    let mut report = |at_end: bool| {
        let passed = watch.bytes.load(Ordering::Relaxed).min(layer.size);
        // Where the storage serves another form of the layer, its bytes are not the manifest's.
        let now = if at_end { layer.size } else { passed };
        if now > reported {
            progress.layer_advanced(layer, now - reported);
            reported = now;
        }
    };
    let imported = loop {
        tokio::select! {
            imported = &mut work => break imported?,
            _ = tick.tick() => report(false),
        }
    };
    report(true);
    progress.layer_done(layer);
    Ok((layer, imported))
}

/// Checks, unpacks and stores one layer.
fn import(into: &Into, layer: &Layer, compression: Compression, mut checked: Checked) -> Result<LayerStats, OciError> {
    let mut stream = TarStream::new(compression, &mut checked)
        .map_err(|source| OciError::Decompress { layer: layer.digest, source })?;
    let imported = into.import(&layer.diff_id, &mut stream);
    let broken = stream.broken;
    drop(stream);
    let error = match imported {
        Ok(stats) => return Ok(stats),
        Err(error) => error,
    };
    // What the bytes looked like matters only where they are the right ones.
    if matches!(error, StoreError::Layer(_) | StoreError::Read(_)) {
        let _ = checked.drain();
    }
    if let Some(failure) = checked.failure() {
        return Err(failure);
    }
    Err(match error {
        StoreError::Read(source) if broken => OciError::Decompress { layer: layer.digest, source },
        source => OciError::Store { layer: layer.digest, source },
    })
}
