//! Events: what listeners hear while it happens.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{self, Interval, MissedTickBehavior},
};

use crate::{
    Kind, Node, Problem, limits,
    wire::{Event, Health},
};

/// How often a stream on which nothing happens says that it is there.
const SILENCE: Duration = Duration::from_secs(15);

/// Who tells, and who may listen.
#[derive(Debug, Clone)]
pub(crate) struct News {
    tell: broadcast::Sender<Event>,
    places: Arc<Semaphore>,
}

/// What a listener was told last of what others change too.
type Known = (Option<u64>, Option<Health>);

struct Stream {
    heard: broadcast::Receiver<Event>,
    node: Arc<dyn Node>,
    looks: Interval,
    beats: Interval,
    ends: watch::Receiver<bool>,
    known: Option<Known>,
    ready: Vec<Event>,
    _place: OwnedSemaphorePermit,
}

impl News {
    pub(crate) fn new() -> Self {
        let (tell, _) = broadcast::channel(limits::EVENTS_BEHIND);
        Self { tell, places: Arc::new(Semaphore::new(limits::STREAMS)) }
    }

    /// Tells whoever listens; nobody may.
    pub(crate) fn tell(&self, event: Event) {
        let _ = self.tell.send(event);
    }

    /// Server-sent events (WHATWG HTML, 9.2) until the listener leaves or the service ends. The first say how things are.
    pub(crate) fn listen(
        &self,
        node: &Arc<dyn Node>,
        look: Duration,
        ends: watch::Receiver<bool>,
    ) -> Result<Body, Problem> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Problem::new(Kind::Crowded, format!("{} listen to events already", limits::STREAMS)))?;
        let every = |period| {
            let mut interval = time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let start = Stream {
            heard: self.tell.subscribe(),
            node: Arc::clone(node),
            looks: every(look),
            beats: every(SILENCE),
            ends,
            known: None,
            ready: Vec::new(),
            _place: place,
        };
        Ok(Body::from_stream(stream::unfold(start, |mut stream| async move {
            let chunk = stream.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(chunk)), stream))
        })))
    }
}

impl Stream {
    /// The next piece of text; none at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if !self.ready.is_empty() {
                return Some(self.ready.drain(..).map(|event| text(&event)).collect());
            }
            tokio::select! {
                () = ended(&mut self.ends) => return None,
                heard = self.heard.recv() => match heard {
                    // It is told when it is looked at: once, whoever changed it.
                    Ok(Event::Settings { .. } | Event::Health(_)) => self.look().await,
                    Ok(event) => self.ready.push(event),
                    Err(RecvError::Lagged(events)) => self.ready.push(Event::Lost { events }),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.looks.tick() => self.look().await,
                _ = self.beats.tick() => return Some(":\n\n".to_owned()),
            }
        }
    }

    /// Looks whether settings or health are others than was told last.
    async fn look(&mut self) {
        let node = Arc::clone(&self.node);
        let looked =
            tokio::task::spawn_blocking(move || (node.generation().ok(), node.health().ok().map(Health::from)));
        let Ok((generation, health)) = looked.await else { return };
        let (known_generation, known_health) = self.known.clone().unwrap_or_default();
        if let Some(generation) = generation.filter(|now| Some(*now) != known_generation) {
            self.ready.push(Event::Settings { generation });
        }
        if let Some(health) = health.clone().filter(|now| Some(now) != known_health.as_ref()) {
            self.ready.push(Event::Health(health));
        }
        // What could not be looked at is as it was.
        self.known = Some((generation.or(known_generation), health.or(known_health)));
    }
}

/// Waits until the service ends.
async fn ended(ends: &mut watch::Receiver<bool>) {
    let _ = ends.wait_for(|ends| *ends).await;
}

fn text(event: &Event) -> String {
    let whole = serde_json::to_value(event).unwrap_or_default();
    // JSON on one line: a line end within would end the field.
    format!("event: {}\ndata: {}\n\n", event.name(), whole.get("data").unwrap_or(&whole))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_field_whatever_it_says() {
        let event = Event::Update {
            step: "prepare".to_owned(),
            state: "progress".to_owned(),
            told: Some(json!({ "text": "a\nevent: settings\n\n" })),
        };
        let text = text(&event);
        assert_eq!(text.lines().filter(|line| line.starts_with("event:")).count(), 1);
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("event: update\ndata: {"), "{text}");
    }
}
